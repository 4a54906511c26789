"""Chunks of precomputed volumes (volume.md of the format's description in Neuroglancer): voxels <-> bytes.

Voxels are (c, x, y, z). Encodings: ``raw``, ``jpeg`` (uint8; gray or RGB), ``png`` (uint8, uint16; likewise)
and ``compressed_segmentation`` (uint32, uint64; one channel).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkdvid.codecs import jpeg, segmentation
from wkdvid.codecs.images import SliceFormat, encode_slice
from wkdvid.codecs.sub_blocks import grid_of
from wkdvid.core.geometry import Vec3, volume_of

ENCODINGS = frozenset({"raw", "jpeg", "png", "compressed_segmentation"})
_PNG_BEGIN, _PNG_END = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"IEND\xaeB`\x82"
_CHANNEL_BEGIN = (1).to_bytes(4, "little")
_LARGEST_SIDE = 65_500
"""Of a JPEG, in pixels."""


def encode(voxels: NDArray[Any], encoding: str) -> bytes | memoryview:
    """
    Args:
        voxels: In Fortran order; of one channel ``raw`` is a view of them.
    """
    if encoding == "jpeg":
        return jpeg.encode_image(_pixels(voxels))
    if encoding == "png":
        return encode_slice(_pixels(voxels), SliceFormat("png"))
    if encoding == "compressed_segmentation":
        return segmentation.encode(voxels[0])
    return np.ascontiguousarray(voxels.transpose(0, 3, 2, 1)).data.cast("B")


def _pixels(voxels: NDArray[Any]) -> NDArray[Any]:
    """(height, width) of gray, (height, width, 3) of RGB: rows of voxels, several in one where they are too many."""
    channels, width, *others = voxels.shape
    height = others[0] * others[1]
    while height > _LARGEST_SIDE and height % 2 == 0:
        width, height = 2 * width, height // 2
    pixels = voxels.T.reshape(height, width, channels)
    return pixels if channels > 1 else pixels[..., 0]


def seems(data: bytes, encoding: str, shape: Vec3, *, channels: int, itemsize: int) -> bool:
    """Whether bytes begin and end as a chunk of this shape does; no more is looked at.

    Args:
        channels: 1 or 3.
        itemsize: Bytes of a voxel of one channel.
    """
    if encoding == "jpeg":
        return jpeg.is_block(data, shape, channels)
    if encoding == "png":
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        return data.startswith(_PNG_BEGIN) and data.endswith(_PNG_END) and width * height == volume_of(shape)
    if encoding == "compressed_segmentation":
        words = 1 + 2 * volume_of(grid_of(shape))
        return data.startswith(_CHANNEL_BEGIN) and len(data) % 4 == 0 and len(data) >= 4 * words
    return len(data) == volume_of(shape) * channels * itemsize
