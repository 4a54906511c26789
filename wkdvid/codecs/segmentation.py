"""Neuroglancer's ``compressed_segmentation`` of one channel of labels, in blocks of 8 x 8 x 8.

Format: https://github.com/google/neuroglancer/tree/master/src/sliceview/compressed_segmentation. All words are uint32,
little-endian. After one word that says where the channel begins come two words a block, {table offset (24 bits), width
(8 bits)} and {values offset}, then values (512 of ``width`` bits, from the lowest bit of a word up) and tables of
labels (uint32 or uint64; decoded here are uint64 alone). Offsets count words from the beginning of the channel; blocks
with equal tables may share one.

The PyPI package encodes and decodes. Its decoder follows any offset, out of the buffer and into a crash, so all offsets
and values are checked before.
"""

from __future__ import annotations

from dataclasses import dataclass

import compressed_segmentation
import numpy as np
from numpy.typing import NDArray

from wkdvid.codecs.payload import Buffer
from wkdvid.codecs.sub_blocks import SIDE, VOXELS, Ints, Labels, grid_of
from wkdvid.core.geometry import Vec3, volume_of
from wkdvid.errors import CorruptChunk, UnsupportedRequest

WIDTHS = (0, 1, 2, 4, 8, 16, 32)
"""Bits that a value may have."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """What an encoded channel says of its blocks, x fastest."""

    words: NDArray[np.uint32]
    """The channel."""
    width: Ints
    """Bits of each value of a block."""
    table: Ints
    """Where a block's labels begin, in words."""
    values: Ints
    """Where a block's values begin, in words."""

    def value_words(self, chosen: Ints, width: int) -> NDArray[np.uint32]:
        """Packed values (len(chosen), 16 * width) of blocks that all have this width."""
        words: NDArray[np.uint32] = self.words[self.values[chosen, None] + np.arange(VOXELS * width // 32)]
        return words

    def labels(self, position: Ints) -> Labels:
        """The label at each position, which counts words."""
        low, high = self.words[position], self.words[position + 1]
        return low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))


def encode(labels: Labels | NDArray[np.uint32]) -> bytes:
    """Encode an array (x, y, z) of any size; Fortran order and writable is the fast case, as the package needs both.

    Raises:
        UnsupportedRequest: the labels differ so much that the format's 24-bit offsets do not reach (over 64 MiB).
    """
    try:
        encoded: bytes = compressed_segmentation.compress(
            np.require(labels, labels.dtype, ("F", "W")), block_size=(SIDE, SIDE, SIDE), order="F"
        )
    except OverflowError:
        raise UnsupportedRequest(
            f"compressed_segmentation: {labels.shape} labels need more than its 64 MiB; ask for a smaller box"
        ) from None
    return encoded


def decode(data: Buffer, shape: Vec3) -> Labels:
    """Decode to an array (x, y, z) of ``shape``, Fortran order.

    Raises:
        CorruptChunk: the data is cut short, or an offset or a value points out of it.
    """
    _check_values(read_blocks(data, volume_of(grid_of(shape))))
    labels: Labels = compressed_segmentation.decompress(
        bytes(data), shape, np.uint64, block_size=(SIDE, SIDE, SIDE), order="F"
    )
    return labels


def read_blocks(data: Buffer, count: int) -> Blocks:
    """Read the headers of ``count`` blocks and check all that they say but for the values.

    Raises:
        CorruptChunk: as in ``decode``.
    """
    channel = _channel(data)
    if channel.size < 2 * count:
        raise CorruptChunk(f"compressed_segmentation: {channel.size} words cannot hold the headers of {count} blocks")
    header = channel[: 2 * count].reshape(count, 2).astype(np.intp)
    blocks = Blocks(channel, header[:, 0] >> 24, header[:, 0] & 0xFFFFFF, header[:, 1])
    if not np.isin(blocks.width, WIDTHS).all():
        raise CorruptChunk(f"compressed_segmentation: a value has {blocks.width.max()} bits; allowed are {WIDTHS}")
    if (blocks.values + VOXELS * blocks.width // 32 > channel.size).any():
        raise CorruptChunk("compressed_segmentation: values lie past the end")
    return blocks


def _channel(data: Buffer) -> NDArray[np.uint32]:
    if len(data) % 4 or not len(data):
        raise CorruptChunk(f"compressed_segmentation: {len(data)} bytes are not a number of 4-byte words")
    words = np.frombuffer(data, "<u4")
    if words[0] != 1:
        raise CorruptChunk(f"compressed_segmentation: begins at word {words[0]}; a single channel begins at word 1")
    return words[1:]


def _check_values(blocks: Blocks) -> None:
    for width in np.unique(blocks.width):
        chosen = np.flatnonzero(blocks.width == width)
        last = blocks.table[chosen] + 2 * _largest_values(blocks, chosen, int(width)) + 1
        if (last >= blocks.words.size).any():
            raise CorruptChunk("compressed_segmentation: a value points past the end of the labels")


def _largest_values(blocks: Blocks, chosen: Ints, width: int) -> Ints:
    if width == 0:
        return np.zeros(len(chosen), np.intp)
    shifts = np.arange(0, 32, width, dtype=np.uint32)
    values = blocks.value_words(chosen, width)[:, :, None] >> shifts & np.uint32(2**width - 1)
    largest: Ints = values.max(axis=(1, 2)).astype(np.intp)
    return largest
