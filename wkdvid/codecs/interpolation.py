"""Values of an image between its voxels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray


def trilinear(array: NDArray[Any], points: NDArray[np.float64]) -> NDArray[Any]:
    """
    Args:
        array: (c, x, y, z).
        points: (..., 3): places in voxels of the array, all of whose eight neighbours lie in it. A voxel's own place is
            its index.
    Returns:
        (..., c), rounded to the array's type where that is of whole numbers.
    """
    below = np.floor(points).astype(np.int64)
    above = np.ceil(points).astype(np.int64)
    share = points - below
    total = np.zeros((*points.shape[:-1], len(array)))
    for corner in itertools.product((False, True), repeat=3):
        x, y, z = np.moveaxis(np.where(corner, above, below), -1, 0)
        weight = np.where(corner, share, 1 - share).prod(axis=-1)
        total += np.moveaxis(array[:, x, y, z], 0, -1) * weight[..., None]
    return (total if array.dtype.kind == "f" else np.floor(total + 0.5)).astype(array.dtype)
