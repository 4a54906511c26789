"""Which levels a layer lacks between what it stores and what can be seen as a whole, and from which each is made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wkdvid.core.geometry import Box, Float3, Vec3, divide_down, multiply, volume_of
from wkdvid.core.pyramid import SMALL_ENOUGH, Scale, plan_scale
from wkdvid.core.volume import LayerInfo, LevelInfo

CHUNK = 64
"""Side of the chunks of a level that is made."""
TASK_BYTES = 16 << 20
"""Decoded, of what one task makes at most. It is one shard: a shard is written whole."""
TASK_SOURCE_VOXELS = 512**3
"""That a task reads, if it makes more than one chunk."""


@dataclass(frozen=True, slots=True)
class MissingLevel:
    level: LevelInfo
    scale: Scale
    """How it is made; ``scale.level`` is an index into the stored and the missing levels together, by mag."""
    task_shape: Vec3
    """Of one task and shard, in voxels of the level."""


def missing_levels(info: LayerInfo) -> list[MissingLevel]:
    """The levels to be made, finest first.

    An image's level is made from the stored level that its computed mag comes from, so that what clients are sent
    stays the same to the bit: means of means would differ, at the edges by more than their rounding. What is too coarse
    for that, and labels, whose rule goes by halves, are made from the level before.
    """
    missing: list[MissingLevel] = []
    for mag in _missing_mags(info):
        known = sorted((*info.levels, *(one.level for one in missing)), key=lambda level: level.mag)
        scale = None if info.category == "segmentation" else _scale(info.levels, mag, known)
        scale = scale or _scale(known, mag, known)
        if scale is None:  # a step never doubles an axis more than once
            raise ValueError(f"mag {mag} cannot be made from {[level.mag for level in known]}")
        missing.append(_missing_level(info, scale))
    return missing


def _scale(sources: Sequence[LevelInfo], mag: Vec3, known: Sequence[LevelInfo]) -> Scale | None:
    scale = plan_scale(sources, mag)
    return None if scale is None else replace(scale, level=known.index(sources[scale.level]))


def _missing_mags(info: LayerInfo) -> list[Vec3]:
    """Steps between stored levels that are more than a factor of 2 apart, and from the last one until all is small."""
    mags: list[Vec3] = []
    for level, following in itertools.zip_longest(info.levels, info.levels[1:]):
        mag, extent = level.mag, level.extent
        while max(extent.size) > SMALL_ENOUGH and (following is None or not _is_near(mag, following.mag)):
            factors = next_factors(mag, info.voxel_size_nm, extent.size)
            mag, extent = multiply(mag, factors), extent.scaled_down(factors)
            if following is not None and any(a > b for a, b in zip(mag, following.mag, strict=True)):
                break
            mags.append(mag)
    return mags


def _is_near(mag: Vec3, coarser: Vec3) -> bool:
    return all(b <= 2 * a for a, b in zip(mag, coarser, strict=True))


def next_factors(mag: Vec3, voxel_size_nm: Float3, size: Vec3) -> Vec3:
    """Halve the axes whose voxels are shorter than the square root of 2 times the shortest: voxels become isotropic.

    Args:
        size: Voxels of the level. An axis that has one only, as z of a plane, does not hold the others up.
    """
    sides = [m * length for m, length in zip(mag, voxel_size_nm, strict=True)]
    shortest = min(side for side, voxels in zip(sides, size, strict=True) if voxels > 1)
    x, y, z = (2 if side < math.sqrt(2) * shortest else 1 for side in sides)
    return (x, y, z)


def _missing_level(info: LayerInfo, scale: Scale) -> MissingLevel:
    shape: Vec3 = (CHUNK, CHUNK, CHUNK)
    level = LevelInfo(
        mag=scale.mag,
        extent=scale.extent,
        chunk_shape=shape,
        chunk_origin=multiply(divide_down(scale.extent.start, shape), shape),
        encoding="zstd",
    )
    return MissingLevel(level, scale, _task_shape(info, scale))


def _task_shape(info: LayerInfo, scale: Scale) -> Vec3:
    side = CHUNK
    while (
        side < max(scale.extent.size)
        and (2 * side) ** 3 * info.voxel_bytes <= TASK_BYTES
        and (2 * side) ** 3 * volume_of(scale.factors) <= TASK_SOURCE_VOXELS
    ):
        side *= 2
    return (side, side, side)


def grid_box(level: LevelInfo) -> Box:
    """The level's extent, begun at a corner of its chunks: what is stored of it."""
    return Box(level.chunk_origin, level.extent.stop)
