"""The objects below a source's folder, whole or in part, as bytes: what the readers of chunks read."""

from __future__ import annotations

from functools import partial

import tensorstore as ts

from wkdvid.backends.failures import status_of, translate
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.core.concurrent import for_each
from wkdvid.core.source import Source
from wkdvid.errors import CorruptChunk, TooLarge

LARGEST_OBJECT = 1 << 43
"""Bytes; no store has larger ones."""
PROBES = 16
"""Bytes asked for at a time to find a length."""


class StoredObjects:
    """Reads through TensorStore: its tries, its limits of concurrency, its drivers of stores.

    There is no deadline here: the reader of a volume has one.
    """

    def __init__(self, source: Source, store: ts.KvStore) -> None:
        self.source = source
        self._store = store

    async def read(self, key: str) -> bytes | None:
        """All bytes of an object, or None if there is no such key.

        Raises:
            BackendError: it could not be judged whether it is there.
        """
        return await self._read(key, None)

    async def read_range(self, key: str, start: int, stop: int) -> bytes | None:
        """Bytes ``start`` to ``stop`` (exclusive) of an object, or None if there is no such key.

        Raises:
            CorruptChunk: the object is shorter.
            BackendError: as ``read``.
        """
        part = await self._read(key, slice(start, stop))
        if part is not None and len(part) != stop - start:
            raise CorruptChunk(f"{self.source.name} ({key}): has no bytes {start} to {stop}")
        return part

    async def read_small(self, key: str, limit: int) -> bytes | None:
        """All bytes of an object, or None if there is no such key.

        Raises:
            TooLarge: it has more than ``limit``.
            BackendError: as ``read``.
        """
        if await self._has_byte(key, limit):
            raise TooLarge(f"{self.source.name} ({key}): has more than {limit} bytes; ask for a part of it")
        return await self.read(key)

    async def length(self, key: str) -> int | None:
        """Bytes of an object, or None if there is no such key.

        TensorStore does not tell it, so it is found by asking for single bytes, many at a time.

        Raises:
            BackendError: as ``read``.
        """
        low, high = 0, LARGEST_OBJECT
        places = [0, *(1 << bit for bit in range(LARGEST_OBJECT.bit_length()))]
        while low < high:
            there = dict(zip(places, await for_each(partial(self._has_byte, key), places, PROBES), strict=True))
            if None in there.values():
                return None
            low = max([low, *(place + 1 for place, has in there.items() if has)])
            high = min([high, *(place for place, has in there.items() if not has)])
            places = sorted({low + (high - low) * i // PROBES for i in range(PROBES)})
        return low

    async def _has_byte(self, key: str, place: int) -> bool | None:
        """Whether an object is longer than ``place``; None if there is no such key."""
        try:
            found = await finished(self._store.read(key, byte_range=slice(place, place + 1)))
        except FAILURES as error:
            if status_of(error) == "OUT_OF_RANGE":
                return False
            raise translate(error, f"{self.source.name} ({key})") from error
        return True if found.state == "value" else None

    async def _read(self, key: str, part: slice | None) -> bytes | None:
        where = f"{self.source.name} ({key})"
        try:
            found = await finished(self._store.read(key, byte_range=part))
        except FAILURES as error:
            if status_of(error) == "OUT_OF_RANGE":
                raise CorruptChunk(f"{where}: is shorter than its own index says") from error
            raise translate(error, where) from error
        return found.value if found.state == "value" else None


async def open_objects(source: Source, context: ts.Context) -> StoredObjects:
    """
    Raises:
        BackendError: the store cannot be opened.
    """
    try:
        return StoredObjects(source, await finished(ts.KvStore.open(source.kvstore, context=context)))
    except FAILURES as error:
        raise translate(error, source.name) from error
