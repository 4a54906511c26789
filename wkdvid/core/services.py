"""What every front end is given: the one way to a dataset that the caller may see, and the things to read it with."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from wkdvid.core.access import Action, Authorizer, allowed
from wkdvid.core.body_cache import BodyCache
from wkdvid.core.catalog import Catalog, Dataset, Layer
from wkdvid.core.limits import Limits
from wkdvid.core.reading import Reader
from wkdvid.core.registration import Registrar
from wkdvid.errors import NotFound

SETTLE_S = 2.0
"""How long a listing waits for datasets that are being opened for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    limits: Limits
    catalog: Catalog
    registrar: Registrar
    authorizer: Authorizer
    reader: Reader
    bodies: BodyCache
    executor: Executor
    """For encoding and other work that must not hold up the event loop."""

    async def dataset(self, key: tuple[str, str], token: str | None) -> Dataset:
        """The dataset, open, if the caller may read it.

        Raises:
            NotFound: it does not exist, or this caller may not know that it does.
            UpstreamUnavailable: its source cannot be read now.
        """
        if not self.catalog.current:
            await self.catalog.catch_up()
        return await self._readable(self.catalog.find(key), token, f"there is no dataset {key[0]}/{key[1]}")

    async def dataset_by_id(self, dataset_id: str, token: str | None) -> Dataset:
        """As ``dataset``, for the id that webKnossos uses."""
        if not self.catalog.current:
            await self.catalog.catch_up()
        dataset = self.catalog.by_id.get(dataset_id)
        missing = f"there is no dataset with the id {dataset_id}"
        if dataset is None:
            raise NotFound(missing)
        return await self._readable(dataset, token, missing)

    async def open_layer(self, dataset: Dataset, layer: str) -> Layer:
        """
        Raises:
            NotFound: no such layer.
            UpstreamUnavailable: the source cannot be read now.
        """
        return (await self.catalog.opened(dataset)).layer(layer)

    async def visible(self, token: str | None) -> Sequence[Dataset]:
        """All datasets that the caller may read, open or not, in the catalog's order."""
        await self.catalog.catch_up()
        await self.catalog.settle(SETTLE_S)
        return [d for d in self.catalog.datasets() if await allowed(self.authorizer, token, Action.READ, d)]

    async def _readable(self, dataset: Dataset, token: str | None, missing: str) -> Dataset:
        decided = self.authorizer.decide(token, Action.READ, dataset)
        if decided is None:
            decided = await self.authorizer.ask(token, Action.READ, dataset)
        if not decided:
            raise NotFound(missing)
        return await self.catalog.opened(dataset)
