"""Which resolutions a layer offers, stored or computed, and how computed voxels are made.

A *scale* is one resolution as a client may ask for it: a stored level as it is, or a level halved further on some axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import ONE, Box, Vec3, divide_down, multiply, volume_of
from wkdvid.core.volume import Array, Category, LevelInfo

MAX_FACTOR = 16
"""How far beyond the coarsest stored level a mag is computed, on each axis."""
SMALL_ENOUGH = 64
"""A pyramid ends at the first level that fits into a cube of this side."""

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Scale:
    """One offered resolution of one open layer."""

    mag: Vec3
    """Relative to the dataset's finest grid."""
    level: int
    """The stored level that its voxels come from."""
    factors: Vec3
    """Voxels of that level (x, y, z) that make one of this; (1, 1, 1) for a stored level."""
    extent: Box
    """In voxels of this scale."""
    id: int
    """Unique in the process and new at every opening: the part of a cache key that a reload changes."""

    @property
    def stored(self) -> bool:
        return self.factors == ONE


def plan_scale(levels: Sequence[LevelInfo], mag: Vec3) -> Scale | None:
    """The stored level of exactly this mag, else the coarsest one that halving turns into it; None if there is none."""
    best: tuple[int, Vec3] | None = None
    for i, level in enumerate(levels):
        factors = divide_down(mag, level.mag)
        if multiply(level.mag, factors) != mag or not all(_is_small_power_of_two(f) for f in factors):
            continue
        if best is None or volume_of(factors) < volume_of(best[1]):
            best = (i, factors)
    if best is None:
        return None
    return Scale(mag, best[0], best[1], levels[best[0]].extent.scaled_down(best[1]), next(_ids))


def _is_small_power_of_two(factor: int) -> bool:
    return 0 < factor <= MAX_FACTOR and factor & (factor - 1) == 0


def mag_scales(levels: Sequence[LevelInfo]) -> tuple[Scale, ...]:
    """What webKnossos is offered: the stored levels, then the coarsest one halved on until it is small."""
    stored = [scale for level in levels if (scale := plan_scale(levels, level.mag)) is not None]
    return (*stored[:-1], *_halvings(levels, stored[-1]))


def halved_scales(levels: Sequence[LevelInfo], at_least: int) -> tuple[Scale, ...]:
    """What DVID's clients take ``name_k`` and ``scale=k`` to be: the finest level halved k times on every axis.

    Args:
        at_least: How many to offer even if the volume is small (a labelmap needs two).
    """
    finest = plan_scale(levels, levels[0].mag)
    return () if finest is None else tuple(_halvings(levels, finest, at_least))


def _halvings(levels: Sequence[LevelInfo], first: Scale, at_least: int = 1) -> list[Scale]:
    """A scale and its halvings on every axis: until all fits into a small cube, and those beyond that are stored."""
    scales = [first]
    while True:
        last = scales[-1]
        following = plan_scale(levels, multiply(last.mag, (2, 2, 2)))
        needed = len(scales) < at_least or max(last.extent.size) > SMALL_ENOUGH
        if following is None or not (needed or following.stored):
            return scales
        scales.append(following)


def downsample(source: Array, origin: Vec3, factors: Vec3, extent: Box, category: Category) -> Array:
    """Make the voxels of a computed mag.

    Args:
        source: (c, x, y, z), whole blocks of ``factors``; what lies outside ``extent`` is ignored.
        origin: Of ``source``, in voxels of the stored level.
        factors: Powers of two.
        extent: Of the stored level.
    Returns:
        (c, x, y, z), Fortran-contiguous: the mean of an image's voxels inside the extent; for labels the most frequent
        one that is not 0, the smallest on a tie, 0 if all are 0, taken by halves (as DVID makes its lower scales).
    """
    if category == "segmentation":
        return _downsample_labels(source, factors)
    return _downsample_image(source, origin, factors, extent)


