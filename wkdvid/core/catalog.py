"""organization/dataset/layer -> open Volume.

Entries are known from the start; their sources are opened in the background and when first asked for. A source that
fails leaves its dataset listed as unavailable, with the reason, and is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

from wkdvid.core.agreement import InStep
from wkdvid.core.catalog_store import EVERYTHING, CatalogStore, Snapshot
from wkdvid.core.concurrent import for_each
from wkdvid.core.entries import DatasetEntry, DatasetKey, Document, describe_failure
from wkdvid.core.freshness import NOTHING_KEPT, SourceCache
from wkdvid.core.layers import Layer, Opened, arrange_layers
from wkdvid.core.releases import release_chains
from wkdvid.core.repositories import Repository, repository_of
from wkdvid.core.service_account import LEAST_LEFT
from wkdvid.errors import (
    AuthRejected,
    ConfigError,
    InvalidEntry,
    InvalidRequest,
    NotFound,
    SourceGone,
    UpstreamUnavailable,
    WkdvidError,
)

log = logging.getLogger("wkdvid.catalog")

OPENINGS = 16
"""Datasets opened at the same time, in the background or by one registration."""
RETRY_S = 30.0
"""Between two tries of a source that failed."""
TOKEN_S = LEAST_LEFT.total_seconds() / 2
"""Age at which sources that are read with accounts of their own are opened again at the latest: tokens expire."""

ParseEntries: TypeAlias = Callable[[Document], tuple[Sequence[DatasetEntry], Sequence[str]]]
"""Entries of a document, and every problem of it with its JSON path."""
OpenLayers: TypeAlias = Callable[[DatasetEntry], Awaitable[Sequence[Opened]]]
"""Opens every layer of an entry.

Raises:
    InvalidEntry: with the JSON path of each layer that could not be opened.
"""


def configured_entries(parse: ParseEntries, document: Document) -> Sequence[DatasetEntry]:
    """The datasets that the server's configuration names.

    Raises:
        ConfigError: one cannot be served as it is written.
    """
    entries, problems = parse(document)
    if problems:
        raise ConfigError("; ".join(problems))
    return [replace(entry, is_configured=True) for entry in entries]


class State(Enum):
    PENDING = "pending"
    OPEN = "open"
    UNAVAILABLE = "unavailable"


@dataclass(slots=True, eq=False)
class Dataset:
    """One registered dataset and what is known of it now."""

    entry: DatasetEntry
    generation: int
    """Of the catalog, when this process learned of the entry."""
    state: State = State.PENDING
    layers: Mapping[str, Layer] = field(default_factory=dict)
    reason: str = ""
    """Why it is unavailable, in plain words."""
    opened_at: float = 0.0
    """``time.monotonic()`` of the last try."""
    opening: asyncio.Task[None] | None = None
    kept: SourceCache = NOTHING_KEPT
    """What its sources are read through."""
    was_stale: bool = False
    """A source did not answer when it was last looked at: what was read meanwhile may be old."""
    repository: Repository = field(init=False)
    """As which DVID's clients see it."""

    def __post_init__(self) -> None:
        self.repository = repository_of([self.entry])

    @property
    def key(self) -> DatasetKey:
        return self.entry.key

    @property
    def status(self) -> tuple[str, str]:
        """What its state is called, and why it is so.

        Open, but with a source that is not there any more: ``gone``; that refuses reads: ``credentials``; that does not
        answer: ``stale``.
        """
        if self.state is State.OPEN and self.troubles:
            trouble = self.troubles[0]
            return "gone" if isinstance(trouble, SourceGone) else "credentials", str(trouble)
        stale_s = self.stale_s
        if self.state is State.OPEN and stale_s is not None:
            return "stale", f"its source does not answer; what is served is kept from {stale_s:.0f} s ago"
        return self.state.value, self.reason

    @property
    def troubles(self) -> Sequence[AuthRejected | SourceGone]:
        """Of its layers."""
        told = (layer.teller.trouble for layer in self.layers.values() if layer.teller is not None)
        return [trouble for trouble in told if trouble is not None]

    @property
    def stale_s(self) -> float | None:
        """As ``SourceCache`` has it."""
        return self.kept.stale_s(self.key)

    @property
    def public(self) -> bool:
        return self.entry.public

    @property
    def clio_name(self) -> str | None:
        return self.entry.clio_name

    @property
    def said_public(self) -> bool:
        return self.entry.options.get("public") is True

    @property
    def chosen_id(self) -> str | None:
        return self.entry.dataset_id if "dataset_id" in self.entry.options else None

    def layer(self, name: str) -> Layer:
        """
        Raises:
            NotFound: the dataset has no such layer.
        """
        layer = self.layers.get(name)
        if layer is None:
            raise NotFound(f"dataset {self.key} has no layer {name!r}; it has {', '.join(map(repr, self.layers))}")
        return layer

    def with_only(self, layers: Collection[str]) -> Dataset:
        """As it is now, with no other layers than these. Why it is unavailable is not told: that may name others."""
        shown = {name: self.layers[name] for name in layers if name in self.layers}
        return replace(self, entry=self.entry.with_only(layers), layers=shown, reason="")


