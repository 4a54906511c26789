"""A folder beside a precomputed volume, of meshes, skeletons or properties: its files, and values in its shards."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from wkdvid.backends.opening import Opener
from wkdvid.backends.precomputed.sharding import Sharding
from wkdvid.backends.precomputed.stored import UNPACK
from wkdvid.backends.quoting import plain
from wkdvid.backends.stored_objects import StoredObjects, open_objects
from wkdvid.core.deadline import until
from wkdvid.core.source import Source
from wkdvid.errors import CorruptChunk, InvalidRequest, UpstreamUnavailable

Value = TypeVar("Value")


class Folder:
    """The files of a folder, within limits: of their bytes, and of the time that an answer takes."""

    def __init__(self, opener: Opener, source: Source, objects: StoredObjects) -> None:
        self.opener = opener
        self.source = source
        self._objects = objects

    def where(self, key: str) -> str:
        return f"{self.source.name} ({plain(key)})"

    async def read(self, key: str, limit: int) -> bytes | None:
        """A whole file, unpacked if it is a local one that says by its suffix how it is packed; None if there is none.

        Raises:
            CorruptChunk: it has more than ``limit`` bytes.
            BackendError: it cannot be read.
        """
        for suffix in ("", *UNPACK) if self.source.scheme == "file" else ("",):
            self._check_link(key + suffix)
            data = await self.opener.read_start(self.source, key + suffix, limit + 1)
            if data is not None:
                return await self._unpacked(key, suffix, data, limit)
        return None

    async def _unpacked(self, key: str, suffix: str, data: bytes, limit: int) -> bytes:
        try:
            unpacked = await asyncio.to_thread(UNPACK[suffix], data, limit) if suffix else data
        except Exception as error:
            raise CorruptChunk(f"{self.where(key)}: cannot be unpacked to at most {limit} bytes") from error
        if len(unpacked) > limit:
            raise CorruptChunk(f"{self.where(key)} has more than {limit} bytes")
        return unpacked

    async def read_part(self, key: str, part: range, limit: int) -> bytes | None:
        """Bytes of a file; None and errors as ``read``."""
        size = part.stop - part.start  # len() has no number for what an index may say
        if size > limit:
            raise CorruptChunk(f"{self.where(key)}: a part of it has {size} bytes, the limit is {limit}")
        self._check_link(key)
        return await self.within(self._objects.read_range(key, part.start, part.stop))

    async def find_in_shard(self, sharding: Sharding, segment: int, limit: int) -> tuple[str, range] | None:
        """The file and its bytes in which a segment's value is stored; None if there is none.

        Args:
            limit: Bytes of what is read for it.
        Raises:
            BackendError: it could not be judged whether there is one.
        """
        place = sharding.place(segment)
        where = self.where(place.file)
        entry = await self.read_part(place.file, place.index, limit)
        if entry is None:
            return None
        index = await self.read_there(place.file, sharding.minishard_index(entry, where), limit)
        value = await asyncio.to_thread(sharding.find, index, segment, limit, where)
        return None if value is None else (place.file, value)

    async def read_there(self, key: str, part: range, limit: int) -> bytes:
        """A part of a file that has to be there, by what was read before. It may be empty."""
        data = await self.read_part(key, part, limit) if part.stop > part.start else b""
        if data is None:
            raise UpstreamUnavailable(f"{self.where(key)}: this file is not there")
        return data

    async def segments(self, ending: str) -> Sequence[int]:
        """Ids in the names of files that end so, ascending. A web server lists no folder: none.

        Raises:
            BackendError: it cannot be listed.
        """
        if self.source.is_http:
            return ()
        names = await self.within(self._objects.keys())
        return await asyncio.to_thread(_segments, names, ending)

    async def within(self, reading: Awaitable[Value]) -> Value:
        deadline_s = self.opener.deadline_s
        try:
            async with until(deadline_s):
                return await reading
        except TimeoutError as error:
            raise UpstreamUnavailable(f"{self.source.name}: no answer within {deadline_s:g} s") from error

    def _check_link(self, key: str) -> None:
        if self.source.scheme == "file":
            try:
                self.opener.guard.local_path(self.source.path + key)
            except InvalidRequest:  # its text holds the path
                raise CorruptChunk(f"{self.where(key)} leads out of the directories that sources may name") from None


def _segments(names: Iterable[str], ending: str) -> Sequence[int]:
    packed = "|".join(map(re.escape, UNPACK))
    pattern = re.compile(f"(0|[1-9][0-9]{{0,19}}){re.escape(ending)}(?:{packed})?")
    found = (pattern.fullmatch(name) for name in names)
    return sorted({int(match[1]) for match in found if match and int(match[1]) < 1 << 64})


async def open_folder(opener: Opener, source: Source, key: str) -> Folder:
    """
    Raises:
        CorruptChunk: the key leads to where it may not.
        BackendError: the store cannot be opened.
    """
    try:
        folder = opener.guard.child(source, key)
    except InvalidRequest as error:
        raise CorruptChunk(f"{source.name}: {error}") from error
    return Folder(opener, folder, await open_objects(folder, opener.context))
