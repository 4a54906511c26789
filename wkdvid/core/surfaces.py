"""Surfaces of segments, made of voxels when they are asked for: of a cube, or of all cubes that the segment leads to.

A cube is a box of voxels of some scale whose last plane along each axis is the first one of the next cube: so every
gap between two neighbouring voxels lies in one cube, and the cubes' surfaces fit each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wkdvid.codecs.surface import placed, surfaces
from wkdvid.core.geometry import Box, Float3, Vec3, divide_down, multiply
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.segments import Soup
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest, NotFound, TooLarge

NEIGHBORS: Sequence[Vec3] = ((0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
"""Where the neighbour of each number lies, as webKnossos numbers them."""
CUBE: Vec3 = (128, 128, 128)
"""Voxels from one cube to the next, where we choose; one more along each axis is read."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Of a segment in one cube."""

    mask: npt.NDArray[np.bool_]
    """(x, y, z): the segment's voxels."""
    start: Vec3
    """The first voxel of the cube."""
    voxel_size: Float3
    """Positions are multiplied by it; a voxel lies where its index does."""

    @property
    def neighbors(self) -> list[int]:
        """Numbers of those in which the surface goes on: that share a voxel of the segment."""
        planes = [
            self.mask[:, :, 0],
            self.mask[:, 0],
            self.mask[0],
            self.mask[:, :, -1],
            self.mask[:, -1],
            self.mask[-1],
        ]
        return [i for i, plane in enumerate(planes) if plane.any()]

    async def triangles(self, services: Services) -> AsyncIterator[Soup]:
        """In pieces; each is made when the one before it has been taken."""
        pieces = (placed(piece, 1, self.start, self.voxel_size) for piece in surfaces(self.mask))
        while (piece := await services.apart(next, pieces, None)) is not None:
            yield piece


async def read_surface(
    services: Services, layer: Layer, scale: Scale, box: Box, segment: int, voxel_size: Float3
) -> Surface:
    """
    Args:
        box: In voxels of ``scale``.
        voxel_size: Of the scale, in the unit that is wanted.
    Raises:
        TooLarge: the box is larger than what a request may read or hold.
        InvalidRequest: the layer is no segmentation, or the segment is the background.
        BackendError: it cannot be read.
    """
    if layer.info.category != "segmentation":
        raise InvalidRequest(f"layer {layer.info.name!r} is no segmentation: it has no segments")
    if segment == 0:
        raise InvalidRequest("segmentId: 0 is the background, which has no surface")
    size, limit = box.voxels * layer.info.voxel_bytes, services.limits.working_bytes
    if size > limit:
        raise TooLarge(f"the cube has {size} bytes, the limit is {limit} (limits.working_bytes); ask for a smaller one")
    services.reader.check(scale, services.reader.source_voxels(scale, box))
    voxels = await services.reader.read(layer, scale, box)
    return Surface(await services.apart(np.equal, voxels[0], segment), box.start, voxel_size)


async def whole_surface(
    services: Services, layer: Layer, scale: Scale, seed: Vec3, segment: int, voxel_size: Float3
) -> AsyncIterator[Soup]:
    """The surface of what of a segment hangs together with the cube around a voxel.

    Args:
        seed: In voxels of ``scale``.
    Raises:
        NotFound: the segment has no voxel in that cube.
        TooLarge: the cubes need more voxels than a request may read.
        BackendError: one of them cannot be read.
    """
    waiting = [divide_down(seed, CUBE)]
    seen = {*waiting}
    cost = 0
    while waiting:
        index = waiting.pop()
        box = Box.at(multiply(index, CUBE), (CUBE[0] + 1, CUBE[1] + 1, CUBE[2] + 1))
        cost += services.reader.source_voxels(scale, box)
        services.reader.check(scale, cost)
        surface = await read_surface(services, layer, scale, box, segment, voxel_size)
        if len(seen) == 1 and not surface.mask.any():
            raise NotFound(f"segmentId: there is no voxel of segment {segment} in voxels {box.start} to {box.stop}")
        async for piece in surface.triangles(services):
            yield piece
        steps = (NEIGHBORS[number] for number in surface.neighbors)
        found = {(index[0] + x, index[1] + y, index[2] + z) for x, y, z in steps} - seen
        seen |= found
        waiting += sorted(found)
