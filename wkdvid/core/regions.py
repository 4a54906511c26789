"""Regions of interest: runs of blocks along x. Which voxels and points are inside, and boxes that cover them. Pure.

DVID's model (dvid.md A10): a span ``[z, y, x0, x1]``, in blocks, holds the blocks from x0 to x1, both included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import ZERO, Box, Vec3
from wkdvid.errors import TooLarge

Spans: TypeAlias = npt.NDArray[np.int32]
"""(n, 4): z, y, x0, x1; ascending, none twice, x0 <= x1."""

_Ints: TypeAlias = npt.NDArray[np.int64]

_X_BITS = 33
_HALF = 1 << 31


def spans_of(bytes_: bytes) -> Spans:
    """From what ``Spans.tobytes`` gave."""
    return np.frombuffer(bytes_, "<i4").reshape(-1, 4)


def sorted_spans(spans: npt.NDArray[np.int32]) -> Spans:
    """In the order z, y, x0, x1; each once."""
    ordered = spans[np.lexsort(spans.T[::-1])]
    new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(ordered)]
    found: Spans = ordered[new].astype("<i4")
    return found


def extent_of(spans: Spans) -> Box:
    """Of all spans, in blocks; where there is none it is empty."""
    if not len(spans):
        return Box(ZERO, ZERO)
    z0, y0, x0, _ = spans.min(axis=0).tolist()
    z1, y1, _, x1 = spans.max(axis=0).tolist()
    return Box((x0, y0, z0), (x1 + 1, y1 + 1, z1 + 1))


def mask(spans: Spans, block: Vec3, box: Box) -> npt.NDArray[np.bool_]:
    """Which voxels of a box are inside.

    Args:
        block: Size of a block (x, y, z), in voxels of the box.
    Returns:
        (x, y, z), Fortran-contiguous.
    """
    (x, y, z), (x0, y0, z0) = (_blocks(box, block, axis) for axis in range(3)), _first_block(box, block)
    shape = (int(z[-1]) + 1, int(y[-1]) + 1, int(x[-1]) + 1)
    grid = _block_grid(spans, (z0, y0, x0), shape)
    found: npt.NDArray[np.bool_] = grid[z[:, None, None], y[None, :, None], x[None, None, :]].T
    return found


def _first_block(box: Box, block: Vec3) -> Vec3:
    x, y, z = (start // side for start, side in zip(box.start, block, strict=True))
    return (x, y, z)


def _blocks(box: Box, block: Vec3, axis: int) -> _Ints:
    """Of each voxel along an axis the block, counted from the box's first one."""
    blocks: _Ints = np.arange(box.start[axis], box.stop[axis], dtype=np.int64) // block[axis]
    blocks -= blocks[0]
    return blocks


def _block_grid(spans: Spans, first: Vec3, shape: Vec3) -> npt.NDArray[np.bool_]:
    """Which blocks of a box of blocks are inside; z, y, x throughout."""
    row_z, row_y = spans[:, 0].astype(np.int64) - first[0], spans[:, 1].astype(np.int64) - first[1]
    begin, end = spans[:, 2].astype(np.int64) - first[2], spans[:, 3].astype(np.int64) - first[2]
    here = (row_z >= 0) & (row_z < shape[0]) & (row_y >= 0) & (row_y < shape[1]) & (begin < shape[2]) & (end >= 0)
    steps = np.zeros((shape[0], shape[1], shape[2] + 1), np.int32)
    rows = (row_z[here], row_y[here])
    np.add.at(steps, (*rows, np.maximum(begin[here], 0)), 1)
    np.add.at(steps, (*rows, np.minimum(end[here], shape[2] - 1) + 1), -1)
    return np.cumsum(steps[..., :-1], axis=2, dtype=np.int32) > 0


