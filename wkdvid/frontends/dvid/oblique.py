"""``arb``: slices at any angle, which lie between the voxels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wkdvid.codecs import images
from wkdvid.codecs.interpolation import trilinear
from wkdvid.core.concurrent import for_each
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Float3
from wkdvid.core.volume import Array
from wkdvid.errors import InvalidRequest, TooLarge
from wkdvid.frontends.dvid import parse, wire
from wkdvid.frontends.dvid.calls import Answer, Call
from wkdvid.frontends.dvid.instances import VoxelInstance

TILE_PIXELS = 64 * 64
TILE_VOXELS = 96**3
"""Of the box around a tile: a plane through a cube at the worst angle."""
AT_A_TIME = 4
LARGEST_PLACE = 2.0**31
EDGE = 1e-6
"""Voxels: places are rounded differently when they are reckoned alone."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A rectangle in space, in voxels."""

    corner: Float3
    """Of the first pixel."""
    right: Float3
    """From a pixel to the next one in its row."""
    down: Float3
    """From a row to the next one."""
    width: int
    height: int

    def points(self, tile: Tile) -> NDArray[np.float64]:
        """(height, width, 3) of the tile's pixels."""
        columns, rows = np.arange(*tile.columns)[:, None], np.arange(*tile.rows)[:, None, None]
        places: NDArray[np.float64] = (
            np.array(self.corner) + columns * np.array(self.right) + rows * np.array(self.down)
        )
        return places

    def box(self, tile: Tile) -> Box:
        """All voxels around the tile's pixels."""
        (x0, x1), (y0, y1) = tile.columns, tile.rows
        low, high = [], []
        for corner, right, down in zip(self.corner, self.right, self.down, strict=True):
            across, along = (right * x0, right * (x1 - 1)), (down * y0, down * (y1 - 1))
            low.append(math.floor(corner + min(across) + min(along) - EDGE))
            high.append(math.ceil(corner + max(across) + max(along) + EDGE) + 1)
        return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of the image, from the first column and row to that after the last."""

    columns: tuple[int, int]
    rows: tuple[int, int]


async def arb(call: Call[VoxelInstance]) -> Answer:
    """
    Raises:
        InvalidRequest, UnsupportedRequest: in DVID's words where it has some.
        TooLarge: more pixels or voxels than one request may have.
        BackendError: it could not be read.
    """
    instance, services = call.instance, call.services
    plane = parse_plane(call.parts, instance.voxel_sides(instance.scale))
    image_format = images.parse_format(call.parts[4] if len(call.parts) > 4 else "")
    size = plane.width * plane.height * instance.voxel_bytes
    parse.check_payload(size, services.limits)
    if size > services.limits.unstreamed_bytes:
        raise TooLarge(
            f"the image has {size} bytes, the limit is {services.limits.unstreamed_bytes} (limits.unstreamed_bytes)"
        )
    found = await services.apart(_plan, plane, services.limits.blocks + 1)
    parse.check_count(len(found), services.limits)
    services.reader.check(instance.scale, sum(services.reader.source_voxels(instance.scale, box) for _, box in found))
    info = instance.layer.info
    pixels = np.zeros((plane.height, plane.width, info.num_channels), info.dtype)

    async def draw(one: tuple[Tile, Box]) -> None:
        tile, box = one
        array = await services.reader.read(instance.layer, instance.scale, box)
        values = await services.apart(_values, array, box, plane.points(tile))
        pixels[slice(*tile.rows), slice(*tile.columns)] = values

    with one_deadline():
        await for_each(draw, found, AT_A_TIME)
    body = await services.apart(_encoded, pixels, instance.typename, image_format)
    return Answer(body, image_format.media_type)


def parse_plane(parts: Sequence[str], voxel_sides: Float3) -> Plane:
    """``<top-left>/<top-right>/<bottom-left>/<res>``, corners as ``x_y_z``; all in nanometres, as DVID has it.

    Raises:
        InvalidRequest: they are none.
    """
    if len(parts) < 4:
        raise InvalidRequest('"arb" must be followed by top-left/top-right/bottom-left/res')
    corner, right, down = (np.array(_place(text)) for text in parts[:3])
    resolution = _number(parts[3])
    if resolution <= 0:
        raise InvalidRequest(f"res: {parts[3][:80]!r} is no number of nanometres above 0")
    sides = np.array(voxel_sides)
    places = [point / sides for point in (corner, right, down)]
    if max(abs(place).max() for place in places) >= LARGEST_PLACE:
        raise InvalidRequest("the corners are farther away than 32 bits can count voxels")
    lengths = [math.dist(end, corner) / resolution for end in (right, down)]
    if max(lengths) >= LARGEST_PLACE:
        raise InvalidRequest(f"res: at {parts[3][:80]!r} nm the image has more pixels along a side than 32 bits count")
    width, height = map(int, lengths)
    start, columns, rows = places
    return Plane(
        _float3(start),
        _float3((columns - start) / max(width, 1)),
        _float3((rows - start) / max(height, 1)),
        width + 1,
        height + 1,
    )


def tiles(plane: Plane) -> Iterator[Tile]:
    """Parts of the image each of which lies in a box that is not large."""
    waiting = [Tile((0, plane.width), (0, plane.height))]
    while waiting:
        tile = waiting.pop()
        (a, b), (c, d) = tile.columns, tile.rows
        pixels = (b - a) * (d - c)
        if pixels == 1 or (pixels <= TILE_PIXELS and plane.box(tile).voxels <= TILE_VOXELS):
            yield tile
        elif b - a >= d - c:
            middle = (a + b) // 2
            waiting += [Tile((middle, b), tile.rows), Tile((a, middle), tile.rows)]
        else:
            middle = (c + d) // 2
            waiting += [Tile(tile.columns, (middle, d)), Tile(tile.columns, (c, middle))]


def _plan(plane: Plane, most: int) -> Sequence[tuple[Tile, Box]]:
    return [(tile, plane.box(tile)) for tile in itertools.islice(tiles(plane), most)]


def _place(text: str) -> Float3:
    words = text.split("_")
    if len(words) != 3:
        raise InvalidRequest(f"cannot convert {text[:80]!r} into a 3d vector: write x_y_z")
    x, y, z = map(_number, words)
    return (x, y, z)


def _number(text: str) -> float:
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(f'strconv.ParseFloat: parsing "{text[:80]}": invalid syntax')
    return number


def _values(array: Array, box: Box, points: NDArray[np.float64]) -> Array:
    return trilinear(array, points - np.array(box.start))


def _encoded(pixels: Array, typename: str, image_format: images.SliceFormat) -> bytes:
    array = pixels.T[..., None]
    whole = Box((0, 0, 0), (*pixels.shape[1::-1], 1))
    sent = wire.as_sent(array, typename, whole, whole)
    return images.encode_slice(wire.slice_pixels(sent, (0, 1)), image_format)


def _float3(values: NDArray[np.float64]) -> Float3:
    x, y, z = values.tolist()
    return (x, y, z)
