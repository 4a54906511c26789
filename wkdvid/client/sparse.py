"""Sparse volumes: the voxels of a label as runs along x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.client.calls import Reply
from wkdvid.client.errors import InvalidArgument
from wkdvid.core.geometry import Vec3

Runs: TypeAlias = npt.NDArray[np.int32]

_HEADER_BYTES, _RUN_BYTES = 12, 16
MOST_MASK_VOXELS = 2**34


@dataclass(frozen=True, slots=True, eq=False)
class SparseVolume:
    runs: Runs
    """(n, 4): x, y, z of the first voxel of each, and its length; sorted by z, y, x."""

    @property
    def voxels(self) -> int:
        return int(self.runs[:, 3].sum(dtype=np.int64))

    def bounds(self) -> tuple[Vec3, Vec3]:
        """First voxel and exclusive end of the smallest box (x, y, z) around it.

        Raises:
            InvalidArgument: there is no voxel.
        """
        if not len(self.runs):
            raise InvalidArgument("a sparse volume without voxels has no bounds")
        ends = self.runs[:, :3].astype(np.int64) + 1
        ends[:, 0] += self.runs[:, 3] - 1
        (x0, y0, z0), (x1, y1, z1) = self.runs[:, :3].min(axis=0).tolist(), ends.max(axis=0).tolist()
        return (x0, y0, z0), (x1, y1, z1)

    def coordinates(self) -> npt.NDArray[np.int32]:
        """(voxels, 3): x, y, z of each."""
        found: npt.NDArray[np.int32] = np.repeat(self.runs[:, :3], self.runs[:, 3], axis=0)
        first = np.cumsum(self.runs[:, 3], dtype=np.int64) - self.runs[:, 3]
        found[:, 0] += (np.arange(len(found)) - np.repeat(first, self.runs[:, 3])).astype(np.int32)
        return found

    def mask(self, start: Vec3 | None = None, stop: Vec3 | None = None) -> npt.NDArray[np.bool_]:
        """Which voxels of a box (x, y, z), by default the smallest, it has; Fortran order.

        Raises:
            InvalidArgument: the box is none, or has over 2^34 voxels.
        """
        low, high = (start, stop) if start is not None and stop is not None else self.bounds()
        size = [b - a for a, b in zip(low, high, strict=True)]
        if min(size) <= 0 or size[0] * size[1] * size[2] > MOST_MASK_VOXELS:
            raise InvalidArgument(f"a mask from {low} to {high}: 1 to {MOST_MASK_VOXELS} voxels are allowed")
        mask = np.zeros(size, np.bool_, order="F")
        relative = self.runs[:, :3].astype(np.int64) - low
        inside = ((relative[:, 1:] >= 0) & (relative[:, 1:] < size[1:])).all(axis=1)
        for (x, y, z), length in zip(relative[inside].tolist(), self.runs[inside, 3].tolist(), strict=True):
            mask[max(x, 0) : max(x + length, 0), y, z] = True
        return mask


def decode_rles(reply: Reply) -> SparseVolume:
    """DVID's runs with their header: byte 0 = 0, 3 dimensions, along axis 0, 0; uint32 0; uint32 number of runs.

    No body at all means no voxels. Runs are int32 x, y, z, length; their order is not specified.
    """
    body = reply.body
    if not body:
        return SparseVolume(np.empty((0, 4), np.int32))
    if bytes(body[:4]) != b"\0\x03\0\0":
        raise ValueError(f"runs that begin with {bytes(body[:4]).hex()}, expected 00030000")
    count = int.from_bytes(body[8:12], "little")
    if len(body) != _HEADER_BYTES + _RUN_BYTES * count:
        raise ValueError(f"{len(body)} bytes, expected {_HEADER_BYTES + _RUN_BYTES * count} of {count} runs")
    runs = np.frombuffer(body, "<i4", offset=_HEADER_BYTES).reshape(-1, 4).astype(np.int32)
    if len(runs) and runs[:, 3].min() < 1:
        raise ValueError(f"a run of {runs[:, 3].min()} voxels")
    if len(runs) and (runs[:, 0].astype(np.int64) + runs[:, 3]).max() > 2**31:
        raise ValueError("a run that ends beyond 2^31")
    return SparseVolume(runs[np.lexsort(runs.T[:3])])
