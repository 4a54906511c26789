"""Clio's documents of datasets: descriptions, layers, Neuroglancer states. Whether one is public stands in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from wkdvid.core.catalog_store import SharedCounter
from wkdvid.metadata.audit import note
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import clio_datasets

COUNTER = "clio_datasets.generation"
KEPT_S = 30.0
"""For which other hosts may not see a change."""


class Datasets:
    def __init__(self, queries: Queries, counter: SharedCounter) -> None:
        self._queries = queries
        self._counter = counter
        self._known: Mapping[str, Mapping[str, Any]] = {}
        self._generation = -1
        self._until = 0.0

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        """By name. Do not write to it.

        Raises:
            DatabaseUnavailable: and nothing is known that is recent.
        """
        generation = self._counter.value
        if generation != self._generation or time.monotonic() > self._until:
            rows = await self._queries.run(
                lambda c: c.execute(sa.select(clio_datasets).order_by(clio_datasets.c.name)).all()
            )
            self._known = {row.name: json.loads(row.document) for row in rows}
            self._generation, self._until = generation, time.monotonic() + KEPT_S
        return self._known

    async def put(
        self,
        documents: Mapping[str, Mapping[str, Any]],
        by: str,
        check: Callable[[str, Mapping[str, Any] | None, Mapping[str, Any]], None],
    ) -> None:
        """Add or replace, all or none.

        Args:
            check: Given a name, what is stored and what is to replace it; raises RequestError where it may not.
        """

        def put(connection: sa.Connection) -> None:
            for name, document in documents.items():
                is_it = clio_datasets.c.name == name
                stored = connection.execute(sa.select(clio_datasets.c.document).where(is_it).with_for_update()).scalar()
                check(name, None if stored is None else json.loads(stored), document)
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
