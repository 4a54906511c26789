"""Voxels of each label in each block of a box, as sorted runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from wkdvid.backends.label_index.runs import Columns, append_run, joined
from wkdvid.core.geometry import Box, Vec3, ceil_div
from wkdvid.core.label_index import BLOCK
from wkdvid.core.volume import Array

RUN_RECORDS = 1 << 20
"""After so many records a run ends: noise has 2^18 labels in each block."""
SHAPE: Vec3 = (BLOCK, BLOCK, BLOCK)


def count_labels(block: Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint32]]:
    """Labels that are not 0, ascending, and the voxels of each.

    Neighbours along x mostly have the same label, so their runs are sorted, not the voxels.

    Args:
        block: (x, y, z), of unsigned integers.
    """
    flat = block.reshape(-1, order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    labels, which = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(which, lengths, len(labels)).astype(np.uint32)
    first = int(labels[0] == 0)
    return labels[first:], counts[first:]


@dataclass(slots=True)
class Counting:
    """Counts boxes of whole blocks, one after the other, into a file of runs."""

    grid: Box
    """All blocks of the volume, in blocks."""
    file: BinaryIO
    _parts: list[Columns] = field(default_factory=list)
    _held: int = 0

    def add(self, voxels: Array, box: Box) -> None:
        """
        Args:
            voxels: (1, x, y, z).
            box: Theirs; only borders of the volume lie within a block.
        """
        for number, part in self._blocks(box):
            labels, counts = count_labels(voxels[0][_slices(part, box)])
            self._parts.append(Columns(labels.astype(np.uint64), np.full(len(labels), number, np.uint64), counts))
            self._held += len(labels)
            if self._held >= RUN_RECORDS:
                self.flush()

    def flush(self) -> None:
        """End the run."""
        if self._held:
            append_run(self.file, joined(self._parts).sorted().records())
        self._parts, self._held = [], 0

    def _blocks(self, box: Box) -> Iterator[tuple[int, Box]]:
        """Number and voxels of each block."""
        inside = box.scaled_down(SHAPE)
        (gx, gy, gz), (nx, ny, _) = self.grid.start, self.grid.size
        for z, y, x in np.ndindex(*reversed(inside.size)):
            bx, by, bz = (a + b for a, b in zip(inside.start, (x, y, z), strict=True))
            part = Box.at((bx * BLOCK, by * BLOCK, bz * BLOCK), SHAPE).intersect(box)
            if part is not None:
                yield ((bz - gz) * ny + by - gy) * nx + bx - gx, part


def _slices(part: Box, box: Box) -> tuple[slice, ...]:
    return tuple(slice(a - o, b - o) for a, b, o in zip(part.start, part.stop, box.start, strict=True))


def read_boxes(box: Box, chunk: Vec3, voxel_bytes: int, read_bytes: int) -> Iterator[Box]:
    """Cut a task's box into boxes of whole blocks to be read at a time, x fastest.

    Args:
        chunk: Of the source: a box is no smaller than that, where the bytes suffice, so that each is decoded once.
        read_bytes: What a box has at most, if it is more than one block.
    """
    nx, ny, nz = size = _read_shape(box, chunk, voxel_bytes, read_bytes)
    start = box.scaled_down(SHAPE).scaled_up(SHAPE).start
    counts = [ceil_div(stop - first, n) for stop, first, n in zip(box.stop, start, size, strict=True)]
    for z, y, x in np.ndindex(*reversed(counts)):
        part = Box.at((start[0] + x * nx, start[1] + y * ny, start[2] + z * nz), size).intersect(box)
        if part is not None:
            yield part


def _read_shape(box: Box, chunk: Vec3, voxel_bytes: int, read_bytes: int) -> Vec3:
    shape = list(SHAPE)
    for axis in range(3):
        wanted = min(max(chunk[axis], 2 * BLOCK), box.size[axis])
        while shape[axis] < wanted and 2 * shape[0] * shape[1] * shape[2] * voxel_bytes <= read_bytes:
            shape[axis] *= 2
    return (shape[0], shape[1], shape[2])
