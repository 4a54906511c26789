"""Cutouts: which boxes are asked for, by which path, and what their bytes are."""

from __future__ import annotations

from typing import Any

import blosc
import numpy as np

from wkdvid.core.geometry import Box, Vec3, ceil_div, volume_of
from wkdvid.core.limits import MIB
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk

LARGEST_CUTOUT_BYTES = 64 * MIB
"""Of voxels. The server takes more, but one that fails half-way is to be asked for again."""
FRAME_OVERHEAD = 16
"""Bytes that a blosc frame may have beyond those of its voxels (BLOSC_MAX_OVERHEAD)."""


def chunk_shape(cuboid: Vec3, itemsize: int, limit: int) -> Vec3:
    """What is asked for at a time: a cuboid, halved until its voxels fit into ``limit`` bytes."""
    limit = min(limit, LARGEST_CUTOUT_BYTES)
    sides = list(cuboid)
    while sides[0] * sides[1] * sides[2] * itemsize > limit:
        longest = max(range(3), key=lambda axis: (sides[axis], axis))
        sides[longest] = ceil_div(sides[longest], 2)
    return (sides[0], sides[1], sides[2])


def cutout_path(channel: str, resolution: int, box: Box, time: int | None) -> str:
    """Path of a cutout below ``/v1/``.

    Args:
        channel: ``collection/experiment/channel``.
        time: The time sample; None where the channel has one only.
    """
    ranges = "/".join(f"{start}:{stop}" for start, stop in zip(box.start, box.stop, strict=True))
    sample = "" if time is None else f"{time}:{time + 1}/"
    return f"cutout/{channel}/{resolution}/{ranges}/{sample}"


def frame_limit(size: Vec3, itemsize: int) -> int:
    """Bytes that a blosc frame of so many voxels has at most."""
    return volume_of(size) * itemsize + FRAME_OVERHEAD


def decode_frame(frame: bytes, dtype: np.dtype[Any], size: Vec3, what: str) -> Array:
    """Voxels (1, x, y, z) of a blosc 1 frame of C-ordered (z, y, x) voxels, little-endian.

    The server writes the bits of a voxel where blosc has its bytes, so the type size in the header means nothing.

    Raises:
        CorruptChunk: no frame, or one of another number of bytes; nothing is decompressed then.
    """
    expected = volume_of(size) * dtype.itemsize
    if not blosc.cbuffer_validate(frame):
        raise CorruptChunk(f"{what}: no blosc frame, or a part of one")
    declared, *_ = blosc.get_cbuffer_sizes(frame)
    if declared != expected:
        raise CorruptChunk(f"{what}: a blosc frame of {declared} bytes, expected {expected}")
    blosc.set_releasegil(True)  # of the whole process; else the event loop would stand still meanwhile
    voxels = np.frombuffer(blosc.decompress(frame), dtype)
    return voxels.reshape(size[::-1]).T[np.newaxis]
