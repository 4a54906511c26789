"""Synthetic tissue that looks like electron microscopy: cells with membranes, mitochondria and vesicles.

Every voxel is a function of its position alone (integer hashing), so the volume is the same whatever the order of the
boxes, and a smaller volume is the corner of a larger one. Floats are only added, multiplied and compared element by
element, which IEEE 754 defines to the bit: the bytes do not depend on the machine.

Inside this module arrays and vectors are (z, y, x); ``synthesize``, its only door, takes and gives (x, y, z).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import Box

Grey: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.uint64]
Floats: TypeAlias = npt.NDArray[np.float32]
Zyx: TypeAlias = tuple[int, int, int]

CHUNK: Final = 64
"""Side of the cubes, aligned to its multiples, in which voxels are made."""
BIG_ID: Final = 1 << 40
"""Added to the ids of about a quarter of the cells: clients that keep labels in 32 bits show themselves."""
CELL: Final[Zyx] = (64, 32, 32)
"""Mean size of a cell in voxels. Each divides CHUNK, so that a chunk holds whole cells of the grid."""
METRIC: Final = (0.5, 1.0, 1.0)
"""Distances along z count half: cells are elongated, as neurites are."""
SALT_CELL, SALT_WARP, SALT_TEXTURE, SALT_VESICLE, SALT_SHADE, SALT_GRAIN = 1, 2, 5, 6, 7, 8


def _hash(salt: int, z: npt.NDArray[Any], y: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Thirty-two well mixed bits for each position; the axes broadcast (the multipliers are those of xxHash32)."""
    mixed = np.full((1, 1, 1), salt, np.uint32)
    for axis in (z, y, x):
        mixed = (mixed ^ axis.astype(np.uint32)) * np.uint32(0x9E3779B1)
        mixed ^= mixed >> np.uint32(15)
        mixed *= np.uint32(0x85EBCA77)
        mixed ^= mixed >> np.uint32(13)
    return mixed


def _stretch(values: Floats, spacing: int, axis: int) -> Floats:
    """Interpolate n + 1 lattice points to n * spacing voxels along one axis, with no slope at the points."""
    t = np.arange(spacing, dtype=np.float32) / np.float32(spacing)
    weight = t * t * (3 - 2 * t)
    rows = np.moveaxis(values, axis, -1)
    low, high = rows[..., :-1, None], rows[..., 1:, None]
    return np.moveaxis((low + (high - low) * weight).reshape(*rows.shape[:-1], -1), -1, axis)


