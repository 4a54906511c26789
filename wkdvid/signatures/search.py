"""The two questions about signatures, as clio-store answers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import Vec3
from wkdvid.errors import CorruptChunk, InvalidRequest
from wkdvid.signatures.index import SignatureIndex

LARGEST_LIMIT = 10_000
LARGEST_DISTANCE = 2**31
BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The defaults are clio-store's."""

    max_dist: int = 100
    """Voxels: how far a signature may be from the place that is asked for; and places that are no farther from each
    other, or from that place, count as one."""
    max_ham: int = 8
    """Likenesses differ in fewer bits."""
    limit: int = 200
    """Likenesses that are looked at, the nearest first."""

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("max_dist", self.max_dist, 0, LARGEST_DISTANCE),
            ("max_ham", self.max_ham, 1, BITS + 1),
            ("limit", self.limit, 1, LARGEST_LIMIT),
        ):
            if not least <= value <= most:
                raise InvalidRequest(f"{name}: {value} is not in {least} to {most}")


DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Signed:
    """A place and its signature."""

    point: Vec3
    signature: int
    """0 to 2^64 - 1."""

    @property
    def signed(self) -> int:
        """The same 64 bits as clio-store shows them."""
        return self.signature - (self.signature >> 63 << 64)


@dataclass(frozen=True, slots=True)
class Match:
    point: Vec3
    dist: int
    """Bits that differ."""
    score: float
    """1: none differs."""


def at_location(index: SignatureIndex, at: Vec3, rules: Rules = DEFAULT_RULES) -> Signed | None:
    """The signature nearest to a place, of those at equal distance the one of the smallest x, y, z; None: none is near.

    Raises:
        CorruptChunk: the index contradicts itself.
    """
    with _consistent(index):
        parts = [np.arange(*bounds) for bounds in _block_bounds(index, at, rules.max_dist)]
        numbers = np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int64)
        points = index.points[numbers]
        far = _squares(points, at)
        order = np.lexsort((index.signatures[numbers], *points.T[::-1], far))[:1]
        if not len(order) or far[order[0]] > rules.max_dist**2:
            return None
        return Signed(_vector(points[order[0]]), int(index.signatures[numbers[order[0]]]))


def like_location(index: SignatureIndex, at: Vec3, rules: Rules = DEFAULT_RULES) -> Sequence[Match] | None:
    """Places that look like the one that is asked for, the most alike first; None: no signature is near that one.

    Of equally alike ones those come first that are nearer to the place, then those of smaller x, y, z.

    Raises:
        CorruptChunk: the index contradicts itself.
    """
    here = at_location(index, at, rules)
    if here is None:
        return None
    with _consistent(index):
        numbers, bits = index.bands.near(here.signature, rules.max_ham - 1)
        numbers, bits = _nearest(numbers, bits, rules.limit)
        points = index.points[numbers]
    order = np.lexsort((*points.T[::-1], _squares(points, at), bits))[: rules.limit]
    return _apart(points[order], bits[order], at, rules)


def _block_bounds(index: SignatureIndex, at: Vec3, reach: int) -> Sequence[tuple[int, int]]:
    """From where to where the blocks go that have a voxel within reach on every axis."""
    place = np.array(at, np.float64)
    first, last = np.floor((place - reach) / index.side), np.floor((place + reach) / index.side)
    near = np.flatnonzero(((index.blocks >= first) & (index.blocks <= last)).all(axis=1))
    return [(int(index.starts[number]), int(index.starts[number + 1])) for number in near]


def _nearest(
    numbers: npt.NDArray[np.integer], bits: npt.NDArray[np.integer], limit: int
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Those that can be among the first ``limit``: not all that there may be need be sorted."""
    counts = np.cumsum(np.bincount(bits, minlength=BITS + 1))
    enough = bits <= np.searchsorted(counts, limit)
    return numbers[enough], bits[enough]


def _apart(points: npt.NDArray[np.int32], bits: npt.NDArray[np.integer], at: Vec3, rules: Rules) -> Sequence[Match]:
    """One after the other, those that are farther than that from the place and from all before."""
    taken: list[Match] = []
    free = _squares(points, at) > rules.max_dist**2
    for i, (point, differ) in enumerate(zip(points, bits.tolist(), strict=True)):
        if free[i]:
            taken.append(Match(_vector(point), differ, 1 - differ / rules.max_ham))
            free &= _squares(points, taken[-1].point) > rules.max_dist**2
    return taken


@contextmanager
def _consistent(index: SignatureIndex) -> Iterator[None]:
    try:
        yield
    except IndexError:
        raise CorruptChunk(f"the index names signatures that it does not have; it has {len(index.points)}") from None


def _squares(points: npt.NDArray[Any], at: Vec3) -> npt.NDArray[np.float64]:
    """Squared distances in voxels; exact up to 10^7 voxels, and never too large for their type."""
    away = points - np.array(at, np.float64)
    squares: npt.NDArray[np.float64] = (away * away).sum(axis=1)
    return squares


def _vector(point: npt.NDArray[np.int32]) -> Vec3:
    x, y, z = point.tolist()
    return (x, y, z)
