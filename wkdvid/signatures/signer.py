"""The default signer: 64 bits of a patch of an image, computed without any model, the same on every machine.

A patch is a cube of 48 voxels. It is described by its intensity in overlapping cubes of 16 and of 24 voxels, by how
strong its gradients are in 13 directions in each of 27 cubes, and by how much the voxels vary in each of 27 cubes; each
of these relative to the patch's own mean and contrast. The description, rounded to small whole numbers, is projected
onto 64 fixed directions (1 and -1, drawn from SHAKE-256); a bit says whether a projection is above the median of a
sample of the layer's patches, so that each bit divides them in halves.

Sums are made in a fixed order, one addition after the other, and what is multiplied by matrices are whole numbers whose
sums float32 holds exactly: no rounding depends on the processor or on the library for linear algebra.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import Vec3
from wkdvid.core.volume import Array

NAME = "wkdvid-1"
"""Changes whenever the same patch would get other bits."""
PATCH = 48
"""Voxels a side."""
CELL = 4
"""Voxels a side of what is looked at; strides are multiples of it."""
BITS = 64
DIRECTIONS: Sequence[Vec3] = [(x, y, z) for x, y, z in itertools.product((-1, 0, 1), repeat=3) if (x, y, z) > (0, 0, 0)]
"""13, of 26 that come in opposite pairs."""
WEIGHTS = {"fine": 100, "coarse": 200, "gradients": 50, "variation": 100}
"""Length of each part of a description, before it is rounded."""
LARGEST = 127

Grid: TypeAlias = npt.NDArray[np.float32]
"""(x, y, z), a number for each cell."""
Features: TypeAlias = npt.NDArray[np.float32]
"""(n, f): whole numbers from -127 to 127."""
Starts: TypeAlias = npt.NDArray[np.int64]
"""(n, 3): x, y, z."""


def describe(voxels: Array, stride: int) -> tuple[Features, Starts]:
    """Patches of a box, at every ``stride`` along each axis, the first at the box's start.

    Args:
        voxels: (c, x, y, z). Channels are added up.
        stride: Voxels, a multiple of ``CELL``.
    Returns:
        Descriptions, and where each patch starts in the box. Patches without any contrast are left out.
    """
    whole = voxels[0].astype(np.float32)
    for channel in voxels[1:]:
        whole += channel.astype(np.float32)
    mean = _summed(whole, CELL, CELL) / np.float32(CELL**3)
    variance = np.maximum(_summed(whole * whole, CELL, CELL) / np.float32(CELL**3) - mean * mean, np.float32(0))
    starts = _starts(mean.shape, stride // CELL)
    fine = _seen(_summed(mean, 4), starts, (0, 2, 4, 6, 8))
    groups = {
        "fine": fine,
        "coarse": _seen(_summed(mean, 6), starts, (0, 3, 6)),
        "gradients": np.concatenate([_seen(_summed(grid, 4), starts, (0, 3, 6)) for grid in _gradients(mean)], axis=1),
        "variation": np.sqrt(_seen(_summed(variance, 4), starts, (0, 4, 8))),
    }
    lively = np.isfinite(fine).all(axis=1) & (fine != fine[:, :1]).any(axis=1)
    parts = [_rounded(part[lively], WEIGHTS[name]) for name, part in groups.items()]
    return np.concatenate(parts, axis=1), starts[lively] * CELL


def _summed(grid: Grid, side: int, step: int = 1) -> Grid:
    """Sums over cubes of so many cells a side that begin at every ``step``, wherever they fit."""
    for axis in range(3):
        count = max((grid.shape[axis] - side) // step + 1, 0)
        moved = np.moveaxis(grid, axis, 0)
        total = moved[: count * step : step].copy()
        for offset in range(1, side):
            total += moved[offset : offset + count * step : step][:count]
        grid = np.moveaxis(total, 0, axis)
    return grid


def _starts(cells: tuple[int, ...], step: int) -> Starts:
    axes = [np.arange(0, max(n - PATCH // CELL + 1, 0), step) for n in cells]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _seen(grid: Grid, starts: Starts, offsets: Sequence[int]) -> Features:
    """(n, f): what patches have at every combination of the offsets along the axes, in cells."""
    places = starts[:, None] + np.array(list(itertools.product(offsets, repeat=3)))
    seen: Features = grid[places[..., 0], places[..., 1], places[..., 2]]
    return seen


def _gradients(mean: Grid) -> Sequence[Grid]:
    """How strong they are in each direction, in all cells but the outermost."""
    inner = slice(1, -1)
    along = (
        mean[2:, inner, inner] - mean[:-2, inner, inner],
        mean[inner, 2:, inner] - mean[inner, :-2, inner],
        mean[inner, inner, 2:] - mean[inner, inner, :-2],
    )
    grids = []
    for direction in DIRECTIONS:
        first, *others = [gradient * np.float32(sign) for gradient, sign in zip(along, direction, strict=True) if sign]
        for other in others:
            first = first + other
        grids.append(np.abs(first) / np.float32(math.sqrt(1 + len(others))))
    return grids


def _rounded(part: Features, length: int) -> Features:
    """Without their mean, all of one length, as whole numbers."""
    part = part - _sum(part)[:, None] / np.float32(part.shape[1])
    norm = np.sqrt(_sum(part * part))[:, None]
    scaled = np.divide(part * np.float32(length), norm, out=np.zeros_like(part), where=norm > 0)
    rounded: Features = np.clip(np.rint(scaled), -LARGEST, LARGEST)
    return rounded


def _sum(part: Features) -> npt.NDArray[np.float32]:
    """Of each row, from left to right: ``sum`` adds in an order that depends on the processor."""
    total: npt.NDArray[np.float32] = np.add.accumulate(part, axis=1)[:, -1]
    return total


def _projection(features: int) -> npt.NDArray[np.float32]:
    """(f, 64) of 1 and -1."""
    drawn = np.frombuffer(hashlib.shake_256(NAME.encode()).digest(features * BITS // 8), np.uint8)
    return np.unpackbits(drawn).reshape(features, BITS).astype(np.float32) * 2 - 1


@dataclass(frozen=True, slots=True)
class Signer:
    """From descriptions to signatures, for one layer."""

    projection: npt.NDArray[np.float32]
    """(f, 64)."""
    thresholds: npt.NDArray[np.float32]
    """(64,)."""

    @classmethod
    def of(cls, sample: Features) -> Signer:
        """
        Args:
            sample: Descriptions of some patches of the layer. Without any, what no patch has more or less of divides.
        """
        projection = _projection(sample.shape[1])
        projected = sample @ projection if len(sample) else np.zeros((1, BITS))
        return cls(projection, np.median(projected, axis=0).astype(np.float32))

    def sign(self, features: Features) -> npt.NDArray[np.uint64]:
        """(n,): the first bit is the lowest."""
        bits = features @ self.projection > self.thresholds
        return np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0]

    def document(self) -> Mapping[str, Any]:
        """All that another program needs to go on, as JSON has it: the projection's bits (1: +1) in hexadecimal."""
        return {
            "name": NAME,
            "patch": [PATCH] * 3,
            "features": len(self.projection),
            "projection": np.packbits(self.projection > 0).tobytes().hex(),
            "thresholds": self.thresholds.tolist(),
        }
