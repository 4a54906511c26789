"""Records of neurons in SQL: the newest state of each, and every state that there was, by version."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from wkdvid.metadata.audit import note
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import neuron_states as states
from wkdvid.metadata.schema import neuron_tags as tags

NEWEST = 2**62
"""A version above all others."""
PAGE = 1000
"""Records that are read at a time."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Records of one type, such as ``neurons``, of one dataset."""

    dataset: str
    type: str


@dataclass(frozen=True, slots=True)
class State:
    id: int
    version: int
    record: Mapping[str, Any] | None
    """None: it was deleted."""
    user: str
    at: float
    """Seconds since 1970."""


class Neurons:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def read(self, of: Collection, ids: Iterable[int], version: int = NEWEST) -> Mapping[int, Mapping[str, Any]]:
        """By id, those that there are at a version."""
        wanted = list(dict.fromkeys(ids))
        found: dict[int, Mapping[str, Any]] = {}
        for start in range(0, len(wanted), PAGE):  # a statement takes so many numbers, and not more
            query = _at(of, version).where(states.c.id.in_(wanted[start : start + PAGE]))
            rows = await self._queries.read(lambda c, query=query: c.execute(query).all())  # type: ignore[misc]
            found |= {row.id: json.loads(row.document) for row in rows if row.document is not None}
        return found

    async def page(self, of: Collection, after: int, version: int = NEWEST) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """Up to ``PAGE`` records by id, those after one of them; fewer only at the end. Deleted ones are left out."""
        found: list[tuple[int, Mapping[str, Any]]] = []
        while len(found) < PAGE:
            query = _at(of, version).where(states.c.id > after).order_by(states.c.id).limit(PAGE)
            rows = await self._queries.read(lambda c, query=query: c.execute(query).all())  # type: ignore[misc]
            found += [(row.id, json.loads(row.document)) for row in rows if row.document is not None]
            if len(rows) < PAGE:
                break
            after = rows[-1].id
        return found

    async def history(self, of: Collection, record_id: int) -> Sequence[State]:
        """Every state, newest first."""
        query = sa.select(states).where(_of(of), states.c.id == record_id)
        newest_first = (states.c.version.desc(), states.c.revision.desc())
        rows = await self._queries.read(lambda c: c.execute(query.order_by(*newest_first)).all())
        return [_state(row) for row in rows]

    async def put(
        self,
        of: Collection,
        posted: Sequence[tuple[int, Callable[[Mapping[str, Any]], Mapping[str, Any]]]],
        user: str,
        version: int | None,
    ) -> None:
        """Add states, all or none: from what is there at the version to what is to be.

        Args:
            version: None: that of the newest state, 0 where there is none.
        """

        def put(connection: sa.Connection) -> None:
            _lock(connection, of)
            for record_id, change in posted:
                at = NEWEST if version is None else version
                before = connection.execute(_at(of, at).where(states.c.id == record_id)).first()
                stored = {} if before is None or before.document is None else json.loads(before.document)
                new_version = version if version is not None else (before.version if before is not None else 0)
                _add(connection, of, record_id, new_version, json.dumps(change(stored)), user)
            note(connection, user, f"put {of.type}", of.dataset, {"ids": [record_id for record_id, _ in posted][:20]})

        await self._queries.run(put)

    async def remove(self, of: Collection, record_id: int, user: str) -> None:
        def remove(connection: sa.Connection) -> None:
            _lock(connection, of)
            head = connection.execute(_at(of, NEWEST).where(states.c.id == record_id)).first()
            if head is not None and head.document is not None:
                _add(connection, of, record_id, head.version, None, user)
            note(connection, user, f"remove {of.type}", of.dataset, {"id": record_id})

        await self._queries.run(remove)

    async def fields(self, of: Collection) -> Sequence[str]:
        """Names that a record has now."""
        names: set[str] = set()
        after = -1
        while rows := await self.page(of, after):
            for _, record in rows:
                names.update(record)
            after = rows[-1][0]
        return sorted(names)

    async def tags(self, of: Collection) -> Mapping[str, str]:
        """UUID by tag, in the order in which they were made."""
        wanted = sa.select(tags).where(tags.c.dataset == of.dataset, tags.c.type == of.type).order_by(tags.c.number)
        return {row.tag: row.uuid for row in await self._queries.read(lambda c: c.execute(wanted).all())}

    async def put_tag(self, of: Collection, tag: str, uuid: str, user: str) -> None:
        """Add or change."""

        def put(connection: sa.Connection) -> None:
            is_it = (tags.c.dataset == of.dataset) & (tags.c.type == of.type) & (tags.c.tag == tag)
            if not connection.execute(sa.update(tags).where(is_it).values(uuid=uuid)).rowcount:
                connection.execute(sa.insert(tags).values(dataset=of.dataset, type=of.type, tag=tag, uuid=uuid))
            note(connection, user, "put tag", of.dataset, {"tag": tag, "uuid": uuid})

        await self._queries.run(put)


def _of(of: Collection) -> sa.ColumnElement[bool]:
    return (states.c.dataset == of.dataset) & (states.c.type == of.type)


def _at(of: Collection, version: int) -> sa.Select[Any]:
    """Of each id the newest state that is no newer than a version."""
    newer = states.alias()
    same = (newer.c.dataset == states.c.dataset) & (newer.c.type == states.c.type) & (newer.c.id == states.c.id)
    later = sa.or_(
        newer.c.version > states.c.version,
        (newer.c.version == states.c.version) & (newer.c.revision > states.c.revision),
    )
    superseded = sa.exists().where(same, newer.c.version <= version, later)
    return sa.select(states).where(_of(of), states.c.version <= version, ~superseded)


def _lock(connection: sa.Connection, of: Collection) -> None:
    """One writer of a collection at a time; SQLite has one in all."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"{of.type} of {of.dataset}"))))


def _add(
    connection: sa.Connection, of: Collection, record_id: int, version: int, document: str | None, user: str
) -> None:
    row = {"dataset": of.dataset, "type": of.type, "id": record_id, "version": version, "document": document}
    connection.execute(sa.insert(states).values(**row, email=user, at=time.time()))


def _state(row: sa.Row[Any]) -> State:
    record = None if row.document is None else json.loads(row.document)
    return State(row.id, row.version, record, row.email, row.at)