def _smooth_noise(corner: Zyx, spacing: int, salt: int) -> Floats:
    """Noise in [-1, 1) over one chunk, whose features are about ``spacing`` voxels wide."""
    lattice = (np.arange(c // spacing, (c + CHUNK) // spacing + 1) for c in corner)
    values = (_hash(salt, *np.ix_(*lattice)) >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - 1
    for axis in range(3):
        values = _stretch(values, spacing, axis)
    return np.ascontiguousarray(values)


def _grain(corner: Zyx) -> Floats:
    """Noise in [-1, 1], independent from voxel to voxel, of triangular distribution, over one chunk."""
    bits = _hash(SALT_GRAIN, *np.ix_(*(np.arange(c, c + CHUNK) for c in corner)))
    return ((bits & np.uint32(255)) + (bits >> np.uint32(24))).astype(np.float32) / np.float32(255) - 1


def _cells_around(cell: Zyx) -> tuple[Floats, npt.NDArray[np.uint32], Labels]:
    """The 27 cells about one of the grid: centres (27, 3) relative to its corner in the metric, hashes, ids."""
    grid = np.array(list(itertools.product(*((c - 1, c, c + 1) for c in cell))), np.int64)
    axes = [grid[:, i].reshape(-1, 1, 1) for i in range(3)]
    jitter = np.stack([_hash(SALT_CELL + 100 * i, *axes).ravel() >> np.uint32(24) for i in (1, 2, 3)], axis=1)
    # Centres keep to the middle half of their place in the grid, so that the two nearest are among the 27.
    inside = jitter.astype(np.float32) / np.float32(512) + np.float32(0.25)
    centres = ((grid - cell).astype(np.float32) + inside) * np.array(CELL, np.float32) * np.array(METRIC, np.float32)
    hashes = _hash(SALT_CELL, *axes).ravel()
    z, y, x = (grid + 1).astype(np.uint64).T
    ids = (z << np.uint64(20) | y << np.uint64(10) | x) + np.where(hashes % 4 == 0, BIG_ID, 0).astype(np.uint64)
    return centres, hashes, ids


def _nearest(points: Sequence[Floats], centres: Floats) -> tuple[npt.NDArray[np.uint8], Floats, Floats]:
    """Index of the nearest centre, squared distance to it, and to the second nearest."""
    best = np.zeros(points[0].shape, np.uint8)
    first = np.full(points[0].shape, np.inf, np.float32)
    second = first.copy()
    for index, centre in enumerate(centres):
        distance = np.square(points[0] - centre[0])
        distance += np.square(points[1] - centre[1])
        distance += np.square(points[2] - centre[2])
        np.copyto(best, index, where=distance < first)
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    return best, first, second


def _tissue(corner: Zyx) -> tuple[Grey, Labels]:
    """Grey values and ids (z, y, x) of the chunk at ``corner``."""
    shape = (CHUNK, CHUNK, CHUNK)
    radius2, border = np.empty(shape, np.float32), np.empty(shape, np.float32)
    hashes, ids = np.empty(shape, np.uint32), np.empty(shape, np.uint64)
    warp = [_smooth_noise(corner, 32, SALT_WARP + axis) * np.float32(8) for axis in range(3)]
    for at in itertools.product(*(range(0, CHUNK, side) for side in CELL)):
        part = tuple(slice(a, a + side) for a, side in zip(at, CELL, strict=True))
        local = np.ix_(*(np.arange(side, dtype=np.float32) for side in CELL))
        points = [(w[part] + p) * np.float32(m) for w, p, m in zip(warp, local, METRIC, strict=True)]
        z, y, x = ((c + a) // side for c, a, side in zip(corner, at, CELL, strict=True))
        centres, cell_hashes, cell_ids = _cells_around((z, y, x))
        best, first, second = _nearest(points, centres)
        radius2[part], border[part] = first, (second - first) / np.float32(2 * CELL[2])
        hashes[part], ids[part] = cell_hashes[best], cell_ids[best]
    ids[border < 0.5] = 0
    return _shade(corner, radius2, border, hashes), ids


def _shade(corner: Zyx, radius2: Floats, border: Floats, hashes: npt.NDArray[np.uint32]) -> Grey:
    """Grey values from the squared distance to the cell's centre, that to its border, and its hash."""
    texture = _smooth_noise(corner, 4, SALT_TEXTURE)
    grey = 150 + (hashes >> np.uint32(8) & np.uint32(31)).astype(np.float32)
    grey += 12 * texture + 10 * _smooth_noise(corner, 16, SALT_SHADE)
    kind = hashes >> np.uint32(28)
    vesicles = (kind >= 10) & (border > 3) & (_smooth_noise(corner, 4, SALT_VESICLE) > 0.35)
    grey[vesicles] -= 55
    mitochondrion = (kind < 6) & (radius2 < 72) & (border > 1.5)
    grey[mitochondrion] = 95 + 40 * texture[mitochondrion]
    grey[mitochondrion & (radius2 > 52)] = 70
    grey -= 105 * np.clip(1.6 - border, 0, 1)
    grey += 22 * _grain(corner)
    return np.clip(grey, 0, 255).astype(np.uint8)


def synthesize(box: Box) -> tuple[Grey, Labels]:
    """Grey values and segment ids (x, y, z) of a box that begins at multiples of CHUNK and is no longer on any side.

    Ids are unique up to 32,000 voxels along x and y, 65,000 along z; 0 is the space between cells.
    """
    x, y, z = box.start
    grey, labels = _tissue((z, y, x))
    cut = tuple(slice(0, side) for side in box.size)
    return grey.T[cut], labels.T[cut]
