"""The objects below a source's folder, whole or in part, as bytes: what the readers of chunks read."""

from __future__ import annotations

import contextlib
import json
from functools import partial

import tensorstore as ts

from wkdvid.backends.failures import status_of, translate, translate_of
from wkdvid.backends.numbers import LARGEST
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.core.concurrent import for_each
from wkdvid.core.source import Source
from wkdvid.errors import CorruptChunk, TooLarge, UpstreamUnavailable

LARGEST_OBJECT = 1 << 43
"""Bytes; no store has larger ones."""
PROBES = 16
"""Bytes asked for at a time to find a length."""


class TooShort(CorruptChunk):
    """A range that is asked for goes beyond the end of the object."""


class StoredObjects:
    """Reads through TensorStore: its tries, its limits of concurrency, its drivers of stores.

    There is no deadline here: the reader of a volume has one.
    """

    def __init__(self, source: Source, store: ts.KvStore, listed: ts.KvStore | None = None) -> None:
        """
        Args:
            listed: The store to be asked which keys there are, where that is another.
        """
        self.source = source
        self._store = store
        self._listed = listed or store

    async def read(self, key: str) -> bytes | None:
        """All bytes of an object, or None if there is no such key.

        Raises:
            BackendError: it could not be judged whether it is there.
        """
        found = await self._read(key, None)
        return None if found is None else found.value

    async def read_range(self, key: str, start: int, stop: int) -> bytes | None:
        """Bytes ``start`` to ``stop`` (exclusive) of an object, or None if there is no such key.

        Raises:
            CorruptChunk: the object is shorter.
            BackendError: as ``read``.
        """
        found = await self._read(key, slice(start, stop))
        return None if found is None else found.value

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

    async def keys(self) -> list[str]:
        """Of all objects below the folder. No web server tells them.

        Raises:
            BackendError: they cannot be listed.
        """

        async def fetch() -> bytes:
            try:
                found = await finished(self._listed.list())
            except FAILURES as error:
                raise translate(error, self.source.name) from error
            return json.dumps([key.decode(errors="replace") for key in found]).encode()

        keys: list[str] = json.loads(await self.source.remembered("keys", fetch) or b"[]")
        return keys

    async def _read(self, key: str, part: slice | None) -> ts.KvStore.ReadResult | None:
        where = f"{self.source.name} ({key})"
        if part is not None and max(part.start, part.stop or 0) > LARGEST:
            raise TooShort(f"{where}: no file has bytes {part.start} to {part.stop}")
        try:
            found = await finished(self._store.read(key, byte_range=part))
        except FAILURES as error:
            if status_of(error) == "OUT_OF_RANGE":
                raise TooShort(f"{where}: is shorter than its own index says") from error
            raise translate_of(error, self.source, key) from error
        if found.state != "value":
            return None
        if part is not None and part.stop is not None and len(found.value) != part.stop - part.start:
            raise TooShort(f"{where}: has no bytes {part.start} to {part.stop}")
        return found


class StoredFile:
    """One object that is read in parts over a long time, and has to stay what it was when it was first read."""

    def __init__(self, objects: StoredObjects, key: str) -> None:
        self._objects = objects
        self._key = key
        self._generation: bytes | None = None
        """ETag, or time of change and place on disk, of the first part; empty where a web server tells none."""

    async def read_range(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` (exclusive).

        Raises:
            CorruptChunk: there are fewer.
            UpstreamUnavailable: the object is not there, or not the same any more.
            BackendError: as ``StoredObjects.read``.
        """
        return self._same(await self._objects._read(self._key, slice(start, stop)))

    async def read_ahead(self, start: int, stop: int) -> bytes:
        """As ``read_range``, but what there is where the object ends before ``stop``."""
        with contextlib.suppress(TooShort):  # TensorStore reads a range only if it is wholly there
            return await self.read_range(start, stop)
        try:
            return self._same(await self._objects._read(self._key, slice(start, None)))[: stop - start]
        except TooShort:
            return b""

    async def read_head(self, length: int) -> bytes | None:
        """The first bytes, ``length`` or as many as there are; None if there is no such object."""
        try:
            found = await self._objects._read(self._key, slice(0, length))
        except TooShort:
            found = await self._objects._read(self._key, None)
        return None if found is None else self._same(found)

    def _same(self, found: ts.KvStore.ReadResult | None) -> bytes:
        where = f"{self._objects.source.name} ({self._key})"
        if found is None:
            raise UpstreamUnavailable(f"{where}: the file is not there any more")
        generation = found.stamp.generation
        if self._generation not in (None, generation):
            raise UpstreamUnavailable(f"{where}: the file has changed since it was opened; reload the dataset")
        self._generation = generation
        return found.value


async def open_objects(source: Source, context: ts.Context) -> StoredObjects:
    """
    Raises:
        BackendError: the store cannot be opened.
    """
    try:
        store = await finished(ts.KvStore.open(source.kvstore, context=context))
        listed = await finished(ts.KvStore.open(source.origin, context=context))
    except FAILURES as error:
        raise translate(error, source.name) from error
    return StoredObjects(source, store, listed)
