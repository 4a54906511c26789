"""The row by which a main server of webKnossos knows this datastore (webknossos.md C.2, "Registration row")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, NoSuchTableError

from wkdvid.errors import ConfigError, WkdvidError
from wkdvid.metadata.engine import first_line, transaction

Schema: TypeAlias = Literal["new", "old"]
"""``old``: up to schema 101 of 2023, when main servers knew connectors."""

NAMESPACE, TABLE = "webknossos", "datastores"
"""As PostgreSQL folds ``webknossos.dataStores``."""
ALL_SCHEMAS = ("name", "url", "publicUrl", "key", "isScratch", "isDeleted", "allowsUpload")
COLUMNS: Mapping[Schema, Sequence[str]] = {"new": ALL_SCHEMAS, "old": (*ALL_SCHEMAS, "isConnector")}
FLAGS = {"isScratch": False, "isDeleted": False, "allowsUpload": False, "isForeign": False, "isConnector": True}
KEY_VARIABLE = ":'key'"
"""What psql replaces by its variable, quoted."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_URL = re.compile(r"https?://[A-Za-z0-9.][^\s\\'\"?#@]{0,490}(?<!/)")


class RowRefused(WkdvidError):
    """The main server's database does not take the row; the message says which other one is in the way, or why."""

    code = "row_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    url: str
    """Where the main server reaches us."""
    public_url: str
    """Where browsers do."""
    key: str | None = field(repr=False)

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigError: the main server's table would not take it.
        """
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"name: {self.name[:300]!r} is not 1 to 256 of A-Z a-z 0-9 _ . -")
        for what, url in (("url", self.url), ("public url", self.public_url)):
            if not _URL.fullmatch(url):
                raise ConfigError(f"{what}: {url[:600]!r} is not http://HOST or https://HOST, with no slash at the end")

    @property
    def values(self) -> Mapping[str, object]:
        """By the names of the columns, those of all schemas."""
        texts = {"name": self.name, "url": self.url, "publicUrl": self.public_url, "key": self.key}
        return {**texts, **FLAGS}


def statement(row: Row, schema: Schema) -> str:
    """SQL that makes the row, or makes it what it should be. Without a key psql's variable stands for it."""
    columns = COLUMNS[schema]
    values = ", ".join(_literal(row.values[column]) for column in columns)
    changes = ", ".join(f"{column} = EXCLUDED.{column}" for column in columns[1:])
    return (
        f"INSERT INTO webknossos.dataStores ({', '.join(columns)})\nVALUES ({values})\n"
        f"ON CONFLICT (name) DO UPDATE SET {changes};"
    )


def _literal(value: object) -> str:
    """A literal that means the same whatever ``standard_conforming_strings`` says."""
    if value is None:
        return KEY_VARIABLE
    if isinstance(value, bool):
        return str(value).upper()
    text = str(value).replace("'", "''")
    return f"E'{text}'".replace("\\", "\\\\") if "\\" in text else f"'{text}'"


def put_row(engine: sa.Engine, row: Row) -> Sequence[str] | None:
    """Insert or update the row, in one transaction.

    Args:
        engine: Of the main server's PostgreSQL.
    Returns:
        The columns that were changed, none if all was as it should be; None if the row is new.
    Raises:
        ConfigError: there is no such table.
        RowRefused: another datastore has the url, or the table needs what is not known here.
        DatabaseUnavailable: the database cannot be used.
    """
    try:
        with transaction(engine) as connection:
            table = _table(connection)
            connection.execute(sa.text(f"LOCK TABLE {NAMESPACE}.{TABLE} IN SHARE ROW EXCLUSIVE MODE"))
            _refuse_shared_urls(connection, table, row)
            return _put(connection, table, row)
    except IntegrityError as error:
        raise RowRefused(f"webknossos.dataStores does not take the row: {first_line(error)}") from error


def read_row(engine: sa.Engine, name: str) -> Mapping[str, object] | None:
    """The row as it is, by lower-case column names; None if there is none. Errors as ``put_row``."""
    with transaction(engine) as connection:
        table = _table(connection)
        found = connection.execute(sa.select(table).where(table.c.name == name)).mappings().first()
        return None if found is None else dict(found)


def _table(connection: sa.Connection) -> sa.Table:
    """With the columns that this main server's version has."""
    try:
        table = sa.Table(TABLE, sa.MetaData(), schema=NAMESPACE, autoload_with=connection, resolve_fks=False)
    except NoSuchTableError as error:
        raise ConfigError(
            "this database has no table webknossos.dataStores; is it the one of webKnossos's main server?"
        ) from error
    missing = {"name", "url", "key"} - set(table.c.keys())
    if missing:
        raise ConfigError(f"webknossos.dataStores has no column {', '.join(sorted(missing))}")
    return table


def _refuse_shared_urls(connection: sa.Connection, table: sa.Table, row: Row) -> None:
    for column, url, option in (("url", row.url, "server.internalUrl"), ("publicurl", row.public_url, "--public-url")):
        if column in table.c:
            others = sa.select(table.c.name).where(table.c[column] == url, table.c.name != row.name)
            other = connection.execute(others).scalar()
            if other is not None:
                raise RowRefused(
                    f"the datastore {other!r} already has the {column} {url}, and no two may have the same: give this"
                    f" one another by {option}, or change that row by --name {other}"
                )


def _put(connection: sa.Connection, table: sa.Table, row: Row) -> Sequence[str] | None:
    wanted = {name.lower(): value for name, value in row.values.items() if name.lower() in table.c}
    found = connection.execute(sa.select(table).where(table.c.name == row.name)).mappings().first()
    if found is None:
        connection.execute(sa.insert(table).values(wanted))
        return None
    changed = {name: value for name, value in wanted.items() if found[name] != value}
    if changed:
        connection.execute(sa.update(table).where(table.c.name == row.name).values(changed))
    return list(changed)
