"""Pictures of a layer for the dashboard: one slice across z."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wkdvid.core.geometry import Box, Vec3, divide_down, mag_text
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.volume import Array, LayerInfo
from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.frontends.webknossos import parse

MAX_SIDE = 5000
"""Pixels, as the real server has it."""
BAND = 64
"""Rows painted at a time: what that takes beside picture and voxels stays small."""
GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: multiples of it spread neighbouring ids over all colours (Knuth)."""
DARKEST = 0x40
"""Of a segment's channels, so that none looks like background."""

Color: TypeAlias = tuple[int, int, int]
Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    size: tuple[int, int]
    """Width and height in pixels, which are voxels of the mag."""
    mag: Vec3 | None
    """None: one in which the layer fills the picture."""
    corner: Vec3 | None
    """First voxel, in voxels of mag 1; None: the layer's centre is in the middle."""
    low: float | None
    """The value that is shown black; None: as the type or the picture has it."""
    high: float | None
    color: Color | None
    """What is shown instead of white."""
    inverted: bool


def parse_thumbnail(args: Mapping[str, Any]) -> Thumbnail:
    """
    Raises:
        InvalidRequest: a parameter that is missing or out of its range.
    """
    size = check_size(args)
    mag, placed = args.get("mag"), [name for name in "xyz" if name in args]
    if placed and mag is None:
        raise InvalidRequest("mag: missing; it is needed with x, y, z")
    low, high = (parse.number(args, name) for name in ("intensityMin", "intensityMax"))
    if low is not None and high is not None and low >= high:
        raise InvalidRequest(f"intensityMin: expected less than intensityMax, {high:g}, got {low:g}")
    return Thumbnail(
        size,
        parse.mag_literal(mag) if mag is not None else None,
        parse.position(args) if placed else None,
        low,
        high,
        _color(args.get("color")),
        args.get("invertColor") == "true",
    )


def check_size(args: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height in pixels.

    Raises:
        InvalidRequest: one is missing or out of its range.
    """
    size = (parse.integer(args, "width"), parse.integer(args, "height"))
    if not all(0 < n <= MAX_SIDE for n in size):
        raise InvalidRequest(f"width and height: expected whole numbers from 1 to {MAX_SIDE}, got {list(size)}")
    return size


def _color(text: str | None) -> Color | None:
    if text is None:
        return None
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        raise InvalidRequest(f"color: expected #rrggbb, got {text[:20]!r}")
    red, green, blue = bytes.fromhex(text[1:])
    return (red, green, blue)


def place(layer: Layer, wanted: Thumbnail) -> tuple[Scale, Box]:
    """The scale and the box in its voxels, one deep, that a thumbnail shows.

    Raises:
        NotFound: the layer has no such mag.
    """
    width, height = wanted.size
    scale = layer.scale(wanted.mag) if wanted.mag is not None else _filling(layer, width, height)
    if scale is None:
        raise NotFound(f"mag: layer {layer.info.name!r} has {', '.join(map(mag_text, layer.mags))}")
    if wanted.corner is not None:
        return scale, Box.at(divide_down(wanted.corner, scale.mag), (width, height, 1))
    x, y, z = ((a + b) // 2 for a, b in zip(scale.extent.start, scale.extent.stop, strict=True))
    return scale, Box.at((x - width // 2, y - height // 2, z), (width, height, 1))


def _filling(layer: Layer, width: int, height: int) -> Scale:
    """The coarsest mag in which the layer is no smaller than the picture, else the finest."""
    scales = [layer.scales[mag] for mag in layer.mags]
    large = [scale for scale in scales if scale.extent.size[0] >= width and scale.extent.size[1] >= height]
    return large[-1] if large else scales[0]


def paint(voxels: Array, info: LayerInfo, wanted: Thumbnail) -> Pixels:
    """Pixels (height, width) of gray or (height, width, 3) of colour.

    Images go from black to white between the wanted intensities; where there is none, from 0 to 255 for 8 bits, for
    other types over the values that are in the picture. Segments have a colour each; 0 is black.

    Args:
        voxels: (c, x, y, 1).
    """
    rows = voxels[..., 0].T  # (y, x, c)
    if info.category == "segmentation":
        return _in_bands(rows, _color_of_ids)
    low, high = _intensities(rows, wanted)
    factors = None if wanted.color is None else np.array(wanted.color, np.float64) / 255

    def paint_band(band: Array) -> Pixels:
        share = np.clip((np.nan_to_num(band.astype(np.float64), posinf=high, neginf=low) - low) / (high - low), 0, 1)
        share = 1 - share if wanted.inverted else share
        return np.rint(255 * (share if factors is None else share * factors)).astype(np.uint8)

    return _in_bands(rows, paint_band)


def see_through(pixels: Pixels) -> Pixels:
    """Segments (height, width, 3) with alpha as a fourth channel, 0 where there is none."""
    return np.dstack([pixels, np.where(pixels.any(axis=2), 255, 0).astype(np.uint8)])


def _in_bands(rows: Array, paint_band: Callable[[Array], Pixels]) -> Pixels:
    painted = [paint_band(rows[start : start + BAND]) for start in range(0, len(rows), BAND)]
    pixels = np.concatenate(painted)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _intensities(rows: Array, wanted: Thumbnail) -> tuple[float, float]:
    """What is shown black and what white."""
    low, high = (0.0, 255.0) if rows.dtype == np.uint8 else _range_of(rows)
    low = low if wanted.low is None else wanted.low
    high = high if wanted.high is None else wanted.high
    return low, max(high, np.nextafter(low, np.inf))


def _range_of(rows: Array) -> tuple[float, float]:
    """Of the finite values that are not 0: there may be no data."""
    finite = rows[(rows != 0) & np.isfinite(rows)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _color_of_ids(ids: Array) -> Pixels:
    spread = ids.astype(np.uint64) * np.uint64(GOLDEN)
    channels = np.concatenate([spread >> np.uint64(shift) for shift in (56, 48, 40)], axis=2)
    return np.where(ids == 0, 0, channels.astype(np.uint8) | DARKEST).astype(np.uint8)
