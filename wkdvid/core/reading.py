"""Reading a box at any offered scale, stored or computed, within the working memory of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import numpy as np

from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3, ceil_div, volume_of
from wkdvid.core.layers import Layer
from wkdvid.core.limits import Limits
from wkdvid.core.pyramid import Scale, downsample
from wkdvid.core.volume import Array, Volume
from wkdvid.errors import BackendError, TooLarge


class Reader:
    """Reads scales of layers. Computing lower resolutions happens in ``executor``, off the event loop."""

    def __init__(self, limits: Limits, executor: Executor) -> None:
        self._limits = limits
        self._executor = executor

    def source_voxels(self, scale: Scale, box: Box) -> int:
        """How many stored voxels a box costs; what lies outside the extent costs nothing."""
        inside = box.intersect(scale.extent)
        return inside.voxels * volume_of(scale.factors) if inside is not None else 0

    def check(self, scale: Scale, voxels: int) -> None:
        """
        Raises:
            TooLarge: so many source voxels are more than one request may read.
        """
        if voxels > self._limits.request_voxels:
            raise TooLarge(
                f"the request reads {voxels} voxels of mag {'-'.join(map(str, scale.mag))} and its source, "
                f"the limit is {self._limits.request_voxels} (limits.request_voxels)"
            )

    async def read(self, layer: Layer, scale: Scale, box: Box) -> Array:
        """Read one box, in voxels of ``scale``.

        Returns:
            (c, x, y, z), Fortran-contiguous, as ``Volume.read``. Do not write to it.
        Raises:
            BackendError: as ``Volume.read``.
        """
        return await self.read_volume(layer.volume, scale, box)

    async def read_volume(self, volume: Volume, scale: Scale, box: Box) -> Array:
        """As ``read``, of a volume that is in no dataset; ``scale`` is one of its levels."""
        if scale.stored:
            return await volume.read(scale.level, box)
        out = np.zeros((volume.info.num_channels, *box.size), volume.info.dtype, order="F")
        inside = box.intersect(scale.extent)
        if inside is not None:
            with one_deadline():
                for part in self._parts(volume, scale, inside):
                    out[_within(part, box)] = await self._compute(volume, scale, part)
        return out

    async def read_all(self, layer: Layer, scale: Scale, boxes: Sequence[Box]) -> Sequence[Array | BackendError]:
        """Read many boxes, in voxels of ``scale``: for each what ``read`` returns, or what it would raise.

        All of them are held at a time, so the caller sees to it that they fit into the working memory.
        """
        if scale.stored:
            return await layer.volume.read_all(scale.level, boxes)
        with one_deadline():
            return [await self._outcome(layer, scale, box) for box in boxes]

    async def _outcome(self, layer: Layer, scale: Scale, box: Box) -> Array | BackendError:
        try:
            return await self.read(layer, scale, box)
        except BackendError as error:
            return error

    def batch(self, item_bytes: int) -> int:
        """How many boxes of that size to ``read_all``: half the working memory; the rest is for what they become."""
        return max(self._limits.working_bytes // 2 // item_bytes, 1)

    def _parts(self, volume: Volume, scale: Scale, box: Box) -> Iterator[Box]:
        """Cut a box until the source voxels of each part fit into the working memory."""
        if box.voxels * volume_of(scale.factors) * volume.info.voxel_bytes <= self._limits.working_bytes // 4:
            yield box
            return
        axis = box.size.index(max(box.size))
        middle = list(box.stop)
        middle[axis] = box.start[axis] + ceil_div(box.size[axis], 2)
        if tuple(middle) == box.stop:
            yield box
            return
        first = list(box.start)
        first[axis] = middle[axis]
        yield from self._parts(volume, scale, Box(box.start, (middle[0], middle[1], middle[2])))
        yield from self._parts(volume, scale, Box((first[0], first[1], first[2]), box.stop))

    async def _compute(self, volume: Volume, scale: Scale, box: Box) -> Array:
        wanted = box.scaled_up(scale.factors)
        source = await volume.read(scale.level, wanted)
        extent = volume.info.levels[scale.level].extent
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, downsample, source, wanted.start, scale.factors, extent, volume.info.category
        )


def slabs(box: Box, bytes_per_voxel: int, slab_bytes: int, multiple: int = 1) -> Iterator[Box]:
    """Cut a box along z into slabs that are contiguous in its Fortran-ordered body.

    Args:
        multiple: Slab borders are whole multiples of this many voxels, where the budget allows.
    """
    plane = box.size[0] * box.size[1] * bytes_per_voxel
    depth = max(slab_bytes // max(plane, 1), 1)
    depth = depth // multiple * multiple or depth
    start = box.start[2]
    while start < box.stop[2]:
        stop = min((start // depth + 1) * depth if depth >= multiple else start + depth, box.stop[2])
        yield Box((*box.start[:2], start), (*box.stop[:2], stop))
        start = stop


def _within(part: Box, whole: Box) -> tuple[slice, ...]:
    start: Vec3 = part.start
    return (
        slice(None),
        *(slice(a - o, b - o) for a, b, o in zip(start, part.stop, whole.start, strict=True)),
    )
