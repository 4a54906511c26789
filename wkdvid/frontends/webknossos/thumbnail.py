"""Pictures of a layer for the dashboard: one slice across z."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wkdvid.core.geometry import Box, Vec3, divide_down, mag_text
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import Color, Tone
from wkdvid.core.pyramid import Scale
from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.frontends.webknossos import parse

MAX_SIDE = 5000
"""Pixels, as the real server has it."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    size: tuple[int, int]
    """Width and height in pixels, which are voxels of the mag."""
    mag: Vec3 | None
    """None: one in which the layer fills the picture."""
    corner: Vec3 | None
    """First voxel, in voxels of mag 1; None: the layer's centre is in the middle."""
    tone: Tone


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
        Tone(low, high, _color(args.get("color")), args.get("invertColor") == "true"),
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
