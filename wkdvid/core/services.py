"""What every front end is given: the one way to a dataset that the caller may see, and the things to read it with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from wkdvid.core.access import Action, Authorizer, allowed
from wkdvid.core.annotations import Views
from wkdvid.core.body_cache import Body, BodyCache, Key
from wkdvid.core.catalog import Catalog, Dataset, State
from wkdvid.core.concurrent import for_each
from wkdvid.core.freshness import KEPT_DATASET, NOTHING_KEPT, SourceCache
from wkdvid.core.jobs import Jobs
from wkdvid.core.limits import Limits
from wkdvid.core.links import Links
from wkdvid.core.main_server import MainServer
from wkdvid.core.reading import Reader
from wkdvid.core.registration import Registrar
from wkdvid.core.repositories import Repositories
from wkdvid.core.stored_values import ValueStore
from wkdvid.core.volume import ReadsFiles
from wkdvid.core.written_labels import WrittenLabels
from wkdvid.core.written_volumes import WrittenVolumes
from wkdvid.errors import NotFound, NotShown

Result = TypeVar("Result")

Inspect: TypeAlias = Callable[[object], Awaitable[Mapping[str, Any]]]
"""From an entry, or a source alone, to what would be served and what is wrong with it, as JSON.

Raises:
    RequestError, BackendError: it cannot be served.
"""
SETTLE_S = 2.0
"""How long a listing waits for datasets that are being opened for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    limits: Limits
    catalog: Catalog
    repositories: Repositories
    values: ValueStore
    labels: WrittenLabels
    volumes: WrittenVolumes
    registrar: Registrar
    authorizer: Authorizer
    links: Links
    email_of: Callable[[str | None], Awaitable[str]]
    """Of who sends a token; "" where users are not known by name."""
    annotations: Views
    """What users have annotated over clio's API."""
    source_cache: SourceCache
    """What sources are read through."""
    reader: Reader
    bodies: BodyCache
    inspect: Inspect
    formats: Sequence[str]
    """Backends that an entry may name."""
    preview: Inspect
    """As ``inspect``, each layer with a picture of its middle."""
    explore: Inspect
    """As ``inspect``, from the main server's request to what its form for remote datasets expects."""
    open_files: Callable[[str], Awaitable[ReadsFiles]]
    """Of an address, the files below it. Raises InvalidRequest where it is not admitted, BackendError."""
    admit: Callable[[str], Awaitable[object]]
    """Raises InvalidRequest where the server may not ask the host of an address."""
    jobs: Jobs
    main_server: MainServer
    passing_answers: Callable[[], int]
    """How many answers of sources asked for another try, since this worker began."""
    database_answers: Callable[[], Awaitable[bool]]
    executor: Executor
    """For encoding and other work that must not hold up the event loop."""

    async def dataset(self, key: tuple[str, str], token: str | None) -> Dataset:
        """The dataset, open, if the caller may read it.

        Raises:
            NotFound: it does not exist, or this caller may not know that it does.
            UpstreamUnavailable: its source cannot be read now.
            DatabaseUnavailable: it may be of another host, and that cannot be known now.
        """
        return await self.looked_up(lambda: self.known_dataset(key, token))

    async def known_dataset(self, key: tuple[str, str], token: str | None) -> Dataset:
        """As ``dataset``, of those that this host knows."""
        if not self.catalog.current:
            await self.catalog.catch_up()
        return await self._readable(self.catalog.by_key.get(key), token, key)

    async def dataset_by_id(self, dataset_id: str, token: str | None) -> Dataset:
        """As ``dataset``, for the id that webKnossos uses."""

        async def find() -> Dataset:
            return await self._readable(await self.find_by_id(dataset_id), token, (dataset_id,))

        return await self.looked_up(find)

    async def looked_up(self, find: Callable[[], Awaitable[Result]]) -> Result:
        """What ``find`` finds; if that is nothing, what it finds once all hosts' changes are known.

        Raises:
            NotFound, DatabaseUnavailable: as ``dataset``.
        """
        seen = self._generations
        try:
            return await find()
        except NotFound:
            await self.catalog.look_again()
            await self.repositories.look_again()
            if self._generations == seen:
                raise
        return await find()

    @property
    def _generations(self) -> tuple[int, int]:
        return self.catalog.generation, self.repositories.generation

    async def find_by_id(self, dataset_id: str) -> Dataset | None:
        """The dataset that has this id here or at the main server, whoever asks.

        Raises:
            UpstreamUnavailable: the main server has to be asked, and cannot be.
        """
        if not self.catalog.current:
            await self.catalog.catch_up()
        dataset = self.catalog.by_id.get(dataset_id)
        if dataset is not None:
            return dataset
        name = self.main_server.known_name(dataset_id) or await self.main_server.find_name(dataset_id)
        return None if name is None else self.catalog.by_key.get(name)

    async def visible(self, token: str | None) -> Sequence[Dataset]:
        """All datasets that the caller may read, open if they can be, in the catalog's order."""
        await self.catalog.catch_up()
        await self.catalog.settle(SETTLE_S)
        return await self.listed(token)

    async def listed(self, token: str | None) -> Sequence[Dataset]:
        """As ``visible``, but none is waited for: those that nobody has asked for may still be pending."""
        await self.catalog.catch_up()
        datasets = self.catalog.datasets()
        decided = {d: self.authorizer.decide(token, Action.READ, d) for d in datasets}
        unclear = [dataset for dataset, is_allowed in decided.items() if is_allowed is None]
        asked = await for_each(lambda d: self.authorizer.ask(token, Action.READ, d), unclear)
        decided.update(zip(unclear, asked, strict=True))
        return [self.links.seen(dataset, token) for dataset, is_allowed in decided.items() if is_allowed]

    async def kept(self, key: Key, make: Callable[[], Awaitable[Body]]) -> Body:
        """The ready body of this key; where there is none, what ``make`` gives is kept.

        Raises:
            WkdvidError: whatever ``make`` raises; then nothing is kept.
        """
        body = self.bodies.get(key)
        self.bodies.looked_up(body is not None, body is None)
        if body is None:
            body = await make()
            self.bodies.put(key, body)
        return body

    async def apart(self, function: Callable[..., Result], *args: object) -> Result:
        """What a function gives that takes the CPU long, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *args)

    async def _readable(self, dataset: Dataset | None, token: str | None, name: tuple[str, ...]) -> Dataset:
        if dataset is not None:
            decided = self.authorizer.decide(token, Action.READ, dataset)
            if decided or (decided is None and await self.authorizer.ask(token, Action.READ, dataset)):
                if self.source_cache is not NOTHING_KEPT:
                    KEPT_DATASET.set(dataset.key)
                if dataset.state is State.OPEN:
                    return self.links.seen(dataset, token)
                return await self.links.opened(self.catalog.opened(dataset), dataset.key, token)
        text = f"there is no dataset {'/'.join(name)}"
        if await allowed(self.authorizer, token, Action.ADMINISTRATE, None):
            raise NotFound(text)
        raise NotShown(f"{text} that this token may read" if self.authorizer.tokens_expire else text)
