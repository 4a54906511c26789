"""Values by keys in SQL, in versions: what data instances that are no voxels hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from wkdvid.core.limits import MIB
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.stored_values import KEY_BYTES, Change
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.metadata.asked import Asked
from wkdvid.metadata.engine import insert_into
from wkdvid.metadata.schema import data_instances, nodes, stored_values

AT_A_TIME = 500
"""Keys in one statement."""
HELD_BYTES = 4 * MIB
"""Of values that are read together; a single one may be larger."""


class SqlValueStore(Asked):
    """A ``core.stored_values.ValueStore``."""

    def at(self, repository: Repository, node: Node, instance: DataInstance) -> SqlValues:
        lineage = repository.versions(node.uuid, instance)
        return SqlValues(self, _Place(instance.data_uuid, lineage, instance.versioned))


class SqlValues:
    """A ``core.stored_values.StoredValues``; its methods are described there."""

    def __init__(self, store: SqlValueStore, place: _Place) -> None:
        self._store = store
        self._place = place

    async def get(self, key: str) -> bytes | None:
        found = await self._store.read(lambda connection: self._place.read(connection, [key]))
        return found.get(key)

    async def keys(self, first: str, last: str | None, most: int | None = None) -> Sequence[str]:
        query = self._place.keys(first, last, most)
        found = await self._store.read(lambda connection: connection.execute(query).scalars().all())
        return [key.decode() for key in found]

    async def items(self, keys: Sequence[str]) -> AsyncIterator[tuple[str, bytes | None]]:
        for some in _batches(keys):
            sizes = await self._store.read(partial(self._place.sizes, keys=some))
            for group in _groups(some, sizes):
                found = await self._store.read(partial(self._place.read, keys=group))
                for key in group:
                    yield key, found.get(key)

    async def put(self, values: Mapping[str, bytes | None]) -> None:
        await self._store.write(lambda connection: self._place.write(connection, values))

    async def change(self, change: Change) -> None:
        def run(connection: sa.Connection) -> None:
            self._place.claim(connection)
            self._place.write(connection, change(lambda keys: self._place.read(connection, keys)))

        await self._store.write(run)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the values of a data instance are, as one node sees it."""

    data_uuid: str
    lineage: Sequence[int]
    """Versions that are seen, the node's own first. Children have higher numbers than their parents."""
    versioned: bool

    def _seen(self, table: sa.FromClause = stored_values) -> sa.ColumnElement[bool]:
        return (table.c.data_uuid == self.data_uuid) & table.c.version.in_(self.lineage)

    def _newest(self) -> sa.ColumnElement[bool]:
        """Of rows that are seen, those that no newer one hides."""
        newer = stored_values.alias()
        hides = self._seen(newer) & (newer.c.key == stored_values.c.key) & (newer.c.version > stored_values.c.version)
        return self._seen() & ~sa.exists().where(hides) & stored_values.c.value.is_not(None)

    def read(self, connection: sa.Connection, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for some in _batches(keys):
            query = sa.select(stored_values.c.key, stored_values.c.value)
            rows = connection.execute(query.where(self._newest(), stored_values.c.key.in_(_encoded(some))))
            found |= {row.key.decode(): bytes(row.value) for row in rows}
        return found

    def sizes(self, connection: sa.Connection, keys: Sequence[str]) -> Mapping[str, int]:
        query = sa.select(stored_values.c.key, sa.func.length(stored_values.c.value).label("size"))
        rows = connection.execute(query.where(self._newest(), stored_values.c.key.in_(_encoded(keys))))
        return {row.key.decode(): row.size for row in rows}

    def keys(self, first: str, last: str | None, most: int | None) -> sa.Select[Any]:
        wanted = self._newest() & (stored_values.c.key >= first.encode())
        if last is not None:
            wanted &= stored_values.c.key <= last.encode()
        return sa.select(stored_values.c.key).where(wanted).order_by(stored_values.c.key).limit(most)

    def claim(self, connection: sa.Connection) -> None:
        """Until the transaction ends nobody else comes here. (SQLite has one writer at a time.)"""
        instance = sa.select(data_instances.c.number).where(data_instances.c.data_uuid == self.data_uuid)
        connection.execute(instance.with_for_update(key_share=True))

    def write(self, connection: sa.Connection, values: Mapping[str, bytes | None]) -> None:
        """In the order of the keys: who writes some of the same at a time waits, and no two for each other."""
        self._check_open(connection)
        encoded = sorted((_checked(key), value) for key, value in values.items())
        rows = [
            {"data_uuid": self.data_uuid, "key": key, "version": self.lineage[0], "value": value}
            for key, value in encoded
        ]
        if rows:
            connection.execute(_upsert(connection), rows)

    def _check_open(self, connection: sa.Connection) -> None:
        """A node that is open stays so until the transaction ends."""
        if self.versioned:
            node = sa.select(nodes.c.uuid, nodes.c.locked).where(nodes.c.version == self.lineage[0])
            found = connection.execute(node.with_for_update(read=True)).one()
            if found.locked:
                raise UnsupportedRequest(f"Cannot write to locked node {found.uuid}")


def _upsert(connection: sa.Connection) -> sa.Insert:
    insert = insert_into(connection, stored_values)
    upsert: sa.Insert = insert.on_conflict_do_update(
        index_elements=stored_values.primary_key.columns, set_={"value": insert.excluded.value}
    )
    return upsert


def _encoded(keys: Iterable[str]) -> list[bytes]:
    return [key.encode() for key in keys]


def _checked(key: str) -> bytes:
    encoded = key.encode()
    if not 0 < len(encoded) <= KEY_BYTES:
        raise InvalidRequest(f"a key has 1 to {KEY_BYTES} bytes, this one has {len(encoded)}: {key[:40]!r}")
    return encoded


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + AT_A_TIME] for start in range(0, len(keys), AT_A_TIME))


def _groups(keys: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Keys that follow each other, whose values are few enough to be held together."""
    group: list[str] = []
    held = 0
    for key in keys:
        size = sizes.get(key, 0)
        if group and held + size > HELD_BYTES:
            yield group
            group, held = [], 0
        group.append(key)
        held += size
    if group:
        yield group
