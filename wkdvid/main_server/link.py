"""The main server as the rest of the house knows it: ``core.main_server.MainServer``."""

from __future__ import annotations

from collections.abc import Sequence

from wkdvid.core.catalog import Catalog
from wkdvid.core.host_lock import Lock
from wkdvid.core.main_server import DatasetName
from wkdvid.main_server.authorizer import MainServerAuthorizer
from wkdvid.main_server.client import Client
from wkdvid.main_server.dataset_ids import DatasetIds
from wkdvid.main_server.reporter import Form, Reporter


class Link:
    def __init__(self, client: Client, catalog: Catalog, lock: Lock, forms: Sequence[Form], own_url: str) -> None:
        """As ``Reporter`` takes them."""
        self._client = client
        self._ids = DatasetIds(client, lambda: catalog.generation)
        self._reporter = Reporter(client, self._ids, catalog, lock, forms, own_url)
        self.authorizer = MainServerAuthorizer(client, self._ids)
        self.known_name = self._ids.known_name

    async def find_name(self, dataset_id: str) -> DatasetName | None:
        return await self._ids.find_name(dataset_id)

    async def report(self) -> None:
        await self._reporter.report()

    async def watch(self) -> None:
        await self._reporter.watch()

    async def aclose(self) -> None:
        await self._client.aclose()
