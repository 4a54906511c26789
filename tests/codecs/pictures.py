"""Volumes for the tests of the codecs. Arrays are (x, y, z), Fortran order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wkdvid.core.geometry import Vec3

Labels = NDArray[np.uint64]


def cells(shape: Vec3, seeds: int, *, seed: int = 0) -> Labels:
    """Each voxel has the 64-bit label of the nearest of so many random points, as bodies in a neuropil look."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, 1, (seeds, 3)) * shape
    names = random.integers(1, 2**63, seeds, dtype=np.uint64)
    axes = np.indices(shape, dtype=np.float32)
    nearest = np.zeros(shape, np.intp)
    least = np.full(shape, np.inf)
    for n, point in enumerate(points):
        distance = sum((axis - at) ** 2 for axis, at in zip(axes, point, strict=True))
        closer = distance < least
        nearest[closer], least[closer] = n, distance[closer]
    return np.asfortranarray(names[nearest])


def noise(shape: Vec3, labels: int, *, seed: int = 0) -> Labels:
    """Each voxel has one of so many labels at random."""
    random = np.random.default_rng(seed)
    return np.asfortranarray(random.integers(0, labels, shape, dtype=np.uint64))


def gray(shape: Vec3) -> NDArray[np.uint8]:
    """A smooth picture, which JPEG keeps well."""
    x, y, z = np.indices(shape)
    return np.asfortranarray(128 + 90 * np.sin(x / 9) * np.cos(y / 7) + z % 16).astype(np.uint8)
