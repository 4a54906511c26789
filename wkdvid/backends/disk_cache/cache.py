"""The cache of what remote sources have sent, for one worker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorstore as ts

from wkdvid.backends.contexts import context_spec
from wkdvid.backends.disk_cache.folder import Folder
from wkdvid.backends.disk_cache.loopback import Loopback
from wkdvid.backends.disk_cache.place import Place
from wkdvid.backends.disk_cache.reads import Answer, CachedReads, Fetched
from wkdvid.backends.disk_cache.store import DOCUMENT, WHOLE, DiskStore
from wkdvid.core.entries import DatasetKey
from wkdvid.core.source import Source


class DiskCache:
    """As ``core.freshness.SourceCache``."""

    def __init__(self, folder: Path, max_bytes: int, *, window_s: float, deadline_s: float) -> None:
        """
        Args:
            max_bytes: Of the folder.
            window_s: So long what a source has sent counts as fresh.
            deadline_s: Of a client's read.
        """
        self._store = DiskStore(folder, max_bytes)
        self._reads = CachedReads(self._store, deadline_s)
        self._loopback = Loopback(self._reads)
        self._context = ts.Context(context_spec(0))
        self._window_s = window_s
        self._places: dict[str, Place] = {}
        self._of_dataset: dict[tuple[str, str], set[Place]] = {}
        self._renewed: dict[str, float] = {}

    @property
    def counts(self) -> Counter[Answer]:
        """Of what was asked, by where it came from."""
        return self._reads.counts

    @property
    def mended(self) -> int:
        """Broken pieces and files that were removed."""
        return self._store.mended

    async def used_bytes(self) -> int:
        return await self._reads.run(self._store.used_bytes)

    async def start(self) -> None:
        self._renewed.update(await self._reads.run(self._store.renewed, time.time() - self._window_s))
        await self._loopback.start()

    async def aclose(self) -> None:
        await self._loopback.aclose()
        self._reads.close()

    def stale_s(self, key: tuple[str, str]) -> float | None:
        since = [place.stale_from for place in self._of_dataset.get(key, ()) if place.stale_from is not None]
        return max(0.0, time.time() - min(since)) if since else None

    async def renew(self, keys: Sequence[tuple[str, str]]) -> None:
        if not keys:
            return
        now = time.time()
        renewed = {"/".join(key): now for key in keys}
        self._renewed |= renewed
        for place in {place for key in keys for place in self._of_dataset.pop(key, ())}:
            place.renew(now)
        await self._reads.run(self._store.renew, renewed)

    def of(self, dataset: DatasetKey, *, is_apart: bool) -> CachedSources:
        """What the sources of a dataset are read through.

        Args:
            is_apart: They are read by a right of the dataset's own: no other dataset is served what that has fetched.
        """
        return CachedSources(self, dataset, str(dataset) if is_apart else "")

    def kvstore(self, place: Place, source: Source) -> dict[str, object]:
        """TensorStore's spec of a folder that is kept in a place."""
        if not self._loopback.is_open:
            return source.origin
        number = place.name(source, "").hex()
        folder = self._loopback.folders.setdefault(number, Folder(place, self._context))
        folder.reopen(source)
        return self._loopback.kvstore(number)

    async def remembered(
        self, place: Place, name: bytes, numbers: range, fetch: Callable[[], Awaitable[bytes | None]]
    ) -> bytes | None:
        """What ``fetch`` gives, or has given, as a single piece with this number."""

        async def fetched(_: range, __: bytes) -> Fetched:
            return Fetched({numbers.start: await fetch()})

        pieces = await self._reads.read(place, name, numbers, fetched)
        return pieces[numbers.start].value

    def place_of(self, source: Source, dataset: DatasetKey, owner: str) -> Place:
        """Where the source's store is kept, as the dataset may read it."""
        access = source.access
        options = sorted((name, repr(value)) for name, value in access.options.items())
        identity = repr(
            (source.scheme, source.authority, source.query, owner, access.granted, access.endpoint, options)
        )
        place = self._places.setdefault(identity, Place(identity, self._window_s))
        place.since = max(place.since, self._renewed.get(str(dataset), 0.0))
        self._of_dataset.setdefault(dataset, set()).add(place)
        return place

    def doubt(self, dataset: DatasetKey) -> None:
        for place in self._of_dataset.get(dataset, ()):
            place.doubt()


@dataclass(frozen=True, slots=True)
class CachedSources:
    """How the sources of one dataset are read; as ``core.source.Through``."""

    cache: DiskCache
    dataset: DatasetKey
    owner: str

    def kvstore(self, source: Source) -> dict[str, object]:
        return self.cache.kvstore(self._place(source), source)

    async def remembered(
        self, source: Source, name: str, fetch: Callable[[], Awaitable[bytes | None]], *, is_chunk: bool
    ) -> bytes | None:
        place = self._place(source)
        return await self.cache.remembered(
            place, place.name(source, f"\0{name}"), WHOLE if is_chunk else DOCUMENT, fetch
        )

    def bar(self, source: Source, reason: str) -> None:
        self._place(source).bar(reason)

    def doubt(self) -> None:
        self.cache.doubt(self.dataset)

    def _place(self, source: Source) -> Place:
        return self.cache.place_of(source, self.dataset, self.owner)
