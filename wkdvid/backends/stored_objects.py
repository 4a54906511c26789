"""The objects below a source's folder, whole or in part, as bytes: what the readers of chunks read."""

from __future__ import annotations

import tensorstore as ts

from wkdvid.backends.failures import status_of, translate, translate_of
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.core.source import Source
from wkdvid.errors import CorruptChunk


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

    async def keys(self) -> list[str]:
        """Of all objects below the folder. No web server tells them.

        Raises:
            BackendError: they cannot be listed.
        """
        try:
            return [key.decode(errors="replace") for key in await finished(self._store.list())]
        except FAILURES as error:
            raise translate(error, self.source.name) from error

    async def _read(self, key: str, part: slice | None) -> bytes | None:
        try:
            found = await finished(self._store.read(key, byte_range=part))
        except FAILURES as error:
            if status_of(error) == "OUT_OF_RANGE":
                raise CorruptChunk(f"{self.source.name} ({key}): is shorter than its own index says") from error
            raise translate_of(error, self.source, key) from error
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
