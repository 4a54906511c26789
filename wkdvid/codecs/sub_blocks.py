"""The grid of 8 x 8 x 8 sub-blocks that both label formats are made of, x fastest in the grid and in a sub-block."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wkdvid.core.geometry import Vec3, divide_up

Labels: TypeAlias = NDArray[np.uint64]
Ints: TypeAlias = NDArray[np.intp]

SIDE = 8
VOXELS = SIDE**3


def grid_of(shape: Vec3) -> Vec3:
    """Sub-blocks (x, y, z) that cover ``shape`` voxels."""
    return divide_up(shape, (SIDE, SIDE, SIDE))


def assemble(sub_blocks: Labels, grid: Vec3) -> Labels:
    """Sub-blocks, one a row (n, 512), put side by side: array (x, y, z), Fortran order."""
    gx, gy, gz = grid
    zyx = sub_blocks.reshape(gz, gy, gx, SIDE, SIDE, SIDE).transpose(0, 3, 1, 4, 2, 5)
    return zyx.reshape(gz * SIDE, gy * SIDE, gx * SIDE).T
