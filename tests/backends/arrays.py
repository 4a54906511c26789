"""Voxels to write: (c, x, y, z) in Fortran order, every one of them different from its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import Vec3, divide_up

Array = npt.NDArray[Any]

SIZE: Vec3 = (75, 66, 41)
"""Odd sides, all different: chunks are cut, and swapped axes show."""


def noise(dtype: str, size: Vec3 = SIZE, channels: int = 1, seed: int = 0) -> Array:
    """Bytes of every value, so that a wrong byte order or sign shows; floats are whole."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    low, high = (-(2**20), 2**20) if kind.kind == "f" else (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    integers = rng.integers(low, high, (channels, *size), dtype=np.int64 if kind.kind == "f" else kind, endpoint=True)
    return np.asfortranarray(integers.astype(kind))


def grey(size: Vec3 = SIZE, channels: int = 1) -> Array:
    """A smooth uint8 image that JPEG hardly changes."""
    c, x, y, z = np.meshgrid(*(np.arange(n) for n in (channels, *size)), indexing="ij")
    waves = np.sin(x / 11 + c) + np.cos(y / 7) + np.sin(z / 5 + x / 30)
    return np.asfortranarray((127 + 40 * waves).astype(np.uint8))


def labels(dtype: str, size: Vec3 = SIZE) -> Array:
    """Blocks of 7 voxels with ids up to the largest of the type."""
    ids = noise(dtype, divide_up(size, (7, 7, 7)))
    whole = ids.repeat(7, axis=1).repeat(7, axis=2).repeat(7, axis=3)
    return np.asfortranarray(whole[:, : size[0], : size[1], : size[2]])


def sampled(array: Array, mag: Vec3) -> Array:
    """Every mag-th voxel."""
    return np.asfortranarray(array[:, :: mag[0], :: mag[1], :: mag[2]])
