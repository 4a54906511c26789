"""From voxel sizes to mags."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from wkdvid.core.geometry import Float3, Vec3, ceil_div
from wkdvid.errors import InvalidRequest

TOLERANCE = 0.02
"""Relative: sources round their nanometres, and write 4.0000001."""


def level_mags(voxel_sizes: Sequence[Float3], what: str) -> list[Vec3]:
    """Downsampling factors (x, y, z) of each level relative to the first.

    Args:
        voxel_sizes: Finest first, all in one unit.
    Raises:
        InvalidRequest: a size that is no whole multiple of the first, two levels of one size, or a level that is
            finer on some axis than the one before it.
    """
    finest = voxel_sizes[0]
    mags: list[Vec3] = []
    for i, size in enumerate(voxel_sizes):
        factors = [a / b for a, b in zip(size, finest, strict=True)]
        whole = [round(f) for f in factors]
        if any(w < 1 or abs(f - w) > TOLERANCE * w for f, w in zip(factors, whole, strict=True)):
            raise InvalidRequest(f"{what}: level {i} has voxels of {size}, no whole multiple of the finest, {finest}")
        mag = (whole[0], whole[1], whole[2])
        if mag in mags:
            raise InvalidRequest(f"{what}: level {i} has the voxel size of another level, {size}")
        if mags and any(a < b for a, b in zip(mag, mags[-1], strict=True)):
            raise InvalidRequest(f"{what}: level {i}, of mag {mag}, is finer on some axis than the one before it")
        mags.append(mag)
    return mags


def mags_of_shapes(shapes: Sequence[Vec3], what: str) -> list[Vec3]:
    """Mags where only the sizes of the levels are known: each is its predecessor divided by whole factors.

    Args:
        shapes: Voxels (x, y, z) of each level, finest first.
    Raises:
        InvalidRequest: a size that is no whole division, rounded up or down, of the one before.
    """
    mags: list[Vec3] = [(1, 1, 1)]
    for i, (fine, coarse) in enumerate(itertools.pairwise(shapes), 1):
        factors = [max(1, round(a / b)) for a, b in zip(fine, coarse, strict=True)]
        if any(b not in (a // f, ceil_div(a, f)) for a, b, f in zip(fine, coarse, factors, strict=True)):
            raise InvalidRequest(f"{what}: level {i} has {coarse} voxels, no whole division of the {fine} before it")
        x, y, z = mags[-1]
        mags.append((x * factors[0], y * factors[1], z * factors[2]))
    return mags
