"""Skeletons of segments: precomputed bytes -> points and edges -> SWC text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = -1
"""Parent of a point that has none."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """What is stored of each point, beside its place."""

    name: str
    dtype: np.dtype[Any]
    components: int

    @property
    def point_bytes(self) -> int:
        return self.dtype.itemsize * self.components


def decode(
    data: bytes, attributes: Sequence[Attribute]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], Mapping[str, npt.NDArray[np.float64]]]:
    """Read an encoded skeleton (skeletons.md of the precomputed format).

    Returns:
        Points (n, 3) of the stored model, edges (m, 2), and attributes of one component (n) by name.
    Raises:
        ValueError: it is none.
    """
    points, edges = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
    expected = 8 + points * (12 + sum(one.point_bytes for one in attributes)) + 8 * edges
    if len(data) != expected or len(data) < 8:
        raise ValueError(
            f"{len(data)} bytes are no skeleton of {points} points and {edges} edges, which has {expected}"
        )
    positions = np.frombuffer(data, "<f4", 3 * points, 8).reshape(-1, 3).astype(np.float64)
    pairs = np.frombuffer(data, "<u4", 2 * edges, 8 + 12 * points).reshape(-1, 2).astype(np.int64)
    if pairs.size and int(pairs.max()) >= points:
        raise ValueError(f"an edge names point {pairs.max()} of {points}")
    at, values = 8 + 12 * points + 8 * edges, {}
    for one in attributes:
        if one.components == 1:
            values[one.name] = np.frombuffer(data, one.dtype, points, at).astype(np.float64)
        at += one.point_bytes * points
    return positions, pairs, values


def swc(
    positions: npt.NDArray[np.float64],
    edges: npt.NDArray[np.int64],
    radii: npt.NDArray[np.float64] | None,
    types: npt.NDArray[np.int64] | None,
) -> bytes:
    """An SWC file: a line for each point, ``id type x y z radius parent``, parents first.

    Neuroglancer reads plain decimals alone. Edges that would close a circle are left out: SWC is a forest.
    """
    count = len(positions)
    radius = np.zeros(count) if radii is None else np.nan_to_num(radii, posinf=0, neginf=0).clip(0)
    kind = np.zeros(count, np.int64) if types is None else types.clip(0)
    points = list(zip(kind.tolist(), *positions.T.tolist(), radius.tolist(), strict=True))
    lines = []
    number = [0] * count + [ROOT]  # the last is the parent of those that have none
    for i, (point, parent) in enumerate(_forest(count, edges), 1):
        number[point] = i
        lines.append("%d %d %.3f %.3f %.3f %.3f %d\n" % (i, *points[point], number[parent]))  # noqa: UP031 - faster
    return "".join(lines).encode()


def _forest(count: int, edges: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Every point with its parent, which comes before it. Each tree begins at its first point."""
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    first = np.searchsorted(both[:, 0], np.arange(count + 1)).tolist()
    neighbors = both[:, 1].tolist()
    seen = bytearray(count)
    for root in range(count):
        waiting = [] if seen[root] else [(root, ROOT)]
        while waiting:
            point, parent = waiting.pop()
            if seen[point]:
                continue
            seen[point] = 1
            yield point, parent
            waiting += [(other, point) for other in neighbors[first[point] : first[point + 1]] if not seen[other]]
