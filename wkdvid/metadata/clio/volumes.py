"""Volumes in buckets that clio's clients read through the server; and what sites report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from wkdvid.metadata.audit import note
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import clio_volumes, site_reports


class Volumes:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        """By name."""
        wanted = sa.select(clio_volumes).order_by(clio_volumes.c.name)
        rows = await self._queries.read(lambda c: c.execute(wanted).all())
        return {row.name: json.loads(row.document) for row in rows}

    async def put(self, documents: Mapping[str, Mapping[str, Any]], by: str) -> None:
        """Add or replace, all or none."""

        def put(connection: sa.Connection) -> None:
            for name, document in sorted(documents.items()):
                connection.execute(sa.delete(clio_volumes).where(clio_volumes.c.name == name))
                connection.execute(sa.insert(clio_volumes).values(name=name, document=json.dumps(document)))
                note(connection, by, "put volume", detail={"name": name})

        await self._queries.run(put)

    async def remove(self, names: Iterable[str], by: str) -> None:
        def remove(connection: sa.Connection) -> None:
            for name in names:
                connection.execute(sa.delete(clio_volumes).where(clio_volumes.c.name == name))
                note(connection, by, "remove volume", detail={"name": name})

        await self._queries.run(remove)


class SiteReports:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def add(self, email: str, document: Any) -> None:
        def add(connection: sa.Connection) -> None:
            row = {"email": email, "at": time.time(), "document": json.dumps(document)}
            connection.execute(sa.insert(site_reports).values(row))
            note(connection, email, "add site report")

        await self._queries.run(add)
