"""DVID's compressed label block, the payload of ``compression=blocks`` before gzip.

Format: DVID's ``datatype/common/labels/compressed.go``. Everything is little-endian; sub-blocks of 8 x 8 x 8 voxels,
and the voxels in them, have x fastest:

    uint32 gx, gy, gz        sub-blocks on each axis
    uint32 N, uint64[N]      the labels of the block; a solid block (N = 1) ends here
    uint16[gx * gy * gz]     how many labels each sub-block uses (0: all its voxels are label 0)
    uint32[...]              which ones, sub-block after sub-block
    bytes                    for each sub-block of n >= 2 labels 512 values of ceil(log2(n)) bits, highest bit first
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkdvid.codecs import segmentation
from wkdvid.codecs.payload import Buffer
from wkdvid.codecs.sub_blocks import SIDE, VOXELS, Ints, Labels, assemble, grid_of
from wkdvid.core.geometry import Vec3, volume_of
from wkdvid.errors import CorruptChunk

_LINE = VOXELS // 8
"""Bytes of a sub-block's values for each of their bits."""
_BITS: Ints = np.array([max(n - 1, 0).bit_length() for n in range(VOXELS + 1)], np.intp)
"""Bits of a value in a sub-block, by the number of its labels."""
_PIECE_VOXELS = 2**22
"""Voxels whose ``compressed_segmentation`` fits its 24-bit offsets even if no two are equal (2.5 words each)."""


def encode(block: Labels) -> bytes:
    """Encode a block (x, y, z), fastest in Fortran order.

    Made from ``compressed_segmentation``, whose C++ encoder does the expensive part: the labels of each sub-block.

    Raises:
        ValueError: a side is not a multiple of 8 from 16 to 1024.
    """
    sx, sy, sz = block.shape
    grid = grid_of((sx, sy, sz))
    if any(side % SIDE or not 16 <= side <= 1024 for side in block.shape):
        raise ValueError(f"label block: each side of {block.shape} must be a multiple of 8 from 16 to 1024")
    flat = block.reshape(-1, order="F")
    if flat[0] == flat[-1] and (flat == flat[0]).all():
        return struct.pack("<4IQ", *grid, 1, int(flat[0]))
    counts, used, values = map(np.concatenate, zip(*map(_encode_piece, _pieces(block)), strict=True))
    labels, index = np.unique(used, return_inverse=True)
    head = struct.pack("<4I", *grid, labels.size)
    tables = (labels.astype("<u8"), counts.astype("<u2"), index.astype("<u4"), values)
    return b"".join((head, *(table.tobytes() for table in tables)))


def _pieces(block: Labels) -> Iterator[Labels]:
    """Cut a large block in the order of its sub-blocks; 64 x 64 x 64 is one piece."""
    if block.size <= _PIECE_VOXELS:
        yield block
        return
    rows = _PIECE_VOXELS // (block.shape[0] * SIDE**2) * SIDE
    for z in range(0, block.shape[2], SIDE):
        for y in range(0, block.shape[1], rows):
            yield block[:, y : y + rows, z : z + SIDE]


def _encode_piece(piece: Labels) -> tuple[Ints, Labels, NDArray[np.uint8]]:
    """The number of labels of each sub-block, those labels, and the values as DVID packs them."""
    sx, sy, sz = piece.shape
    blocks = segmentation.read_blocks(segmentation.encode(piece), volume_of(grid_of((sx, sy, sz))))
    counts = _table_lengths(blocks)
    position = np.repeat(blocks.table - 2 * _starts(counts), counts) + 2 * np.arange(counts.sum())
    bits = _BITS[counts]
    lines = np.empty((bits.sum(), _LINE), np.uint8)
    for n in _widths(bits):
        chosen = np.flatnonzero(bits == n)
        lines[_starts(bits)[chosen, None] + np.arange(n)] = _packed(blocks, chosen, n)
    return counts, blocks.labels(position), lines.reshape(-1)


def _table_lengths(blocks: segmentation.Blocks) -> Ints:
    """Labels in each sub-block's table.

    The package writes a sub-block's values and then its table, unless an equal one was written before. So values are in
    the order of the sub-blocks, and a table ends where the next values begin.
    """
    boundaries = np.append(blocks.values, blocks.words.size)
    ends = boundaries[np.searchsorted(boundaries, blocks.table, side="right")]
    lengths: Ints = (ends - blocks.table) // 2
    return lengths