def _downsample_image(source: Array, origin: Vec3, factors: Vec3, extent: Box) -> Array:
    count = _counts(source, origin, factors, extent)
    if source.dtype.kind == "f":
        mean = _sum_blocks(source, factors, np.float64) / count
    elif source.dtype.itemsize < 8:
        # 16^3 voxels of 16 bits still fit into 32 bits, and half the memory is three times the speed.
        sums = _sum_blocks(source, factors, np.int32 if source.dtype.itemsize <= 2 else np.int64)
        mean = (sums + count // 2) // count
    else:
        mean = _mean_of_64_bits(source, factors, count)
    return np.asfortranarray(mean.astype(source.dtype))


def _mean_of_64_bits(source: Array, factors: Vec3, count: Array | int) -> Array:
    """Exact, by halves of 32 bits whose sums do not overflow."""
    high = _sum_blocks(source >> 32, factors, np.int64)
    low = _sum_blocks(source & 0xFFFFFFFF, factors, np.int64)
    whole, rest = np.divmod(high, count)
    mean: Array = (whole.astype(source.dtype) << 32) + (((rest << 32) + low + count // 2) // count).astype(source.dtype)
    return mean


def _sum_blocks(array: Array, factors: Vec3, dtype: npt.DTypeLike) -> Array:
    """Sums of blocks of ``factors`` voxels, one of them at least 2; no larger copy of the array is made before."""
    for axis, factor in enumerate(factors, 1):
        for _ in range(factor.bit_length() - 1):
            even, odd = _halves(array, axis)
            array = np.add(even, odd, dtype=dtype, casting="unsafe")
    return array


def _halves(array: Array, axis: int) -> tuple[Array, Array]:
    before = (slice(None),) * axis
    return array[(*before, slice(0, None, 2))], array[(*before, slice(1, None, 2))]


def _counts(source: Array, origin: Vec3, factors: Vec3, extent: Box) -> Array | int:
    """How many voxels inside the extent make each one: one number where it is the same for all, which is quicker."""
    inside = [_voxels_inside(origin[i], source.shape[i + 1], factors[i], extent, i) for i in range(3)]
    if all((n == factor).all() for n, factor in zip(inside, factors, strict=True)):
        return volume_of(factors)
    along = (n.reshape([-1 if axis == i else 1 for axis in range(4)]) for i, n in enumerate(inside, 1))
    counts: Array = np.maximum(reduce(np.multiply, along), 1)
    return counts


def _voxels_inside(origin: int, length: int, factor: int, extent: Box, axis: int) -> Array:
    """How many of the ``factor`` voxels along one axis lie inside the extent, for each voxel that is made."""
    starts = origin + np.arange(0, length, factor)
    low = np.maximum(starts, extent.start[axis])
    high = np.minimum(starts + factor, extent.stop[axis])
    inside: Array = np.maximum(high - low, 0)
    return inside


def _downsample_labels(labels: Array, factors: Vec3) -> Array:
    """Axes that have further to go come first, so that each scale is the halving of the one before it."""
    largest = max(factors)
    while largest > 1:
        candidates = [labels]
        for axis, factor in enumerate(factors, 1):
            if factor >= largest:
                candidates = [half for array in candidates for half in _halves(array, axis)]
        labels = _most_frequent(candidates)
        largest //= 2
    return np.asfortranarray(labels)


def _most_frequent(candidates: Sequence[Array]) -> Array:
    """Of each position's candidates the most frequent that is not 0, the smallest on a tie; 0 if all are 0."""
    result = np.array(candidates[0], order="F")
    mixed = np.zeros(result.shape, bool, order="F")
    for other in candidates[1:]:
        mixed |= other != result
    differing = np.sort(np.stack([c[mixed] for c in candidates]), axis=0)
    counts = np.zeros(differing.shape, np.uint8)
    for one in differing:
        counts += differing == one
    counts[differing == 0] = 0
    result[mixed] = np.take_along_axis(differing, counts.argmax(axis=0)[None], axis=0)[0]
    return result
