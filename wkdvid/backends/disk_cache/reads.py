"""Reads what is kept, and asks the source where that does not suffice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from wkdvid.backends.disk_cache.place import Place
from wkdvid.backends.disk_cache.store import LARGEST, DiskStore, Piece
from wkdvid.core.concurrent import begin_shared
from wkdvid.core.limits import KIB
from wkdvid.core.metrics import counter
from wkdvid.errors import AuthRejected, CorruptChunk, UpstreamUnavailable

Result = TypeVar("Result")

Answer: TypeAlias = Literal["hit", "stale", "confirmed", "miss"]
"""Out of what is kept; likewise, though the source should have confirmed it; as the source has confirmed; from it."""
ANSWERS = counter("wkdvid_disk_cache_answers_total", "Answers of the disk cache, by where they came from", ("kind",))
BYTES = counter("wkdvid_disk_cache_bytes_total", "Bytes that the disk cache has read and written", ("kind",))
PAGE_BYTES = 64 * KIB
"""Of an object that is read in parts: what is asked for, and kept, at a time."""
PATIENCE = 8
"""The part of the deadline for which a source is waited for that only has to confirm what is kept."""
QUEUED_BYTES = 2 * LARGEST
"""What waits to be written. A disk that cannot follow keeps less, and holds up nobody."""


@dataclass(frozen=True, slots=True)
class Fetched:
    pieces: Mapping[int, bytes | None]
    """An object that is not there has one, which is None. One page that is shorter than others ends the object."""
    validator: bytes = b""
    is_kept: bool = True


Fetch: TypeAlias = Callable[[range, bytes], Awaitable[Fetched | None]]
"""Asks the source for pieces. Its second argument is the version of which all of them are kept, or empty; None as the
answer says that this is what the source has. Raises BackendError."""
Pieces: TypeAlias = dict[int, Piece]


class CachedReads:
    def __init__(self, store: DiskStore, deadline_s: float) -> None:
        """
        Args:
            deadline_s: Of a client's read.
        """
        self.counts: Counter[Answer] = Counter()
        """Since this process began."""
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk cache")
        self._patience_s = deadline_s / PATIENCE
        self._fetching: dict[tuple[bytes, range, bytes], asyncio.Task[Fetched | None]] = {}
        self._queued_bytes = 0

    async def read(self, place: Place, name: bytes, numbers: range, fetch: Fetch) -> Pieces:
        """Pieces of an object, up to its end; one whose value is None where the source has no such object.

        Raises:
            BackendError: as ``fetch``, where not all of them are kept, or where the source refuses.
        """
        kept = await self.run(self._store.get, name, numbers)
        numbers = up_to_end(numbers, kept)
        old = [number for number in numbers if number not in kept or not place.is_fresh(kept[number])]
        is_whole = len(kept) >= len(numbers)
        if is_whole and ((not old and not place.failing) or not place.may_ask()):
            return self._hit(place, kept, old)
        if place.barred:
            raise UpstreamUnavailable(place.barred)
        wanted = range(old[0], old[-1] + 1) if old else numbers
        try:
            async with asyncio.timeout(self._patience_s if is_whole else None):
                fetched = await self._fetched(place, name, wanted, _version(kept, wanted), fetch)
        except (UpstreamUnavailable, TimeoutError):
            place.failed()
            if not is_whole:
                raise
            return self._hit(place, kept, old)
        return await self._joined(place, name, numbers, kept, fetched, fetch)

    async def run(self, function: Callable[..., Result], *args: object) -> Result:
        """What a method of the store gives."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def close(self) -> None:
        self._thread.submit(self._store.close)
        self._thread.shutdown()

    def _hit(self, place: Place, kept: Pieces, old: list[int]) -> Pieces:
        self._count("stale" if old else "hit", kept)
        place.served(kept[number] for number in old)
        return kept

    def _count(self, kind: Answer, read: Pieces) -> None:
        self.counts[kind] += 1
        ANSWERS.of(kind).add()
        BYTES.of("read").add(sum(len(piece.value or b"") for piece in read.values()))

    async def _joined(
        self, place: Place, name: bytes, numbers: range, kept: Pieces, fetched: Fetched | None, fetch: Fetch
    ) -> Pieces:
        now = time.time()
        if fetched is None:
            self._count("confirmed", kept)
            return kept
        self._count("miss", {})
        others = [piece for number, piece in kept.items() if number not in fetched.pieces]
        if any(piece.validator != fetched.validator for piece in others):  # it has changed meanwhile
            again = await self._fetched(place, name, numbers, b"", fetch)
            return {} if again is None else _pieces(again, now)
        return {**kept, **_pieces(fetched, now)}

    async def _fetched(self, place: Place, name: bytes, wanted: range, version: bytes, fetch: Fetch) -> Fetched | None:
        """What the source answers; however many ask at a time, it is asked once, and goes on when they go away."""
        key = (name, wanted, version)
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = begin_shared(self._ask(place, name, wanted, version, fetch), "ask a source")
            task.add_done_callback(lambda _: self._fetching.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, place: Place, name: bytes, wanted: range, version: bytes, fetch: Fetch) -> Fetched | None:
        began = time.time()
        try:
            fetched = await fetch(wanted, version)
        except (AuthRejected, CorruptChunk):
            place.answered()
            self._later(0, self._store.drop, name)
            raise
        place.answered()
        if fetched is None:
            self._later(0, self._store.confirm, name, version, began)
        elif fetched.is_kept:
            size = sum(len(value or b"") for value in fetched.pieces.values())
            self._later(size, self._store.put, name, fetched.pieces, fetched.validator, began)
        return fetched

    def _later(self, size: int, function: Callable[..., object], *args: object) -> None:
        """Write when there is time to: nobody waits for that, and what is read after it finds it written."""
        if self._queued_bytes + size <= QUEUED_BYTES:
            self._queued_bytes += size
            BYTES.of("written").add(size)
            written = asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
            written.add_done_callback(lambda _: self._written(size))

    def _written(self, size: int) -> None:
        self._queued_bytes -= size


def up_to_end(numbers: range, kept: Pieces) -> range:
    """Those numbers that the object has: it ends with a page that is shorter, and without any where it is not there."""
    if numbers.start < 0:
        return numbers
    ends = [number for number, piece in kept.items() if piece.value is None or len(piece.value) < PAGE_BYTES]
    return range(numbers.start, min([*ends, numbers.stop - 1]) + 1)


def _version(kept: Pieces, numbers: range) -> bytes:
    """The version of which all of these pieces are kept; empty if there is none."""
    versions = {kept[number].validator if number in kept else b"" for number in numbers}
    return versions.pop() if len(versions) == 1 else b""


def _pieces(fetched: Fetched, now: float) -> Pieces:
    return {number: Piece(value, fetched.validator, now) for number, value in fetched.pieces.items()}