def _packed(blocks: segmentation.Blocks, chosen: Ints, bits: int) -> NDArray[np.uint8]:
    """Values (len(chosen), bits, 64) of sub-blocks whose values need ``bits`` bits, taken from wider ones."""
    width = int(blocks.width[chosen[0]])
    lowest_first = np.unpackbits(blocks.value_words(chosen, width).view(np.uint8), axis=1, bitorder="little")
    highest_first = lowest_first.reshape(-1, VOXELS, width)[:, :, bits - 1 :: -1]
    return np.packbits(highest_first.reshape(len(chosen), -1), axis=1).reshape(-1, bits, _LINE)


def decode(data: Buffer, shape: Vec3 | None = None) -> Labels:
    """Decode to an array (x, y, z), Fortran order.

    ``shape`` is what the block must have, in voxels. Give it for data from outside: 24 bytes may claim 8 GiB.

    Raises:
        CorruptChunk: not a whole label block, bytes are left over, an index is out of its range, or not of ``shape``.
    """
    reader = _Reader(data)
    gx, gy, gz, count = (int(word) for word in reader.take("<u4", 4))
    size = (gx * SIDE, gy * SIDE, gz * SIDE)
    if any(not 16 <= side <= 1024 for side in size) or (shape is not None and size != shape):
        raise CorruptChunk(f"label block: has {size} voxels, expected {shape or 'sides from 16 to 1024'}")
    if count == 0:
        raise CorruptChunk("label block: has no label")
    labels: Labels = reader.take("<u8", count)
    if count == 1:
        reader.finish()
        return np.full(size, labels[0], np.uint64, order="F")
    return assemble(_decode_sub_blocks(reader, labels, gx * gy * gz), (gx, gy, gz))


def _decode_sub_blocks(reader: _Reader, labels: Labels, sub_blocks: int) -> Labels:
    """All voxels, a sub-block a row (sub_blocks, 512)."""
    counts = reader.take("<u2", sub_blocks).astype(np.intp)
    _check_below(counts, VOXELS + 1, "the number of labels of a sub-block")
    index = reader.take("<u4", counts.sum())
    _check_below(index, labels.size, "the index of a label")
    bits = _BITS[counts]
    lines = reader.take("u1", bits.sum() * _LINE).reshape(-1, _LINE)
    reader.finish()
    used = labels[index]
    decoded = np.zeros((sub_blocks, VOXELS), np.uint64)
    solid = np.flatnonzero(counts == 1)
    decoded[solid] = used[_starts(counts)[solid], None]
    for n in _widths(bits):
        chosen = np.flatnonzero(bits == n)
        values = _unpacked(lines[_starts(bits)[chosen, None] + np.arange(n)])
        _check_below(values, counts[chosen, None], "a value")
        decoded[chosen] = used[_starts(counts)[chosen, None] + values]
    return decoded


def _unpacked(lines: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Values (n, 512) from lines (n, bits, 64)."""
    sub_blocks, width, _ = lines.shape
    bits = np.unpackbits(lines.reshape(sub_blocks, -1), axis=1).reshape(sub_blocks, VOXELS, width)
    values = bits[:, :, 0].astype(np.uint16)
    for n in range(1, width):
        values <<= 1
        values |= bits[:, :, n]
    return values


def _widths(bits: Ints) -> Iterator[int]:
    """The different numbers of bits, but for sub-blocks without values."""
    return (int(n) for n in np.flatnonzero(np.bincount(bits)) if n)


def _starts(lengths: Ints) -> Ints:
    """Where each of consecutive runs begins."""
    ends: Ints = np.cumsum(lengths)
    return ends - lengths


def _check_below(numbers: NDArray[Any], limit: int | Ints, what: str) -> None:
    if (numbers >= limit).any():
        raise CorruptChunk(f"label block: {what} is out of range ({numbers.max()}, allowed below {np.max(limit)})")


class _Reader:
    """Takes arrays off a buffer, one after the other."""

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data)
        self._at = 0

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        size = int(count) * np.dtype(dtype).itemsize
        if self._at + size > len(self._data):
            raise CorruptChunk(f"label block: cut at byte {len(self._data)}, {size} expected from byte {self._at}")
        taken = np.frombuffer(self._data[self._at : self._at + size], dtype)
        self._at += size
        return taken

    def finish(self) -> None:
        if self._at != len(self._data):
            raise CorruptChunk(f"label block: {len(self._data) - self._at} bytes are left over")
