"""Annotations of the first version, saved searches and atlas entries: one of each kind for a user at a place."""

from __future__ import annotations

import json
import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from wkdvid.core.geometry import Vec3
from wkdvid.metadata.audit import note
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import point_annotations as table

Kind: TypeAlias = Literal["v1", "search", "atlas"]

_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One of them as it is stored."""

    id: str
    dataset: str
    email: str
    location: Vec3
    at: float
    """Seconds since 1970 of the last change."""
    verified: bool = False
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What the client gave."""

    @property
    def locationkey(self) -> str:
        return location_key(self.location)


Change: TypeAlias = Callable[[Point | None], tuple[Mapping[str, Any], bool]]
"""What is stored -> the new payload, and whether it is verified. Raises RequestError where it may not be changed."""


def location_key(location: Vec3) -> str:
    return "_".join(map(str, location))


class Points:
    def __init__(self, queries: Queries, kind: Kind) -> None:
        self._queries = queries
        self._kind = kind

    async def put(self, dataset: str, email: str, location: Vec3, by: str, change: Change) -> Point:
        """Add or replace the one of a user at a place. Its id stays."""

        def put(connection: sa.Connection) -> Point:
            stored = connection.execute(
                sa.select(table).where(self._at(dataset, email, location)).with_for_update()
            ).first()
            before = None if stored is None else _point(stored)
            payload, verified = change(before)
            values = {"document": json.dumps(payload), "verified": verified, "at": time.time()}
            if before is None:
                row = {"id": new_id(), "kind": self._kind, "dataset": dataset, "email": email, **values}
                connection.execute(sa.insert(table).values(locationkey=location_key(location), **row))
            else:
                connection.execute(sa.update(table).where(table.c.id == before.id).values(values))
            note(connection, by, f"put {self._kind}", dataset, {"of": email, "at": location_key(location)})
            return _point(connection.execute(sa.select(table).where(self._at(dataset, email, location))).one())

        return await self._queries.run(put)

    async def verify(self, point_id: str, by: str, check: Callable[[Point], None]) -> Point | None:
        """Turn ``verified`` round; None: there is none of this id.

        Args:
            check: Raises RequestError where the caller may not.
        """

        def verify(connection: sa.Connection) -> Point | None:
            is_it = (table.c.id == point_id) & (table.c.kind == self._kind)
            stored = connection.execute(sa.select(table).where(is_it).with_for_update()).first()
            if stored is None:
                return None
            check(_point(stored))
            connection.execute(sa.update(table).where(is_it).values(verified=not stored.verified, at=time.time()))
            note(connection, by, f"verify {self._kind}", stored.dataset, {"id": point_id})
            return _point(connection.execute(sa.select(table).where(is_it)).one())

        return await self._queries.run(verify)

    async def of_user(self, dataset: str, email: str) -> Sequence[Point]:
        return await self._read((table.c.dataset == dataset) & (table.c.email == email))

    async def all(self) -> Sequence[Point]:
        return await self._read(sa.true())

    async def _read(self, where: sa.ColumnElement[bool]) -> Sequence[Point]:
        wanted = sa.select(table).where(table.c.kind == self._kind, where).order_by(table.c.at, table.c.id)
        return [_point(row) for row in await self._queries.read(lambda c: c.execute(wanted).all())]

    async def remove(self, dataset: str, email: str, location: Vec3, by: str) -> None:
        def remove(connection: sa.Connection) -> None:
            connection.execute(sa.delete(table).where(self._at(dataset, email, location)))
            note(connection, by, f"remove {self._kind}", dataset, {"of": email, "at": location_key(location)})

        await self._queries.run(remove)

    def _at(self, dataset: str, email: str, location: Vec3) -> sa.ColumnElement[bool]:
        place = (
            (table.c.dataset == dataset) & (table.c.email == email) & (table.c.locationkey == location_key(location))
        )
        return (table.c.kind == self._kind) & place


def new_id() -> str:
    """As Firestore's: 20 letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(20))


def _point(row: sa.Row[Any]) -> Point:
    x, y, z = map(int, row.locationkey.split("_"))
    return Point(
        id=row.id,
        dataset=row.dataset,
        email=row.email,
        location=(x, y, z),
        at=row.at,
        verified=row.verified,
        payload=json.loads(row.document),
    )
