"""The database: SQLite or PostgreSQL behind one engine, brought up to date at start."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from wkdvid.errors import ConfigError, DatabaseUnavailable, InvalidRequest
from wkdvid.extras import install
from wkdvid.metadata.schema import FIRST_ROWS, REVISION, metadata

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_S = 20
"""SQLite has one writer at a time; the next one waits for so long."""
SILENCE = {
    "connect_timeout": "5",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
}
"""A PostgreSQL that is not there any more is noticed; libpq's words. What the URL says of them goes before."""
ONLY_READS = "only_reads"
"""Option of a connection."""
MIGRATION_LOCK = 7_243_151_902_231_460
"""A number of our own among PostgreSQL's advisory locks."""
VERSION = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
"""Alembic's own."""
MIGRATIONS = Path(__file__).parent / "migrations"
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def open_engine(database_url: str, setting: str = "metadata.database_url") -> sa.Engine:
    """
    Args:
        database_url: ``sqlite:///PATH``, or ``postgresql://...``.
        setting: Where that stands, for messages.

    Raises:
        ConfigError: not such a URL, or the driver is not installed. The message does not show the URL: it may hold a
            password.
    """
    try:
        url = sa.make_url(database_url)
        url = url.set(drivername=DRIVERS[url.drivername])
        if url.get_backend_name() == "postgresql":
            url = url.update_query_dict({name: value for name, value in SILENCE.items() if name not in url.query})
        engine = sa.create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    except (ArgumentError, KeyError, ValueError) as error:
        raise ConfigError(f"{setting}: expected sqlite:///PATH or postgresql://USER@HOST/NAME") from error
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigError(f"{setting}: PostgreSQL needs its driver: {install('postgres')}") from error
    if engine.dialect.name == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        sa.event.listen(engine, "connect", _on_connect)
        sa.event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _: object) -> None:
    """WAL lets readers and the writer be at work at a time; with FULL what is committed outlives a loss of power."""
    for pragma in (
        f"busy_timeout = {BUSY_S * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: sa.Connection) -> None:
    """A transaction that began by reading could not wait for another one's writing: SQLite fails it at once."""
    only_reads = connection.get_execution_options().get(ONLY_READS)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


def reading(engine: sa.Engine) -> contextlib.AbstractContextManager[sa.Connection]:
    """As ``transaction``, of one that only reads: with SQLite too, it waits for no writer."""
    return transaction(engine.execution_options(**{ONLY_READS: True}))


@contextlib.contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose work is committed at the end, or undone where it raises.

    Raises:
        DatabaseUnavailable: the database does not answer, or cannot be written.
        InvalidRequest: a value that it cannot hold, such as a text with NUL in PostgreSQL.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.IntegrityError:
        raise  # who does what it forbids expects it
    except sa.exc.DataError as error:
        raise InvalidRequest(f"the database cannot hold this: {first_line(error)}") from error
    except SQLAlchemyError as error:
        raise DatabaseUnavailable(f"the database cannot be used: {first_line(error)}") from error


def insert_into(connection: sa.Connection, table: sa.Table) -> Any:
    """The dialect's INSERT, which can be told what to do where a row is there already. The other's is not imported."""
    return importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert(table)


def first_line(error: SQLAlchemyError) -> str:
    """Of the driver's text: SQLAlchemy's own shows statements and values, and what follows may show the row."""
    text = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    return text.splitlines()[0] if text else type(error).__name__


class Standing(Enum):
    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"


def migrate(database_url: str) -> None:
    """Bring the database up to date, or make it. Any number of processes may do so at a time.

    Raises:
        ConfigError: it is of a newer version than this program, or as ``open_engine``.
        DatabaseUnavailable: it cannot be used.
    """
    engine = open_engine(database_url)
    try:
        with transaction(engine) as connection:
            if connection.dialect.name == "postgresql":  # SQLite's transaction is a lock by itself
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            _upgrade(connection)
    finally:
        engine.dispose()


def _upgrade(connection: sa.Connection) -> None:
    found = _standing(connection)
    if found is Standing.EMPTY:
        _make(connection)
    elif found is Standing.OLDER:
        from alembic import command  # noqa: PLC0415 - not needed where there is nothing to change, and slow to import

        config = _migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _migrations() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def standing(database_url: str) -> Standing:
    """How a database stands to this program. Nothing is changed.

    Raises:
        ConfigError, DatabaseUnavailable: as ``migrate``.
    """
    engine = open_engine(database_url)
    try:
        with reading(engine) as connection:
            return _standing(connection)
    finally:
        engine.dispose()


def _standing(connection: sa.Connection) -> Standing:
    names = sa.inspect(connection).get_table_names()
    if not names:
        return Standing.EMPTY
    found = _revision(connection) if VERSION.name in names else None
    if found == REVISION:
        return Standing.CURRENT
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    known = {script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigError(
            f"metadata.database_url: the database is of a newer version ({found[:40]}) than this program ({REVISION})"
        )
    return Standing.OLDER


def _make(connection: sa.Connection) -> None:
    """All tables in an empty database, as the migrations would leave them."""
    metadata.create_all(connection)
    for table, row in FIRST_ROWS.items():
        connection.execute(sa.insert(table).values(row))
    VERSION.create(connection)
    connection.execute(sa.insert(VERSION).values(version_num=REVISION))


def _revision(connection: sa.Connection) -> str | None:
    found: str | None = connection.execute(sa.select(VERSION.c.version_num)).scalar()
    return found
