"""The middle of a layer as a PNG."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wkdvid.codecs.images import SliceFormat, encode_slice
from wkdvid.core.geometry import Box
from wkdvid.core.volume import Array, LayerInfo, Volume

SIDE = 1024
"""Pixels at most."""
DARKEST = 64
"""Of a colour of a segment: black is where there is none."""


async def middle_slice(volume: Volume, side: int = SIDE) -> bytes:
    """The xy slice in the middle of the finest level that fits into the picture, else the middle of the coarsest.

    Images are gray (other types than uint8 stretched from their least to their greatest value) or RGB; segments have
    colours by their id.

    Args:
        side: Pixels at most, along x and y.
    Raises:
        BackendError: it cannot be read.
    """
    level, box = _place(volume.info, side)
    voxels = await volume.read(level, box)
    return encode_slice(pixels(voxels[..., 0], volume.info), SliceFormat("png"))


def _place(info: LayerInfo, side: int) -> tuple[int, Box]:
    extents = [level.extent for level in info.levels]
    level = next((i for i, extent in enumerate(extents) if max(extent.size[:2]) <= side), len(extents) - 1)
    (a, b, c), (x, y, z) = extents[level].start, extents[level].size
    width, height = min(x, side), min(y, side)
    start = (a + (x - width) // 2, b + (y - height) // 2, c + z // 2)
    return level, Box.at(start, (width, height, 1))


def pixels(voxels: Array, info: LayerInfo) -> npt.NDArray[np.uint8]:
    """
    Args:
        voxels: (c, x, y).
    Returns:
        (y, x) of gray, or (y, x, 3) of RGB.
    """
    if info.category == "segmentation" and info.dtype.kind != "f":
        return _colours(voxels[0].T)
    if info.num_channels > 1:
        return np.ascontiguousarray(voxels.T)
    return np.ascontiguousarray(voxels[0].T if info.dtype == np.uint8 else _stretched(voxels[0].T))


def _stretched(values: Array) -> npt.NDArray[np.uint8]:
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64) / 2  # so that no difference is infinite
    low, high = finite.min(), finite.max()
    gray: npt.NDArray[np.uint8] = ((finite - low) * (255 / max(high - low, 1e-300))).astype(np.uint8)
    return gray


def _colours(ids: Array) -> npt.NDArray[np.uint8]:
    """By splitmix64 of the id, whose bytes are as good as random: neighbours differ, and an id is always alike."""
    mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    channels = [(mixed >> np.uint64(8 * i)) & np.uint64(0xFF) for i in range(3)]
    rgb = DARKEST + np.stack(channels, axis=-1) * np.uint64(255 - DARKEST) // np.uint64(255)
    rgb[ids == 0] = 0
    return rgb.astype(np.uint8)