def contains(spans: Spans, block: Vec3, points: _Ints) -> npt.NDArray[np.bool_]:
    """Which points are inside.

    Args:
        points: (n, 3): x, y, z in voxels.
    """
    if not len(spans):
        return np.zeros(len(points), np.bool_)
    x, y, z = (points // np.array(block)).T
    rows, row = np.unique(_row(spans[:, 0], spans[:, 1]), return_inverse=True)
    begins = (row << _X_BITS) + spans[:, 2] + _HALF
    ends = np.maximum.accumulate((row << _X_BITS) + spans[:, 3] + _HALF)
    asked = _row(z, y)
    at = np.minimum(np.searchsorted(rows, asked), len(rows) - 1)
    place = (at << _X_BITS) + x + _HALF
    span = np.searchsorted(begins, place, side="right") - 1
    found: npt.NDArray[np.bool_] = (rows[at] == asked) & (span >= 0) & (ends[span] >= place)
    return found


def _row(z: npt.NDArray[np.signedinteger], y: npt.NDArray[np.signedinteger]) -> _Ints:
    """One number for both, in the order of z, then y."""
    return (z.astype(np.int64) << 32) + y + _HALF


def partition(spans: Spans, batch: int, *, optimized: bool, most: int) -> list[tuple[Box, int]]:
    """Boxes of blocks that cover a region, with how many of their blocks are inside.

    Args:
        batch: Blocks along each side.
        optimized: Boxes that end where the region does and leave out gaps, instead of equal ones around it.
        most: How many there may be.
    Raises:
        TooLarge: there are more.
    """
    found: list[tuple[Box, int]] = []
    for z0, z1, layer in _cut(spans, 0, batch, optimized=optimized):
        for y0, y1, row in _cut(layer, 1, batch, optimized=optimized):
            begins, ends = _pieces(*_runs(row, batch, optimized=optimized), batch, most - len(found))
            inside = _blocks_before(row, ends) - _blocks_before(row, begins)
            boxes = zip(begins.tolist(), ends.tolist(), inside.tolist(), strict=True)
            found += [(Box((x0, y0, z0), (x1, y1, z1)), count) for x0, x1, count in boxes]
    return found


def _cut(spans: Spans, column: int, batch: int, *, optimized: bool) -> Iterator[tuple[int, int, Spans]]:
    """The spans by the cells along z or y that they are in, with where each cell begins and ends."""
    if not len(spans):
        return
    at = spans[:, column].astype(np.int64)
    first = _first_cell(at, at, batch, optimized=optimized)
    cell = (at - first) // batch
    order = np.argsort(cell, kind="stable")
    cells, begins = np.unique(cell[order], return_index=True)
    for begin, part in zip((first + cells * batch).tolist(), np.split(spans[order], begins[1:]), strict=True):
        yield begin, min(begin + batch, int(part[:, column].max()) + 1) if optimized else begin + batch, part


def _first_cell(begin: _Ints, end: _Ints, batch: int, *, optimized: bool) -> int:
    """Where cells of equal size begin: half of what they stick out is before the region, as DVID counts it."""
    low, high = int(begin.min()), int(end.max())
    return low if optimized else low - (high - low + 1) % batch // 2


def _runs(row: Spans, batch: int, *, optimized: bool) -> tuple[_Ints, _Ints]:
    """Where something is along x: begins and ends (exclusive), in whole cells unless ``optimized``."""
    begin, end = row[:, 2].astype(np.int64), row[:, 3].astype(np.int64)
    if not optimized:
        first = _first_cell(begin, end, batch, optimized=False)
        begin = first + (begin - first) // batch * batch
        end = first + ((end - first) // batch + 1) * batch - 1
    order = np.argsort(begin)
    begin, end = begin[order], np.maximum.accumulate(end[order])
    new = np.flatnonzero(np.append(True, begin[1:] > end[:-1] + 1))
    return begin[new], end[np.append(new[1:], len(end)) - 1] + 1


def _pieces(begins: _Ints, ends: _Ints, batch: int, most: int) -> tuple[_Ints, _Ints]:
    """Runs cut into pieces of ``batch`` blocks, the last of each as long as what is left."""
    counts = -((begins - ends) // batch)
    if counts.sum() > most:
        raise TooLarge("the region has more subvolumes than one answer may (limits.blocks); use a larger batchsize")
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(begins, counts) + number * batch
    return starts, np.minimum(starts + batch, np.repeat(ends, counts))


def _blocks_before(row: Spans, places: _Ints) -> _Ints:
    """How many blocks of the spans have a smaller x, for each of some places."""
    found = np.zeros(len(places), np.int64)
    for edges, sign in ((row[:, 2], 1), (row[:, 3].astype(np.int64) + 1, -1)):
        ordered = np.sort(edges).astype(np.int64)
        passed = np.searchsorted(ordered, places)
        found += sign * (passed * places - np.append(0, np.cumsum(ordered))[passed])
    return found
