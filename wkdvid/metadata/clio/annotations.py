"""Typed annotations in SQL: put in bulk, listed in pages, found by place."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import orjson
import sqlalchemy as sa

from wkdvid.core.annotations import INT64, Annotation, Selection, Summary, bounds
from wkdvid.core.geometry import Box
from wkdvid.metadata.audit import note
from wkdvid.metadata.clio.cells import cell_of, ranges_of
from wkdvid.metadata.engine import insert_into
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import typed_annotations as table

PAGE = 2000
"""Annotations that are read or written at a time."""
_SHOWN = (table.c.number, table.c.cell, table.c.email, table.c.key, table.c.kind, table.c.document)
_KEY = ("dataset", "email", "key")
_CHANGED = ("kind", "cell", "x0", "y0", "z0", "x1", "y1", "z1", "at", "document")

Fields: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, str]
"""Email and key: where in a dataset an annotation is kept."""
Row: TypeAlias = sa.Row[Any]

_PLACE = sa.tuple_(table.c.email, table.c.key)
_AFTER_PLACE = sa.tuple_(sa.bindparam("email", type_=sa.String), sa.bindparam("key", type_=sa.String))
_CELL = sa.tuple_(table.c.cell, table.c.number)
_AFTER_CELL = sa.tuple_(sa.bindparam("cell", type_=sa.BigInteger), sa.bindparam("number", type_=sa.BigInteger))


Merge: TypeAlias = Callable[[Fields, Fields], Fields]
"""From the fields that are stored and those that are given to those that are kept."""


@dataclass(frozen=True, slots=True)
class Puts:
    annotations: Iterable[Annotation]
    """Can be gone through more than once; few of them are held at a time. Of two in one place the last counts."""
    merge: Merge | None = None
    """None: what is stored is replaced."""


class Annotations:
    """An ``AnnotationStore`` that can be changed."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    # ---- changes --------------------------------------------------------------------------------------------------

    async def put(self, dataset: str, puts: Puts, by: str, moved_from: str | None = None) -> int:
        """Add or change, all or none.

        Args:
            moved_from: Key under which the only one was until now; it goes away.
        Returns:
            How many there were.
        """

        def put(connection: sa.Connection) -> int:
            number, first = 0, None
            for some in _portions(puts.annotations):
                number, first = number + len(some), first or some[0]
                _put(connection, dataset, some, puts.merge)
            if moved_from is not None and first is not None and moved_from != first.key:
                connection.execute(sa.delete(table).where(_is(dataset, first.email, moved_from)))
            keys = [] if first is None else [first.key]
            note(connection, by, "put annotations", dataset, {"number": number, "first": keys, "from": moved_from})
            return number

        return await self._queries.run(put)

    async def remove(self, dataset: str, email: str, key: str, by: str) -> None:
        def remove(connection: sa.Connection) -> None:
            connection.execute(sa.delete(table).where(_is(dataset, email, key)))
            note(connection, by, "remove annotation", dataset, {"of": email, "key": key})

        await self._queries.run(remove)

    # ---- what there is --------------------------------------------------------------------------------------------

    async def pages(self, wanted: Selection) -> AsyncIterator[Sequence[Annotation]]:
        """See ``AnnotationStore``."""
        selected = sa.select(*_SHOWN).where(*_conditions(wanted)).limit(PAGE)
        if wanted.box is None:
            query = selected.where(_PLACE > _AFTER_PLACE).order_by(*_PLACE.clauses)
            at: Mapping[str, Any] = {"email": "", "key": ""}
            while rows := await self._queries.read(partial(_rows, query, at)):
                yield list(map(_annotation, rows))
                at = {"email": rows[-1].email, "key": rows[-1].key}
        else:
            query = selected.where(_CELL > _AFTER_CELL, table.c.cell <= sa.bindparam("last")).order_by(*_CELL.clauses)
            rest = await self._queries.read(partial(_ranges, wanted, wanted.box))
            while rest:
                rows, rest = await self._queries.read(partial(_rows_of_ranges, query, rest))
                if rows:
                    yield list(map(_annotation, rows))

    async def summaries(self, wanted: Selection) -> Mapping[str, Summary]:
        low = [sa.func.min(table.c[name]) for name in ("x0", "y0", "z0")]
        high = [sa.func.max(table.c[name]) for name in ("x1", "y1", "z1")]
        counted = sa.select(table.c.kind, sa.func.count(), *low, *high).where(*_conditions(wanted, boxed=False))
        rows = await self._queries.read(lambda connection: connection.execute(counted.group_by(table.c.kind)).all())
        return {kind: Summary(count, tuple(numbers[:3]), tuple(numbers[3:])) for kind, count, *numbers in rows}

    async def find(self, wanted: Selection, number: int) -> Annotation | None:
        found = sa.select(*_SHOWN).where(*_conditions(wanted, boxed=False), table.c.number == number)
        rows = await self._queries.read(partial(_rows, found, {}))
        return _annotation(rows[0]) if rows else None

    async def datasets(self) -> Sequence[str]:
        return await self._queries.read(_datasets)


# ---- changes ------------------------------------------------------------------------------------------------------


def _portions(annotations: Iterable[Annotation]) -> Iterator[Sequence[Annotation]]:
    rest = iter(annotations)
    while some := list(islice(rest, PAGE)):
        yield some


