"""The middle of a layer as a PNG."""

from __future__ import annotations

from wkdvid.codecs.images import SliceFormat, encode_slice
from wkdvid.core.geometry import Box
from wkdvid.core.pictures import paint
from wkdvid.core.volume import LayerInfo, Volume

SIDE = 1024
"""Pixels at most."""


async def middle_slice(volume: Volume, side: int = SIDE) -> bytes:
    """The xy slice in the middle of the finest level that fits into the picture, else the middle of the coarsest.

    As ``core.pictures`` paints it, with its range of values.

    Args:
        side: Pixels at most, along x and y.
    Raises:
        BackendError: it cannot be read.
    """
    level, box = _place(volume.info, side)
    voxels = await volume.read(level, box)
    return encode_slice(paint(voxels[..., 0], volume.info), SliceFormat("png"))


def _place(info: LayerInfo, side: int) -> tuple[int, Box]:
    extents = [level.extent for level in info.levels]
    level = next((i for i, extent in enumerate(extents) if max(extent.size[:2]) <= side), len(extents) - 1)
    (a, b, c), (x, y, z) = extents[level].start, extents[level].size
    width, height = min(x, side), min(y, side)
    start = (a + (x - width) // 2, b + (y - height) // 2, c + z // 2)
    return level, Box.at(start, (width, height, 1))
