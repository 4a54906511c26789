"""Reads the blocks of one level out of its files, never more of a file than the block needs."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TypeAlias

from cachebox import LRUCache

from wkdvid.backends.chunk_functions import decoded
from wkdvid.backends.stored_objects import StoredObjects
from wkdvid.backends.wkw.blocks import ENTRY_BYTES, PAGE_ENTRIES, block_range, decode_block, morton_index, page_of
from wkdvid.backends.wkw.header import HEADER_BYTES, Grid, parse_header
from wkdvid.core.concurrent import begin_shared
from wkdvid.core.geometry import Box, divide_down
from wkdvid.core.limits import MIB
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk, UpstreamUnavailable

KEPT_BYTES = MIB
"""Of a layer's headers and jump tables: the tables of a view 3000 voxels wide and high, in blocks of 32."""
LARGEST_KEPT = (PAGE_ENTRIES + 1) * ENTRY_BYTES + 2048
"""Bytes of a page with its task and keys, measured on CPython 3.11 and rounded up."""

Part: TypeAlias = tuple[StoredObjects, str, int]
"""An object by its key, and where the part begins."""


class KeptParts:
    """The parts of a layer's files that many blocks need. Who asks while one is being read waits for that read."""

    def __init__(self, deadline_s: float) -> None:
        """
        Args:
            deadline_s: For one part, whose readers may be gone.
        """
        self._deadline_s = deadline_s
        self._reads: LRUCache[Part, asyncio.Task[bytes | None]] = LRUCache(KEPT_BYTES // LARGEST_KEPT)

    async def read(self, objects: StoredObjects, key: str, start: int, stop: int) -> bytes | None:
        """As ``StoredObjects.read_range``. What failed is not kept."""
        part = (objects, key, start)
        read: asyncio.Task[bytes | None] | None = self._reads.get(part)
        if read is None:
            read = begin_shared(self._read(part, stop), f"read {key}")
            self._reads[part] = read
        return await asyncio.shield(read)

    def forget(self, objects: StoredObjects, key: str, *starts: int) -> None:
        for start in starts:
            self._reads.pop((objects, key, start), None)

    async def _read(self, part: Part, stop: int) -> bytes | None:
        objects, key, start = part
        try:
            async with asyncio.timeout(self._deadline_s):
                return await objects.read_range(key, start, stop)
        except BaseException as error:
            self._reads.pop(part, None)
            if isinstance(error, TimeoutError):
                where = f"{objects.source.name} ({key})"
                raise UpstreamUnavailable(f"{where}: no answer within {self._deadline_s:g} s") from error
            raise


class LevelFiles:
    """Blocks of a level. What is wrong with one, or with its file, is no matter of the others."""

    def __init__(self, objects: StoredObjects, grid: Grid, kept: KeptParts) -> None:
        """
        Args:
            objects: Those of the mag's folder.
            grid: As its ``header.wkw`` has it.
        """
        self._objects = objects
        self._grid = grid
        self._kept = kept

    async def read_chunk(self, box: Box) -> Array | None:
        """The voxels (c, x, y, z) of a box that lies in one block, or None if there is no such file.

        Raises:
            BackendError: they cannot be read.
        """
        side, blocks = self._grid.block_side, self._grid.file_side
        x, y, z = block = divide_down(box.start, (side, side, side))
        index = morton_index((x % blocks, y % blocks, z % blocks))
        voxels = await self._read_block(f"z{z // blocks}/y{y // blocks}/x{x // blocks}.wkw", index)
        if voxels is None:
            return None
        within = [slice(a - o * side, b - o * side) for a, b, o in zip(box.start, box.stop, block, strict=True)]
        return voxels[:, within[0], within[1], within[2]]

    async def _read_block(self, key: str, index: int) -> Array | None:
        page = page_of(self._grid, index)
        try:
            return await self._read_indexed(key, index, page)
        except CorruptChunk:
            # What is kept may be to blame: the file was replaced since, or something else was sent in its stead.
            self._kept.forget(self._objects, key, 0, page[0])
            raise

    async def _read_indexed(self, key: str, index: int, page: tuple[int, int]) -> Array | None:
        what = f"{self._objects.source.name} ({key}), block {index}"
        head = await self._kept.read(self._objects, key, 0, HEADER_BYTES)
        if head is None:
            return None
        header = parse_header(head, what)
        if header.grid != self._grid:
            raise CorruptChunk(f"{what}: the file has {header.grid}, its level {self._grid}")
        table = b"" if header.encoding == "raw" else await self._kept.read(self._objects, key, *page)
        if table is None:
            return None  # the file has gone since
        stored = await self._objects.read_range(key, *block_range(header, index, table, what))
        if stored is None:
            return None
        decode = partial(decode_block, header, stored, what)
        return decode() if header.encoding == "raw" else await decoded(decode, what, header.grid.block_bytes)