class Catalog(InStep):
    """All datasets of the server, in step with the store."""

    def __init__(
        self,
        store: CatalogStore,
        parse: ParseEntries,
        open_layers: OpenLayers,
        refresh_s: float,
        configured: Sequence[DatasetEntry] = (),
        kept: SourceCache = NOTHING_KEPT,
    ) -> None:
        """
        Args:
            parse: Entries of a document, those with problems too; and all problems.
            refresh_s: Age at which a dataset's sources are opened again, so that changes are seen.
            configured: Datasets beside those of the document, which cannot be changed.
            kept: What sources are read through.
        """
        super().__init__(store, "the catalog")
        self._store = store
        self._parse = parse
        self._open_layers = open_layers
        self._refresh_s = refresh_s
        self._kept = kept
        self._configured = {entry.key: entry for entry in configured}
        self.by_key: dict[tuple[str, str], Dataset] = {}
        """A DatasetKey is equal to its plain tuple."""
        self._problems: frozenset[str] = frozenset()
        """Of the document as it was last read, each logged once."""
        self.by_id: dict[str, Dataset] = {}
        self.by_uuid: dict[str, Dataset] = {}
        self._chains: Mapping[DatasetKey, Sequence[DatasetKey]] = {}
        """Of datasets that are releases of one another."""
        self._uuids: list[str] | None = None
        """The keys of ``by_uuid`` in order, once somebody has asked for a prefix."""
        self._openings: set[asyncio.Task[None]] = set()
        """Under way, those of datasets too that were replaced meanwhile."""

    # ---- looking up -----------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        await self._apply(await self._store.load(), {})

    def datasets(self) -> Sequence[Dataset]:
        return tuple(self.by_key.values())

    def with_uuid_prefix(self, prefix: str) -> Sequence[Dataset]:
        """Datasets whose UUID begins so: clients may shorten it."""
        if self._uuids is None:
            self._uuids = sorted(self.by_uuid)
        first = bisect_left(self._uuids, prefix)
        last = bisect_right(self._uuids, prefix, first, key=lambda uuid: uuid[: len(prefix)])
        return [self.by_uuid[uuid] for uuid in self._uuids[first:last]]

    def releases(self, dataset: Dataset) -> Sequence[Dataset]:
        """The dataset with those that are its older and newer releases, oldest first."""
        chain = [self.by_key[key] for key in self._chains.get(dataset.key, ())]
        known = [one for one in chain if self.by_uuid[one.entry.uuid] is one]  # written by hand two may have one UUID
        return known if dataset in known else [dataset]

    def find(self, key: tuple[str, str]) -> Dataset:
        """
        Raises:
            NotFound: no such dataset.
        """
        dataset = self.by_key.get(key)
        if dataset is None:
            raise NotFound(f"there is no dataset {key[0]}/{key[1]}")
        return dataset

    async def opened(self, dataset: Dataset) -> Dataset:
        """The dataset with its layers open.

        Raises:
            UpstreamUnavailable: its source cannot be read now.
        """
        if dataset.state is State.PENDING:
            await self._open(dataset)
        if dataset.state is State.UNAVAILABLE:
            raise UpstreamUnavailable(f"dataset {dataset.key} is unavailable: {dataset.reason}")
        return dataset

    async def settle(self, timeout_s: float, datasets: Iterable[Dataset] | None = None) -> None:
        """Wait until none of them, or of all (None), is pending, but no longer than that: what cannot be reached holds
        up nobody.
        """
        datasets = self.by_key.values() if datasets is None else datasets
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._open_all([dataset for dataset in datasets if dataset.state is State.PENDING])

    # ---- changing -------------------------------------------------------------------------------------------------

    async def update(
        self, change: Callable[[Document], None], opened: Mapping[DatasetKey, Mapping[str, Layer]]
    ) -> None:
        """Change the document for all workers.

        Args:
            opened: Layers that this process has opened for the change; the other workers open them afresh.

        Raises:
            RequestError: whatever ``change`` raises; then nothing is changed.
        """

        def checked(document: Document) -> None:
            change(document)
            entries = self._parse(document)[0]
            for entry in entries:
                self.refuse_configured(entry.key)
            _refuse_shared_ids([*self._configured.values(), *entries])

        snapshot = await self._store.update(checked, map(str, opened))
        async with self._catching_up:
            if snapshot.generation > self._seen:
                await self._apply(snapshot, opened)

    def refuse_configured(self, key: DatasetKey) -> None:
        """
        Raises:
            InvalidRequest: the dataset stands in the server's configuration.
        """
        if key in self._configured:
            raise InvalidRequest(f"{key} stands in the server's configuration file; change it there")

    async def renew(self, key: DatasetKey | None) -> None:
        """Open the sources of one dataset afresh, or of all (None), in every worker, when they are asked for next.

        Raises:
            NotFound: no such dataset.
        """
        await self.look_again()
        in_document = key is not None and not self.find(key).entry.is_configured
        name = str(key) if in_document else EVERYTHING  # the store keeps this of the document's datasets alone
        await self._store.update(lambda document: None, [name])
        await self.catch_up()

    async def _apply(self, snapshot: Snapshot, opened: Mapping[DatasetKey, Mapping[str, Layer]]) -> None:
        entries, problems = await asyncio.to_thread(self._parse, snapshot.document)
        for problem in problems:
            if problem not in self._problems:
                log.warning("datasets.json: %s", problem)
        self._problems = frozenset(problems)
        wanted = {entry.key: entry for entry in entries} | self._configured
        for dataset in [dataset for key, dataset in self.by_key.items() if key not in wanted]:
            self._remove(dataset.key)
        changed = [key for key, entry in wanted.items() if key in opened or self._is_old(key, entry, snapshot)]
        await self._kept.renew([key for key in changed if key in self.by_key and key not in opened])
        for key in changed:
            dataset = Dataset(wanted[key], snapshot.generation, kept=self._kept)
            if key in opened:
                dataset.state, dataset.layers, dataset.opened_at = State.OPEN, opened[key], time.monotonic()
            self._install(dataset)
        self._chains = release_chains(wanted)
        self._seen = snapshot.generation

    def _is_old(self, key: DatasetKey, entry: DatasetEntry, snapshot: Snapshot) -> bool:
        """Whether what is known of a dataset is not, or not any more, what the snapshot says."""
        known = self.by_key.get(key)
        renewed = max(snapshot.renewed.get(EVERYTHING, 0), snapshot.renewed.get(str(key), 0))
        return known is None or known.entry != entry or known.generation < renewed

    def _install(self, dataset: Dataset) -> None:
        self._remove(dataset.key)
        self.by_key[dataset.key] = dataset
        self.by_id[dataset.entry.dataset_id] = dataset
        self.by_uuid[dataset.entry.uuid] = dataset
        self._uuids = None

    def _remove(self, key: DatasetKey) -> None:
        dataset = self.by_key.pop(key, None)
        if dataset is not None:
            self._uuids = None
            if self.by_id.get(dataset.entry.dataset_id) is dataset:  # a file written by hand may give two the same
                del self.by_id[dataset.entry.dataset_id]
            if self.by_uuid.get(dataset.entry.uuid) is dataset:
                del self.by_uuid[dataset.entry.uuid]

    # ---- opening --------------------------------------------------------------------------------------------------

    async def _open_all(self, datasets: Sequence[Dataset]) -> None:
        """So many at a time, that one which a request waits for meanwhile is not held up by them."""
        await for_each(self._open, datasets, OPENINGS)

    async def _open(self, dataset: Dataset) -> None:
        """However many wait for it, it is opened once, and goes on when one of them goes away."""
        if dataset.opening is None or dataset.opening.done():
            dataset.opening = asyncio.create_task(self._try_to_open(dataset), name=f"open {dataset.key}")
            self._openings.add(dataset.opening)
            dataset.opening.add_done_callback(self._openings.discard)
        await asyncio.shield(dataset.opening)

    async def _try_to_open(self, dataset: Dataset) -> None:
        try:
            layers = arrange_layers(dataset.entry, await self._open_layers(dataset.entry))
        except Exception as error:  # a mistake in one backend must not end the watch over all datasets
            if describe_failure(error) != dataset.reason:  # tried again every 30 s: said once
                unexpected = None if isinstance(error, WkdvidError) else error
                log.warning("dataset %s cannot be opened: %s", dataset.key, error, exc_info=unexpected)
            if dataset.state is not State.OPEN or not isinstance(error, UpstreamUnavailable):
                dataset.state = State.UNAVAILABLE  # else a passing failure, which each read tells of by itself
            dataset.reason = describe_failure(error)
        else:
            dataset.was_stale = dataset.stale_s is not None
            if not dataset.was_stale or dataset.state is not State.OPEN:  # else what is open is no older
                dataset.layers, dataset.state, dataset.reason = layers, State.OPEN, ""
        dataset.opened_at = time.monotonic()

    async def watch(self) -> None:
        """Open what is pending, try again what failed, look again at what is old; until cancelled."""
        while True:
            with contextlib.suppress(WkdvidError, OSError):  # each request that needs it says so
                await self.catch_up()
            now = time.monotonic()
            await self._open_all([d for d in self.by_key.values() if self._is_due(d, now)])
            await asyncio.sleep(1.0)

    def _is_due(self, dataset: Dataset, now: float) -> bool:
        has_own = any(layer.credentials is not None for layer in dataset.entry.layers)
        refresh_s = min(self._refresh_s, TOKEN_S) if has_own else self._refresh_s
        is_stale = dataset.stale_s is not None
        if is_stale or dataset.was_stale:  # ask the source again; as soon as it answers, let go of what was read
            refresh_s = min(refresh_s, RETRY_S) if is_stale else 0.0
        dataset.was_stale = is_stale
        if any(isinstance(trouble, SourceGone) for trouble in dataset.troubles):
            refresh_s = min(refresh_s, RETRY_S) if dataset.reason else 0.0
        wait_s = {State.PENDING: 0.0, State.UNAVAILABLE: RETRY_S, State.OPEN: refresh_s}[dataset.state]
        return now - dataset.opened_at >= wait_s

    async def aclose(self) -> None:
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        for dataset in self.by_key.values():
            for layer in dataset.layers.values():
                await layer.volume.aclose()


def _refuse_shared_ids(entries: Iterable[DatasetEntry]) -> None:
    owners: dict[str, DatasetKey] = {}
    for entry in entries:
        for kind, value in (("uuid", entry.uuid), ("dataset_id", entry.dataset_id)):
            other = owners.setdefault(f"{kind} {value}", entry.key)
            if other != entry.key:
                raise InvalidEntry(
                    [
                        f"{entry.backend}.{entry.key.organization}.{entry.key.dataset}: "
                        f"{kind} {value} belongs to {other} already"
                    ]
                )
