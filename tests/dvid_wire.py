"""What DVID's clients make of the bodies that they get, read from the formats' descriptions: nothing of ours is used.

Arrays are (z, y, x), as these clients have them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from io import BytesIO

import numpy as np
from PIL import Image

from tests.volumes import Voxels

BLOCK = 64
Corner = tuple[int, int, int]
"""(z, y, x)."""


def records(body: bytes) -> Iterator[tuple[Corner, bytes]]:
    """The blocks of a stream (dvid.md A5): index, payload."""
    at = 0
    while at < len(body):
        x, y, z, length = struct.unpack_from("<4i", body, at)
        at += 16
        payload = body[at : at + length]
        assert len(payload) == length > 0
        yield (z, y, x), payload
        at += length


def label_block(data: bytes) -> Voxels:
    """DVID's compressed label block (dvid.md A7)."""
    across_x, across_y, across_z, labels = struct.unpack_from("<4I", data)
    table, at = np.frombuffer(data, "<u8", labels, 16), 16 + 8 * labels
    shape = (8 * across_z, 8 * across_y, 8 * across_x)
    if labels == 1:
        assert at == len(data)
        return np.full(shape, table[0])
    used = np.frombuffer(data, "<u2", across_x * across_y * across_z, at).astype(int)
    indices = np.frombuffer(data, "<u4", used.sum(), at + 2 * len(used))
    packed = np.frombuffer(data, np.uint8, offset=at + 2 * len(used) + 4 * len(indices))
    bits = np.ceil(np.log2(np.maximum(used, 1))).astype(int)
    lists, runs = np.cumsum(used) - used, np.cumsum(64 * bits) - 64 * bits
    assert len(packed) == 64 * bits.sum()
    sub_blocks = np.zeros((len(used), 512), np.uint64)
    for n in np.unique(bits[used > 0]):
        these = np.flatnonzero((bits == n) & (used > 0))
        unpacked = np.unpackbits(packed[runs[these, None] + np.arange(64 * n)], axis=1)
        values = unpacked.reshape(len(these), 512, n) @ (1 << np.arange(n)[::-1])  # the highest bit comes first
        sub_blocks[these] = table[indices[lists[these, None] + values]]
    placed = sub_blocks.reshape(across_z, across_y, across_x, 8, 8, 8).transpose(0, 3, 1, 4, 2, 5)
    return placed.reshape(shape)


def jpeg_block(data: bytes) -> Voxels:
    """A block as one tall gray picture."""
    image = Image.open(BytesIO(data))
    assert (image.format, image.mode, image.width * image.height) == ("JPEG", "L", BLOCK**3)
    return np.asarray(image).reshape(BLOCK, BLOCK, BLOCK)


def pasted(blocks: Mapping[Corner, Voxels], start: Corner, stop: Corner, dtype: type[np.generic]) -> Voxels:
    """A box that ends on borders of blocks, zeros where there is no block; no block may lie outside."""
    first = [a // BLOCK for a in start]
    out = np.zeros([b - a for a, b in zip(start, stop, strict=True)], dtype)
    for index, block in blocks.items():
        corner = [BLOCK * (i - f) for i, f in zip(index, first, strict=True)]
        assert all(0 <= c < n for c, n in zip(corner, out.shape, strict=True))
        out[tuple(slice(c, c + BLOCK) for c in corner)] = block
    return out
