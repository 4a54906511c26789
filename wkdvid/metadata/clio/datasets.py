"""Clio's documents of datasets: descriptions, layers, Neuroglancer states. Whether one is public stands in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from wkdvid.core.catalog_store import SharedCounter
from wkdvid.metadata.audit import note
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.queries import Queries, expect
from wkdvid.metadata.schema import clio_datasets

COUNTER = "clio_datasets.generation"
KEPT_S = 30.0
"""For which other hosts may not see a change."""


def open_datasets(database_url: str, folder: Path) -> Datasets:
    """
    Args:
        folder: Where workers agree about changes.
    """
    return Datasets(Queries(open_engine(database_url)), SharedCounter(folder / COUNTER))


class Datasets:
    def __init__(self, queries: Queries, counter: SharedCounter) -> None:
        self._queries = queries
        self._counter = counter
        self._known: Mapping[str, Mapping[str, Any]] = {}
        self._updated: Mapping[str, float] = {}
        self._public: frozenset[str] = frozenset()
        self._generation = -1
        self._until = 0.0

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        """By name. Do not write to it.

        Raises:
            DatabaseUnavailable: and nothing is known that is recent.
        """
        generation = self._counter.value
        if generation != self._generation or time.monotonic() > self._until:
            rows = await self._queries.read(
                lambda c: c.execute(sa.select(clio_datasets).order_by(clio_datasets.c.name)).all()
            )
            self._known = {row.name: json.loads(row.document) for row in rows}
            self._updated = {row.name: row.updated for row in rows}
            self._public = frozenset(name for name, one in self._known.items() if one.get("public") is True)
            self._generation, self._until = generation, time.monotonic() + KEPT_S
        return self._known

    async def public(self) -> frozenset[str]:
        """Names of those that are open to whoever is logged in."""
        await self.all()
        return self._public

    async def updated(self, name: str) -> float | None:
        """Seconds since 1970 of the last change; None: there is none of this name."""
        await self.all()
        return self._updated.get(name)

    async def put(
        self,
        documents: Mapping[str, Mapping[str, Any]],
        by: str,
        check: Callable[[str, Mapping[str, Any] | None, Mapping[str, Any]], None],
        seen: float | None = None,
    ) -> None:
        """Add or replace, all or none.

        Args:
            seen: When the only one was last changed, as far as its editor knows; None: it does not matter.
            check: Given a name, what is stored and what is to replace it; raises RequestError where it may not.
        """

        def put(connection: sa.Connection) -> None:
            for name, document in sorted(documents.items()):  # in one order, so that no two wait for each other
                is_it = clio_datasets.c.name == name
                stored = connection.execute(sa.select(clio_datasets).where(is_it).with_for_update()).first()
                expect(seen, None if stored is None else stored.updated)
                check(name, None if stored is None else json.loads(stored.document), document)
                row = {"document": json.dumps(document), "updated": time.time(), "by": by}
                if stored is None:
                    connection.execute(sa.insert(clio_datasets).values(name=name, **row))
                else:
                    connection.execute(sa.update(clio_datasets).where(is_it).values(row))
                note(connection, by, "put dataset", name)

        await self._queries.run(put)
        self._counter.add(1)

    async def remove(self, names: Iterable[str], by: str) -> None:
        def remove(connection: sa.Connection) -> None:
            for name in names:
                connection.execute(sa.delete(clio_datasets).where(clio_datasets.c.name == name))
                note(connection, by, "remove dataset", name)

        await self._queries.run(remove)
        self._counter.add(1)
