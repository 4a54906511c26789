"""Typed annotations: points, lines and spheres of users, each under a key that its geometry makes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from wkdvid.metadata.audit import note
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import typed_annotations as table


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    email: str
    """Whose it is."""
    key: str
    kind: str
    """``point``, ``lineseg`` or ``sphere``."""
    pos: tuple[int, ...]
    """x, y, z of the point, or of the two points that span the line or the sphere; voxels."""
    fields: Mapping[str, Any]
    """``prop``, ``tags``, ``title``, ``description``: those that were given."""


@dataclass(frozen=True, slots=True)
class Put:
    annotation: Annotation
    merge: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] | None = None
    """From the fields that are stored and those that are given to those that are kept; None: replace."""


class Annotations:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def of_users(self, dataset: str, emails: Sequence[str]) -> Sequence[Annotation]:
        wanted = sa.select(table).where(table.c.dataset == dataset, table.c.email.in_(list(emails)))
        rows = await self._queries.read(lambda c: c.execute(wanted.order_by(table.c.email, table.c.key)).all())
        return [_annotation(row) for row in rows]

    async def put(self, dataset: str, puts: Sequence[Put], by: str, moved_from: str | None = None) -> None:
        """Add or change, all or none.

        Args:
            moved_from: Key under which the only one was until now; it goes away.
        """

        def put(connection: sa.Connection) -> None:
            for one in sorted(puts, key=_place):  # in one order, so that no two wait for each other
                _put(connection, dataset, one)
            new = puts[0].annotation if puts else None
            if moved_from is not None and new is not None and moved_from != new.key:
                connection.execute(sa.delete(table).where(_is(dataset, new.email, moved_from)))
            keys = [one.annotation.key for one in puts]
            note(
                connection, by, "put annotations", dataset, {"number": len(keys), "first": keys[:1], "from": moved_from}
            )

        await self._queries.run(put)

    async def remove(self, dataset: str, email: str, key: str, by: str) -> None:
        def remove(connection: sa.Connection) -> None:
            connection.execute(sa.delete(table).where(_is(dataset, email, key)))
            note(connection, by, "remove annotation", dataset, {"of": email, "key": key})

        await self._queries.run(remove)


def _is(dataset: str, email: str, key: str) -> sa.ColumnElement[bool]:
    return (table.c.dataset == dataset) & (table.c.email == email) & (table.c.key == key)


def _put(connection: sa.Connection, dataset: str, one: Put) -> None:
    given = one.annotation
    is_it = _is(dataset, given.email, given.key)
    fields = given.fields
    stored = connection.execute(sa.select(table.c.document).where(is_it).with_for_update()).scalar()
    if stored is not None and one.merge is not None:
        fields = one.merge(json.loads(stored)["fields"], fields)
    document = json.dumps({"pos": given.pos, "fields": fields})
    values = {"kind": given.kind, "at": time.time(), "document": document, **_bounds(given.pos)}
    if stored is not None:
        connection.execute(sa.update(table).where(is_it).values(values))
    else:
        connection.execute(sa.insert(table).values(dataset=dataset, email=given.email, key=given.key, **values))


def _place(one: Put) -> tuple[str, str]:
    return one.annotation.email, one.annotation.key


def _bounds(pos: Sequence[int]) -> Mapping[str, int]:
    corners = {}
    for axis, name in enumerate("xyz"):
        corners[f"{name}0"], corners[f"{name}1"] = min(pos[axis::3]), max(pos[axis::3])
    return corners


def _annotation(row: sa.Row[Any]) -> Annotation:
    document = json.loads(row.document)
    return Annotation(
        email=row.email, key=row.key, kind=row.kind, pos=tuple(document["pos"]), fields=document["fields"]
    )
