"""Ids that the main server gives our datasets, both ways (webknossos.md C.2, M4 and M5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus

from cachebox import LRUCache, VTTLCache

from wkdvid.core.main_server import DatasetName
from wkdvid.core.single_flight import SingleFlight
from wkdvid.main_server.client import Client, Json, MainServerUnavailable

KEPT_S = 600.0
UNKNOWN_S = 10.0
"""How long it is not asked again for a dataset or an id that it does not know, or gives no answer for."""
KEPT = 20_000
_ID = re.compile(r"[0-9a-f]{24}")


class DatasetIds:
    """What was asked for is kept, until the catalog is changed or reloaded: a dataset may then have another id."""

    def __init__(self, client: Client, generation: Callable[[], int]) -> None:
        """
        Args:
            generation: Of the catalog, as this process has seen it.
        """
        self._client = client
        self._generation = generation
        self._seen = generation()
        self._names: VTTLCache[str, DatasetName | None] = VTTLCache(KEPT)
        self._last_names: LRUCache[str, DatasetName] = LRUCache(KEPT)
        """For while it is silent: who was granted a dataset by its id reads on."""
        self._ids: VTTLCache[DatasetName, str | None] = VTTLCache(KEPT)
        self._finding_names: SingleFlight[DatasetName | None] = SingleFlight()
        self._finding_ids: SingleFlight[str | None] = SingleFlight()

    def known_name(self, dataset_id: str) -> DatasetName | None:
        self._catch_up()
        return self._names.get(dataset_id)

    async def find_name(self, dataset_id: str) -> DatasetName | None:
        """Organization and name of the dataset with this id; None if there is none.

        Raises:
            MainServerUnavailable: it cannot be asked, and has not said so before.
        """
        self._catch_up()
        if not _ID.fullmatch(dataset_id):
            return None
        if dataset_id in self._names:
            return self._names[dataset_id]
        return await self._finding_names.ask(dataset_id, lambda: self._ask_name(dataset_id))

    async def find_id(self, name: DatasetName) -> str | None:
        """The id of the dataset of this organization and name; None if it knows none.

        Raises:
            MainServerUnavailable: it cannot be asked.
        """
        self._catch_up()
        if name in self._ids:
            return self._ids[name]
        return await self._finding_ids.ask(name, lambda: self._ask_id(name))

    def _catch_up(self) -> None:
        if self._seen != (now := self._generation()):
            self._seen = now
            self._names.clear()
            self._ids.clear()

    async def _ask_name(self, dataset_id: str) -> DatasetName | None:
        try:
            answer = await self._client.ask("GET", f"datasources/{dataset_id}")
        except MainServerUnavailable:
            if (last := self._last_names.get(dataset_id)) is None:
                raise
            self._names.insert(dataset_id, last, UNKNOWN_S)
            return last
        name = _name(answer.body) if answer.status == HTTPStatus.OK else None
        self._names.insert(dataset_id, name, UNKNOWN_S if name is None else KEPT_S)
        if name is None:
            self._last_names.pop(dataset_id, None)
        else:
            self._last_names[dataset_id] = name
            self._ids.insert(name, dataset_id, KEPT_S)
        return name

    async def _ask_id(self, name: DatasetName) -> str | None:
        query = {"organizationId": name[0], "datasetDirectoryName": name[1]}
        answer = await self._client.ask("GET", "findDatasetId", query)
        good = answer.status == HTTPStatus.OK and isinstance(answer.body, str) and _ID.fullmatch(answer.body)
        dataset_id: str | None = answer.body if good else None
        self._ids.insert(name, dataset_id, KEPT_S if good else UNKNOWN_S)
        return dataset_id


def _name(source: Json) -> DatasetName | None:
    identity = source.get("id") if isinstance(source, dict) else None
    match identity:
        case {"team": str(organization), "name": str(name)}:
            return (organization, name)
    return None
