"""Cells of a grid of several sizes, as numbers that an ordinary index keeps: what is near has numbers near each other.

An object is in the cell of its lower corner, in the finest grid whose cells are no smaller than the object. A number
is the grid's, then the cell's place in the order of Morton (Z-order), of 20 bits on each axis. Cells beyond that count
as the outermost ones: who asks by cells has to look at the objects themselves too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from wkdvid.core.geometry import Box

LARGEST = (1, 2**6, 2**9, 2**12, 2**15, 2**18, 2**21)
"""Longest side of what is in each grid, voxels; in one more grid is what is larger."""
SIDES = (2**6, *LARGEST[1:])
"""Of the cells, voxels."""
BITS = 20
_HALF = 1 << (BITS - 1)
_GRID = 3 * BITS
"""Bits below the number of the grid."""
_MASKS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def cell_of(low: Sequence[int], high: Sequence[int]) -> int:
    """
    Args:
        low: Inclusive corner of an object's box.
        high: Inclusive corner.
    """
    grid = _grid_of(max(b - a for a, b in zip(low, high, strict=True)) + 1)
    if grid == len(SIDES):
        return grid << _GRID
    x, y, z = (_index(at, SIDES[grid]) for at in low)
    return grid << _GRID | _morton(x, y, z)


def _grid_of(side: int) -> int:
    return next((grid for grid, largest in enumerate(LARGEST) if side <= largest), len(LARGEST))


def _index(at: int, side: int) -> int:
    return min(max(at // side + _HALF, 0), 2 * _HALF - 1)


def _morton(x: int, y: int, z: int) -> int:
    return _spread(x) | _spread(y) << 1 | _spread(z) << 2


def _spread(n: int) -> int:
    """Two zeros between each two bits."""
    for shift, mask in _MASKS:
        n = (n | n << shift) & mask
    return n


def ranges_of(box: Box, last: int) -> list[tuple[int, int]]:
    """Inclusive ranges of cells, ascending, in which all objects are that touch a box; few, and somewhat too large.

    Args:
        last: The largest cell that anything is in.
    """
    merged: list[tuple[int, int]] = []
    for grid in range((last >> _GRID) + 1):
        for first, end in sorted(_ranges(grid, box)):
            if merged and merged[-1][1] + 1 == first:
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((first, end))
    return merged


def _ranges(grid: int, box: Box) -> Iterator[tuple[int, int]]:
    """Whole cubes of cells: two or three on the longest axis."""
    start = grid << _GRID
    if grid == len(SIDES):
        yield start, start
        return
    side = SIDES[grid]
    low = [_index(at - LARGEST[grid] + 1, side) for at in box.start]
    high = [_index(at - 1, side) for at in box.stop]
    shift = max(0, max(b - a for a, b in zip(low, high, strict=True)).bit_length() - 1)
    spans = [range(a >> shift, (b >> shift) + 1) for a, b in zip(low, high, strict=True)]
    for x, y, z in product(*spans):
        first = start | _morton(x, y, z) << 3 * shift
        yield first, first + (1 << 3 * shift) - 1