def _put(connection: sa.Connection, dataset: str, some: Sequence[Annotation], merge: Merge | None) -> None:
    fields: dict[Place, Fields] = {} if merge is None else _stored(connection, dataset, some)
    stored = None if merge is None else set(fields)
    rows: dict[Place, dict[str, Any]] = {}
    for one in some:
        place = (one.email, one.key)
        fields[place] = one.fields if merge is None or place not in fields else merge(fields[place], one.fields)
        rows[place] = {"dataset": dataset, **_row(one, fields[place])}
    _write(connection, [rows[place] for place in sorted(rows)], stored)


def _stored(connection: sa.Connection, dataset: str, annotations: Sequence[Annotation]) -> dict[Place, Fields]:
    keys: dict[str, list[str]] = {}
    for one in annotations:
        keys.setdefault(one.email, []).append(one.key)
    found: dict[Place, Fields] = {}
    for email in sorted(keys):
        query = sa.select(table.c.key, table.c.document).where(table.c.dataset == dataset, table.c.email == email)
        rows = connection.execute(query.where(table.c.key.in_(keys[email])).order_by(table.c.key).with_for_update())
        found |= {(email, key): orjson.loads(document)["fields"] for key, document in rows}
    return found


def _write(connection: sa.Connection, rows: Sequence[Mapping[str, Any]], stored: Set[Place] | None) -> None:
    """In the order of their places, so that two who write the same do not wait for each other.

    Args:
        stored: Places that were looked at and held something; None: none was looked at. If another one has put
            something into an empty one meanwhile, it is an IntegrityError, after which all is looked at again.
    """
    insert = insert_into(connection, table)
    upsert = insert.on_conflict_do_update(index_elements=_KEY, set_={name: insert.excluded[name] for name in _CHANGED})
    new = [row for row in rows if stored is not None and (row["email"], row["key"]) not in stored]
    old = [row for row in rows if stored is None or (row["email"], row["key"]) in stored]
    for statement, some in ((insert, new), (upsert, old)):
        if some:
            connection.execute(statement, some)


def _row(given: Annotation, fields: Fields) -> dict[str, Any]:
    low, high = bounds(given.kind, given.pos)
    return {
        "email": given.email,
        "key": given.key,
        "kind": given.kind,
        "cell": cell_of(low, high),
        "at": time.time(),
        **dict(zip(("x0", "y0", "z0", "x1", "y1", "z1"), (*low, *high), strict=True)),
        "document": orjson.dumps({"pos": given.pos, "fields": fields}).decode(),
    }


def _is(dataset: str, email: str, key: str) -> sa.ColumnElement[bool]:
    return (table.c.dataset == dataset) & (table.c.email == email) & (table.c.key == key)


# ---- what there is ------------------------------------------------------------------------------------------------


def _conditions(wanted: Selection, *, boxed: bool = True) -> Iterator[sa.ColumnElement[bool]]:
    yield table.c.dataset == wanted.dataset
    if wanted.emails is not None:
        yield table.c.email.in_(list(wanted.emails))
    if wanted.kind is not None:
        yield table.c.kind == wanted.kind
    if wanted.every > 1:
        yield table.c.number % wanted.every == 0
    if wanted.but_every is not None:
        yield table.c.number % wanted.but_every != 0
    if wanted.box is not None and boxed:
        for axis, low, high in zip("xyz", wanted.box.start, wanted.box.stop, strict=True):
            yield table.c[f"{axis}0"] <= min(high - 1, INT64[-1])
            yield table.c[f"{axis}1"] >= max(low, INT64[0])


def _datasets(connection: sa.Connection) -> Sequence[str]:
    """Each is found in the index by the one before: there are far fewer than annotations."""
    following = sa.select(sa.func.min(table.c.dataset))
    found: list[str] = []
    last = connection.execute(following).scalar()
    while last is not None:
        found.append(last)
        last = connection.execute(following.where(table.c.dataset > last)).scalar()
    return found


def _ranges(wanted: Selection, box: Box, connection: sa.Connection) -> Sequence[tuple[int, int, int]]:
    """Of cells and numbers: after which of both the rest begins, and the last cell."""
    last = connection.execute(sa.select(sa.func.max(table.c.cell)).where(table.c.dataset == wanted.dataset)).scalar()
    return [] if last is None or not box.voxels else [(first, 0, end) for first, end in ranges_of(box, last)]


def _rows_of_ranges(
    query: sa.Select[Any], ranges: Sequence[tuple[int, int, int]], connection: sa.Connection
) -> tuple[Sequence[Row], Sequence[tuple[int, int, int]]]:
    """A page, and the ranges that are left."""
    found: list[Row] = []
    for place, (cell, number, last) in enumerate(ranges):
        rows = _rows(query, {"cell": cell, "number": number, "last": last}, connection)
        found += rows
        if len(rows) == PAGE:
            return found, [(rows[-1].cell, rows[-1].number, last), *ranges[place + 1 :]]
        if len(found) >= PAGE:
            return found, ranges[place + 1 :]
    return found, []


def _rows(query: sa.Select[Any], after: Mapping[str, Any], connection: sa.Connection) -> Sequence[Row]:
    return connection.execute(query, after).all()


def _annotation(row: Row) -> Annotation:
    document = orjson.loads(row.document)
    return Annotation(
        email=row.email, kind=row.kind, pos=tuple(document["pos"]), fields=document["fields"], number=row.number
    )
