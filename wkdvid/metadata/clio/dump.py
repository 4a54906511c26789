"""All that clio's clients keep, as JSON lines: users, roles, tokens' hashes, documents, annotations, the record.

A line is ``[TABLE, {COLUMN: VALUE, ...}]``. The first names the format, the last how many rows there are: a file that
was cut off is known by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from wkdvid.errors import InvalidRequest
from wkdvid.metadata import schema
from wkdvid.metadata.engine import reading, transaction

FORMAT = "wkdvid clio 1"
END = "end"
CHUNK = 1000
"""Rows that are read at a time."""
LONGEST_LINE = 64 << 20

KEYS: Mapping[sa.Table, tuple[str, ...]] = {
    schema.users: ("email",),
    schema.user_groups: ("name", "email"),
    schema.api_tokens: ("digest",),
    schema.clio_datasets: ("name",),
    schema.point_annotations: ("kind", "dataset", "email", "locationkey"),
    schema.typed_annotations: ("dataset", "email", "key"),
    schema.clio_values: ("kind", "email", "scope", "key"),
    schema.clio_volumes: ("name",),
    schema.neuron_tags: ("dataset", "type", "tag"),
    schema.neuron_states: ("dataset", "type", "id", "version", "at", "email", "document"),
    schema.site_reports: ("email", "at", "document"),
    schema.audit: ("email", "at", "action", "dataset", "detail"),
}
"""By table, what makes a row the same one in another database."""
COUNTED: Mapping[sa.Table, str] = {
    schema.typed_annotations: "number",
    schema.neuron_tags: "number",
    schema.neuron_states: "revision",
    schema.site_reports: "number",
    schema.audit: "number",
}
"""Columns that each database counts by itself. Their order is that of the lines."""
UNINDEXED = frozenset({schema.site_reports, schema.audit})
"""Whose rows are never changed, and would be long looked for one by one."""
TABLES: Mapping[str, sa.Table] = {table.name: table for table in KEYS}


@dataclass(slots=True)
class Counts:
    """Of the rows of a file."""

    added: int = 0
    changed: int = 0
    same: int = 0


def exported(engine: sa.Engine) -> Iterator[bytes]:
    """Lines, of one moment, read as they are asked for.

    Raises:
        DatabaseUnavailable: it does not answer.
    """
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    count = 0
    with reading(engine) as connection:
        yield _line("format", {"name": FORMAT})
        for table in KEYS:
            hidden = COUNTED.get(table)
            order = [table.c[hidden]] if hidden else list(table.primary_key.columns)
            rows = connection.execution_options(yield_per=CHUNK).execute(sa.select(table).order_by(*order))
            for row in rows.mappings():
                count += 1
                yield _line(table.name, {str(name): value for name, value in row.items() if name != hidden})
    yield _line(END, {"rows": count})


def imported(engine: sa.Engine, lines: Iterable[bytes], *, dry_run: bool = False) -> Counts:
    """Add what is not there and replace what is there and another: all or nothing.

    Raises:
        InvalidRequest: it is no such file, or only a part of one.
        DatabaseUnavailable: the database cannot be written.
    """
    try:
        with transaction(engine) as connection:
            importing = _Import(connection)
            for table, row in _rows(lines):
                importing.put(table, row)
            if dry_run:
                connection.rollback()
    except sa.exc.IntegrityError as error:
        raise InvalidRequest("two rows exclude each other: an id is another annotation's here") from error
    return importing.counts


def _line(kind: str, row: Mapping[str, Any]) -> bytes:
    return orjson.dumps([kind, row], option=orjson.OPT_APPEND_NEWLINE)


def _rows(lines: Iterable[bytes]) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
    """
    Raises:
        InvalidRequest: which line is wrong, and why.
    """
    ended, number = None, 0
    for number, line in enumerate(lines, 1):
        if ended is not None:
            raise InvalidRequest(f"line {number}: stands behind the end")
        kind, row = _parsed(number, line)
        if number == 1:
            if (kind, row) != ("format", {"name": FORMAT}):
                raise InvalidRequest(f"line 1: this is no export of the format {FORMAT!r}")
        elif kind == END:
            ended = row.get("rows")
        else:
            yield _checked(number, kind, row)
    if ended != number - 2:
        raise InvalidRequest(f"the file is not whole: it has {max(number - 1, 0)} lines of rows, and no end for them")


def _parsed(number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    if len(line) > LONGEST_LINE:
        raise InvalidRequest(f"line {number}: longer than {LONGEST_LINE} bytes")
    try:
        match orjson.loads(line):
            case [str(kind), dict(row)]:
                return kind, row
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"line {number}: no JSON, column {error.colno}: {error.msg}") from error
    raise InvalidRequest(f"line {number}: expected [TABLE, ROW]")


def _checked(number: int, kind: str, row: dict[str, Any]) -> tuple[sa.Table, dict[str, Any]]:
    table = TABLES.get(kind)
    if table is None:
        raise InvalidRequest(f"line {number}: there is no table {kind[:80]!r}")
    wanted = {column.name for column in table.c if column.name != COUNTED.get(table)}
    if row.keys() != wanted:
        raise InvalidRequest(f"line {number}: {kind} has the columns {', '.join(sorted(wanted))}")
    for name, value in row.items():
        if not _fits(table.c[name], value):
            raise InvalidRequest(f"line {number}: {kind}.{name}: {value!r:.40} does not fit")
    return table, row


def _fits(column: sa.Column[Any], value: object) -> bool:
    if value is None:
        return bool(column.nullable)
    kind = column.type.python_type
    length = getattr(column.type, "length", None)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind and (length is None or len(str(value)) <= length)


class _Import:
    def __init__(self, connection: sa.Connection) -> None:
        self.counts = Counts()
        self._connection = connection
        self._known: dict[sa.Table, set[int]] = {}
        """Of tables without an index for it: hashes of what the rows are known by."""

    def put(self, table: sa.Table, row: Mapping[str, Any]) -> None:
        stored = self._stored(table, row)
        if stored is None:
            self._connection.execute(sa.insert(table).values(row))
            self.counts.added += 1
        elif stored != row:
            self._connection.execute(sa.update(table).where(_is(table, row)).values(row))
            self.counts.changed += 1
        else:
            self.counts.same += 1

    def _stored(self, table: sa.Table, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if table in UNINDEXED:
            return row if hash(_key(table, row)) in self._hashes(table) else None
        columns = (table.c[name] for name in row)
        found = self._connection.execute(sa.select(*columns).where(_is(table, row))).mappings().first()
        return None if found is None else dict(found)

    def _hashes(self, table: sa.Table) -> set[int]:
        if table not in self._known:
            rows = self._connection.execute(sa.select(*(table.c[name] for name in KEYS[table])))
            self._known[table] = {hash(tuple(row)) for row in rows}
        return self._known[table]


def _key(table: sa.Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEYS[table])


def _is(table: sa.Table, row: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name].is_not_distinct_from(row[name]) for name in KEYS[table]))
