"""Where a block lies in its file, and what its bytes are. Pure.

Blocks stand in Morton order. Raw ones have one size; of LZ4 ones a table right after the header tells where each ends
(N numbers of 8 bytes, little-endian); a block begins where the one before it ends, the first at the data offset.
"""

from __future__ import annotations

import lz4.block
import numpy as np

from wkdvid.backends.wkw.header import HEADER_BYTES, Grid, Header
from wkdvid.core.geometry import Vec3
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk

ENTRY_BYTES = 8
PAGE_ENTRIES = 512
"""Of a jump table, read at a time: those of 8 x 8 x 8 blocks, which the Morton order holds together."""
LARGEST_OFFSET = 2**63 - 1
"""In bytes: no store has more."""


def morton_index(block: Vec3) -> int:
    """The bits of x, y and z interleaved, x first."""
    index = 0
    for axis, at in enumerate(block):
        for bit in range(at.bit_length()):
            index |= (at >> bit & 1) << (3 * bit + axis)
    return index


def page_of(grid: Grid, index: int) -> tuple[int, int]:
    """The bytes, start to stop, of a file that hold the table's entries for a block and its neighbours.

    They begin one entry before those of the page: with the end of the block before it, or the header's data offset.
    """
    first = index - index % PAGE_ENTRIES
    count = min(PAGE_ENTRIES, grid.blocks - first)
    start = HEADER_BYTES + (first - 1) * ENTRY_BYTES
    return start, start + (count + 1) * ENTRY_BYTES


def block_range(header: Header, index: int, page: bytes, what: str) -> tuple[int, int]:
    """The bytes, start to stop, of a file that hold a block.

    Args:
        page: The bytes that ``page_of`` names; nothing for a raw file, which has no table.
    Raises:
        CorruptChunk: there can be no block. So nothing is read that would be larger than one can be.
    """
    size, first = header.grid.block_bytes, HEADER_BYTES
    if header.encoding == "raw":
        first += index * size
        start = header.data_offset + index * size
        stop = start + size
    else:
        first += header.grid.blocks * ENTRY_BYTES
        start, stop = (int(n) for n in np.frombuffer(page, "<u8", 2, index % PAGE_ENTRIES * ENTRY_BYTES))
        size += size // 255 + 16  # LZ4_compressBound
    if start < first or not start < stop <= min(start + size, LARGEST_OFFSET):
        raise CorruptChunk(f"{what}: the file's own index has it at bytes {start} to {stop}")
    return start, stop


def decode_block(header: Header, stored: bytes, what: str) -> Array:
    """The voxels (c, x, y, z) of a block, Fortran-contiguous.

    Raises:
        CorruptChunk: they are not as many as the header says.
        lz4.block.LZ4BlockError: the bytes cannot be unpacked, or to more voxels than that.
    """
    grid = header.grid
    if header.encoding != "raw":
        stored = lz4.block.decompress(stored, uncompressed_size=grid.block_bytes)
    if len(stored) != grid.block_bytes:
        raise CorruptChunk(f"{what}: has {len(stored)} bytes decoded, expected {grid.block_bytes}")
    side = grid.block_side
    return np.frombuffer(stored, grid.dtype).reshape((grid.num_channels, side, side, side), order="F")
