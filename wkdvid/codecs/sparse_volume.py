"""Sparse volumes: the voxels of one label, or the blocks that it is in, as DVID's clients read them.

Everything is little-endian. A run is int32 x, y, z of its first voxel and the voxels that it has along x.
"""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.codecs.sub_blocks import SIDE, VOXELS, grid_of
from wkdvid.core.geometry import Vec3, volume_of

Runs: TypeAlias = npt.NDArray[np.int32]
"""(n, 4): x, y, z, length."""
Mask: TypeAlias = npt.NDArray[np.bool_]
"""(x, y, z)."""

_EMPTY, _FULL, _MIXED = range(3)


def runs_of(mask: Mask, origin: Vec3) -> Runs:
    """The runs of the voxels that are set, ordered by z, y, x.

    Args:
        mask: Quickest in Fortran order.
        origin: Of its first voxel.
    """
    sx, sy, sz = mask.shape
    lines = np.zeros((sz * sy, sx + 2), np.bool_)  # so that each line begins and ends unset
    lines[:, 1:-1] = mask.T.reshape(sz * sy, sx)
    borders = np.flatnonzero(lines[:, 1:] != lines[:, :-1])
    starts, stops = borders[::2], borders[1::2]
    line, x = np.divmod(starts, sx + 1)
    z, y = np.divmod(line, max(sy, 1))
    runs: Runs = (np.stack([x, y, z, stops - starts], axis=1) + np.array([*origin, 0])).astype(np.int32)
    return runs


def join(runs: Runs) -> Runs:
    """Runs of several boxes, none of which have a voxel in common: ordered by z, y, x, and joined where they touch."""
    ordered = runs[np.lexsort((runs[:, 0], runs[:, 1], runs[:, 2]))]
    x, length = ordered[:, 0].astype(np.int64), ordered[:, 3]
    touches = (x[1:] == x[:-1] + length[:-1]) & (ordered[1:, 1:3] == ordered[:-1, 1:3]).all(axis=1)
    first = np.flatnonzero(np.concatenate([[True], ~touches])) if len(ordered) else np.empty(0, np.intp)
    joined = ordered[first]
    if len(first):
        joined[:, 3] = np.add.reduceat(length, first)
    return joined


def rles_header(count: int) -> bytes:
    """What stands before ``count`` runs: binary, 3 dimensions, runs along x, and no number of voxels."""
    return struct.pack("<4BII", 0, 3, 0, 0, 0, count)


def rles(runs: Runs) -> bytes:
    """Header and runs (``format=rles``, ``sparsevol-coarse``)."""
    return rles_header(len(runs)) + srles(runs)


def srles(runs: Runs) -> bytes:
    """The runs alone (``format=srles``)."""
    return runs.astype("<i4").tobytes()


def coarse_record(label: int, runs: Runs) -> bytes:
    """One label of ``sparsevols-coarse``, its runs in blocks."""
    return struct.pack("<Qi", label, len(runs)) + srles(runs)


def coarse_runs(blocks: npt.NDArray[np.integer[Any]]) -> Runs:
    """Runs of blocks.

    Args:
        blocks: (n, 3), x, y, z, none twice.
    """
    single = np.ones((len(blocks), 4), np.int32)
    single[:, :3] = blocks
    return join(single)


def blocks_header(shape: Vec3, label: int) -> bytes:
    """What stands before the blocks of ``format=blocks``.

    Args:
        shape: Of a block, in voxels; multiples of 8.
    """
    return struct.pack("<3IQ", *grid_of(shape), label)


def block(mask: Mask, origin: Vec3) -> bytes:
    """One block: the first voxel, then what is set: nothing, all, or sub-blocks of 8 x 8 x 8, each said likewise.

    Args:
        mask: Of multiples of 8 voxels a side.
        origin: Of its first voxel.
    """
    kind = _FULL if mask.all() else _MIXED if mask.any() else _EMPTY
    head = struct.pack("<3iB", *origin, kind)
    return head + _sub_blocks(mask) if kind == _MIXED else head


def _sub_blocks(mask: Mask) -> bytes:
    grid = gx, gy, gz = grid_of((mask.shape[0], mask.shape[1], mask.shape[2]))
    parts = mask.T.reshape(gz, SIDE, gy, SIDE, gx, SIDE).transpose(0, 2, 4, 1, 3, 5).reshape(volume_of(grid), VOXELS)
    empty, full = ~parts.any(axis=1), parts.all(axis=1)
    kinds = np.where(empty, _EMPTY, np.where(full, _FULL, _MIXED)).astype(np.uint8)
    rows = np.concatenate([kinds[:, None], np.packbits(parts, axis=1, bitorder="little")], axis=1)
    sent = np.ones(rows.shape, np.bool_)
    sent[empty | full, 1:] = False
    return rows[sent].tobytes()
