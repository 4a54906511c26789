"""A source's folder, as the cache reads it."""

from __future__ import annotations

import tensorstore as ts

from wkdvid.backends.disk_cache.place import Place
from wkdvid.backends.disk_cache.reads import PAGE_BYTES, Fetched
from wkdvid.backends.failures import status_of, translate_of
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.core.source import Source

STRONG = 0
"""The first byte of a TensorStore generation that names a version; the others say that there is none."""


class Folder:
    def __init__(self, place: Place, context: ts.Context) -> None:
        """
        Args:
            context: Not the readers' own: they wait for this folder, and may have begun all that theirs lets begin.
        """
        self.place = place
        self._context = context
        self._source: Source | None = None
        self._store: ts.KvStore | None = None

    def reopen(self, source: Source) -> None:
        """Read it with the headers that the source has now: tokens expire."""
        self._source, self._store = source, None

    @property
    def source(self) -> Source:
        if self._source is None:
            raise RuntimeError("a folder is read before it is opened")
        return self._source

    async def fetch_whole(self, key: str, part: slice | None, numbers: range, version: bytes) -> Fetched | None:
        """An object, or one open-ended part of it, as a single piece; otherwise as ``reads.Fetch``."""
        found = await self._read(key, part, version)
        if found is None:
            return Fetched({numbers.start: b""}, is_kept=False)
        if found.state == "unspecified":
            return None
        return Fetched({numbers.start: found.value if found.state == "value" else None}, _version(found))

    async def fetch_pages(self, key: str, numbers: range, version: bytes) -> Fetched | None:
        """Pages of an object, up to its end; otherwise as ``reads.Fetch``."""
        start = numbers.start * PAGE_BYTES
        found = await self._read(key, slice(start, numbers.stop * PAGE_BYTES), version)
        if found is None:  # it ends there, or before
            found = await self._read(key, slice(start, None), version)
        if found is None:
            return Fetched({numbers.start: b""}, is_kept=False)
        if found.state != "value":
            return None if found.state == "unspecified" else Fetched({numbers.start: None})
        whole = len(found.value) // PAGE_BYTES
        pages = {
            numbers.start + i: found.value[i * PAGE_BYTES : (i + 1) * PAGE_BYTES]
            for i in range(min(whole + 1, len(numbers)))
        }
        return Fetched(pages, _version(found))

    async def _read(self, key: str, part: slice | None, version: bytes) -> ts.KvStore.ReadResult | None:
        """None: the object does not reach that far.

        Raises:
            BackendError: it could not be judged whether it is there.
        """
        try:
            if self._store is None:
                self._store = await finished(ts.KvStore.open(self.source.origin, context=self._context))
            return await finished(self._store.read(key, byte_range=part, if_not_equal=version or None))
        except FAILURES as error:
            if part is not None and status_of(error) == "OUT_OF_RANGE":
                return None
            raise translate_of(error, self.source, key) from error


def _version(found: ts.KvStore.ReadResult) -> bytes:
    generation = found.stamp.generation
    return generation if generation[:1] == bytes([STRONG]) else b""
