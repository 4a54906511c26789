"""Key-values that users keep for themselves, and what of them they have handed in as pull requests."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from wkdvid.metadata.audit import note
from wkdvid.metadata.queries import Queries, expect
from wkdvid.metadata.schema import clio_values as table

Kind: TypeAlias = Literal["kv", "pull"]


@dataclass(frozen=True, slots=True)
class Value:
    email: str
    scope: str
    key: str
    at: float
    """Seconds since 1970 of the last change."""
    document: Any
    """As JSON has it."""


class Values:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def find(self, email: str, scope: str, key: str) -> Value | None:
        rows = await self._read((table.c.email == email) & (table.c.scope == scope) & (table.c.key == key), "kv")
        return rows[0] if rows else None

    async def in_scope(self, email: str, scope: str) -> Sequence[Value]:
        return await self._read((table.c.email == email) & (table.c.scope == scope), "kv")

    async def pulls(self, email: str | None) -> Sequence[Value]:
        """Of one user, or of all (None)."""
        return await self._read(sa.true() if email is None else table.c.email == email, "pull")

    async def _read(self, where: sa.ColumnElement[bool], kind: Kind) -> Sequence[Value]:
        wanted = sa.select(table).where(table.c.kind == kind, where)
        rows = await self._queries.read(
            lambda c: c.execute(wanted.order_by(table.c.email, table.c.scope, table.c.key)).all()
        )
        return [Value(row.email, row.scope, row.key, row.at, json.loads(row.document)) for row in rows]

    async def put(self, email: str, scope: str, key: str, document: Any, seen: float | None = None) -> None:
        """
        Args:
            seen: When it was last changed, as far as the caller knows; None: it does not matter.
        """

        def put(connection: sa.Connection) -> None:
            wanted = sa.select(table.c.at).where(_is("kv", email, scope, key))
            expect(seen, connection.execute(wanted.with_for_update()).scalar())
            _put(connection, "kv", email, scope, key, json.dumps(document))

        await self._queries.run(put)

    async def remove(self, email: str, scope: str, key: str) -> None:
        def remove(connection: sa.Connection) -> None:
            connection.execute(sa.delete(table).where(_is("kv", email, scope, key)))
            note(connection, email, "remove kv", detail={"scope": scope, "key": key})

        await self._queries.run(remove)

    async def hand_in(self, email: str, scope: str, key: str) -> bool:
        """Copy a value as it is now. False: there is none."""

        def hand_in(connection: sa.Connection) -> bool:
            wanted = sa.select(table.c.document).where(_is("kv", email, scope, key))
            found = connection.execute(wanted).scalar()
            if found is not None:
                _put(connection, "pull", email, scope, key, found)
            return found is not None

        return await self._queries.run(hand_in)


def _is(kind: Kind, email: str, scope: str, key: str) -> sa.ColumnElement[bool]:
    return (table.c.kind == kind) & (table.c.email == email) & (table.c.scope == scope) & (table.c.key == key)


def _put(connection: sa.Connection, kind: Kind, email: str, scope: str, key: str, text: str) -> None:
    values = {"document": text, "at": time.time()}
    if not connection.execute(sa.update(table).where(_is(kind, email, scope, key)).values(values)).rowcount:
        row = {"kind": kind, "email": email, "scope": scope, "key": key, **values}
        connection.execute(sa.insert(table).values(row))
    note(connection, email, f"put {kind}", detail={"scope": scope, "key": key})
