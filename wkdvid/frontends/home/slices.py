"""Slices of a layer as pictures: which voxels a plane shows, and what they look like.

A plane is shown whole, at the finest level at which it fits into a picture. Positions count voxels of mag 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wkdvid.codecs.images import SliceFormat, encode_slice
from wkdvid.core.body_cache import Body
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import AUTOMATIC, Tone, paint
from wkdvid.core.pyramid import Scale
from wkdvid.core.sampling import find_data
from wkdvid.core.services import Services
from wkdvid.core.volume import Array
from wkdvid.errors import InvalidRequest, NotFound

SIDE = 512
"""Pixels of a slice, at most."""
CARD = (480, 320)
"""Width and height in pixels, at most, of the picture in a card."""
AXES = "xyz"
JPEG, PNG = SliceFormat("jpeg", 88), SliceFormat("png")


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane along two axes (0 to 2), and the axis that it is moved along."""

    right: int
    down: int
    across: int

    @property
    def name(self) -> str:
        return AXES[self.right] + AXES[self.down]


PLANES: Mapping[str, Plane] = {plane.name: plane for plane in (Plane(0, 1, 2), Plane(2, 1, 0), Plane(0, 2, 1))}
"""``zy`` stands right of ``xy`` and has its y, ``xz`` below it and has its x."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What a slice shows."""

    plane: Plane
    scale: Scale
    box: Box
    """One voxel deep, in voxels of the scale."""

    @property
    def shown(self) -> Box:
        """In voxels of mag 1."""
        return self.box.scaled_up(self.scale.mag)


def find_plane(name: str) -> Plane:
    """
    Raises:
        NotFound: it is none of ``PLANES``.
    """
    if name not in PLANES:
        raise NotFound(f"there is no plane {name[:20]!r}; there are {', '.join(PLANES)}")
    return PLANES[name]


def whole_of(layer: Layer) -> Box:
    """The layer's extent, in voxels of mag 1."""
    finest = layer.info.levels[0]
    return finest.extent.scaled_up(finest.mag)


def middle_of(box: Box) -> Vec3:
    x, y, z = ((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
    return (x, y, z)


def cut(layer: Layer, plane: Plane, at: int) -> Cut:
    """The slice at a position; what is larger than a picture at every scale is cut to its middle.

    Raises:
        InvalidRequest: the position is outside the layer.
    """
    whole = whole_of(layer)
    first, stop = whole.start[plane.across], whole.stop[plane.across]
    if not first <= at < stop:
        raise InvalidRequest(f"at: expected {AXES[plane.across]} from {first} to {stop - 1}, got {at}")
    scale = _scale_of(layer, plane)
    start, size = _middle_part(scale.extent, plane, (SIDE, SIDE))
    start[plane.across] = at // scale.mag[plane.across]
    return Cut(plane, scale, _one_deep(start, size))


def _scale_of(layer: Layer, plane: Plane) -> Scale:
    """The finest stored level at which the plane fits into a picture; else the coarsest, halved along the plane."""
    stored = [layer.scales[level.mag] for level in layer.info.levels]
    scale = next((one for one in stored if not _too_long(one, plane)), stored[-1])
    while long := _too_long(scale, plane):
        x, y, z = (2 * n if axis in long else n for axis, n in enumerate(scale.mag))
        halved = layer.scale((x, y, z))
        if halved is None:
            break
        scale = halved
    return scale


def _too_long(scale: Scale, plane: Plane) -> Sequence[int]:
    """The plane's axes along which there are too many voxels for a picture."""
    return [axis for axis in (plane.right, plane.down) if scale.extent.size[axis] > SIDE]


def _middle_part(extent: Box, plane: Plane, largest: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Start and size (x, y, z) of a part around the middle, one voxel deep."""
    start, size = list(middle_of(extent)), [1, 1, 1]
    for axis, most in zip((plane.right, plane.down), largest, strict=True):
        size[axis] = min(extent.size[axis], most)
        start[axis] = extent.start[axis] + (extent.size[axis] - size[axis]) // 2
    return start, size


def _one_deep(start: list[int], size: list[int]) -> Box:
    return Box.at((start[0], start[1], start[2]), (size[0], size[1], size[2]))


def format_of(layer: Layer) -> SliceFormat:
    """Segments must not be blurred."""
    return PNG if layer.info.category == "segmentation" else JPEG


async def slice_picture(services: Services, layer: Layer, wanted: Cut, tone: Tone) -> Body:
    """
    Raises:
        TooLarge: it needs more voxels than a request may read.
        BackendError: it cannot be read.
    """

    async def make() -> Body:
        return await _encoded(services, layer, wanted.plane, tone, await _read(services, layer, wanted))

    return await services.kept((wanted.scale.id, "slice", wanted.box, wanted.plane, tone), make)


async def card_picture(services: Services, layer: Layer) -> Body:
    """The middle of the layer; where there is nothing, a place where there is something.

    Raises:
        TooLarge, BackendError: as ``slice_picture``.
    """
    scales = [layer.scales[mag] for mag in layer.mags]
    scale = next((one for one in reversed(scales) if _fills(one.extent)), scales[0])
    plane = PLANES["xy"]
    start, size = _middle_part(scale.extent, plane, CARD)

    async def make() -> Body:
        with one_deadline():
            voxels = await _read(services, layer, Cut(plane, scale, _one_deep(start, size)))
            if not voxels.any() and (found := await find_data(services, layer)) is not None:
                voxels = await _read(services, layer, Cut(plane, scale, _around(found[0], scale, start, size)))
        return await _encoded(services, layer, plane, _tone_of(voxels, layer), voxels)

    return await services.kept((scale.id, "card"), make)


def _fills(extent: Box) -> bool:
    return all(have >= wanted for have, wanted in zip(extent.size, CARD, strict=False))


def _around(position: Vec3, scale: Scale, start: list[int], size: list[int]) -> Box:
    """The slice of this size that has a position in it, and lies inside the extent."""
    moved = list(start)
    for axis in range(3):
        wanted = position[axis] // scale.mag[axis] - size[axis] // 2
        moved[axis] = max(scale.extent.start[axis], min(wanted, scale.extent.stop[axis] - size[axis]))
    return _one_deep(moved, size)


def _tone_of(voxels: Array, layer: Layer) -> Tone:
    """From the darkest to the brightest values that are in the picture, but for a few."""
    there = voxels[(voxels != 0) & np.isfinite(voxels)]
    if layer.info.category == "segmentation" or layer.info.num_channels > 1 or not there.size:
        return AUTOMATIC
    low, high = np.percentile(there, (0.5, 99.5))
    return Tone(float(low), float(high)) if low < high else AUTOMATIC


async def _read(services: Services, layer: Layer, wanted: Cut) -> Array:
    """Voxels (c, x, y, z), one deep."""
    services.reader.check(wanted.scale, services.reader.source_voxels(wanted.scale, wanted.box))
    return await services.reader.read(layer, wanted.scale, wanted.box)


async def _encoded(services: Services, layer: Layer, plane: Plane, tone: Tone, voxels: Array) -> Body:
    """
    Args:
        voxels: (c, x, y, z), one deep across the plane.
    """
    flat = np.moveaxis(voxels, [1 + plane.right, 1 + plane.down, 1 + plane.across], [1, 2, 3])[..., 0]
    return await services.apart(lambda: encode_slice(paint(flat, layer.info, tone), format_of(layer)))
