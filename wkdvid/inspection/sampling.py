"""Looks at some chunks of each level: whether they can be read, and whether there is anything in them."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorstore as ts

from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.core.geometry import Box, Vec3, divide_down, divide_up, multiply, volume_of
from wkdvid.core.limits import MIB
from wkdvid.core.volume import Array, LayerInfo, LevelInfo, Volume, has_data
from wkdvid.errors import BackendError

CHUNKS = 8
"""Looked at in each level, and fewer where they are large."""
LEVEL_BYTES = 32 * MIB
"""Decoded, held at a time; but for the one chunk that is always looked at."""
STEPS = (0.8191725134, 0.6710436067, 0.5497004779)
"""Per axis, of the R3 sequence (M. Roberts, 2018): however many points are taken, they are spread evenly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSample:
    chunks: int
    """That the level has."""
    looked_at: int
    """Of them; 0 where the time did not suffice."""
    absent: int | None
    """Never written; None where the format does not tell those from written ones, which ``blank`` then counts."""
    blank: int
    """Written, but with nothing but zeros, or the fill value."""
    failures: tuple[BackendError, ...]
    """Of those that could not be read."""

    @property
    def with_data(self) -> int:
        return self.looked_at - (self.absent or 0) - self.blank - len(self.failures)


async def sample_levels(volume: Volume, context: ts.Context, time_s: float) -> Sequence[LevelSample]:
    """A sample of each level, finest first.

    Args:
        context: By which the volume was opened.
        time_s: For all levels together.
    """
    end = asyncio.get_running_loop().time() + time_s
    return [await _sample(volume, i, context, end) for i in range(len(volume.info.levels))]


async def _sample(volume: Volume, i: int, context: ts.Context, end: float) -> LevelSample:
    level = volume.info.levels[i]
    boxes = sample_boxes(level, volume.info.voxel_bytes)
    try:
        async with asyncio.timeout_at(end):
            found = await volume.read_all(i, boxes)
            blank = [box for box, one in zip(boxes, found, strict=True) if _is_blank(one, volume.info)]
            absent = await _count_absent(volume, i, blank, context)
    except TimeoutError:
        return LevelSample(chunks=_count(level), looked_at=0, absent=None, blank=0, failures=())
    return LevelSample(
        chunks=_count(level),
        looked_at=len(boxes),
        absent=absent,
        blank=len(blank) - (absent or 0),
        failures=tuple(one for one in found if isinstance(one, BackendError)),
    )


def sample_boxes(level: LevelInfo, voxel_bytes: int) -> Sequence[Box]:
    """Chunks that stand for a level, the middle one first; cut at the extent. All of them where they are few."""
    first, counts = _grid(level)
    most = max(1, min(CHUNKS, LEVEL_BYTES // (volume_of(level.chunk_shape) * voxel_bytes)))
    if volume_of(counts) <= most:
        indices: Sequence[Vec3] = [(x, y, z) for x, y, z in itertools.product(*map(range, counts))]
    else:
        indices = list(dict.fromkeys(_spread(k, counts) for k in range(most)))
    boxes = [_chunk(level, (first[0] + x, first[1] + y, first[2] + z)) for x, y, z in indices]
    return [box for box in boxes if box is not None]


def _grid(level: LevelInfo) -> tuple[Vec3, Vec3]:
    """Index of the first chunk of the extent, and how many there are on each axis."""
    shape, origin = level.chunk_shape, level.chunk_origin
    low = divide_down(_minus(level.extent.start, origin), shape)
    return low, _minus(divide_up(_minus(level.extent.stop, origin), shape), low)


def _count(level: LevelInfo) -> int:
    return volume_of(_grid(level)[1])


def _spread(k: int, counts: Vec3) -> Vec3:
    x, y, z = (int((0.5 + k * step) % 1 * count) for step, count in zip(STEPS, counts, strict=True))
    return (x, y, z)


def _chunk(level: LevelInfo, index: Vec3) -> Box | None:
    x, y, z = multiply(index, level.chunk_shape)
    a, b, c = level.chunk_origin
    return Box.at((a + x, b + y, c + z), level.chunk_shape).intersect(level.extent)


def _minus(a: Vec3, b: Vec3) -> Vec3:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _is_blank(found: Array | BackendError, info: LayerInfo) -> bool:
    if isinstance(found, BackendError):
        return False
    fill = info.fill_value
    return not has_data(found) or bool((np.isnan(found) if math.isnan(fill) else found == fill).all())


async def _count_absent(volume: Volume, level: int, blank: Sequence[Box], context: ts.Context) -> int | None:
    """How many of the chunks that look empty are not there; None if the format does not tell."""
    if not blank:
        return 0
    told = await volume.absent(level, blank, context) if isinstance(volume, TensorStoreVolume) else None
    return None if told is None else sum(told)
