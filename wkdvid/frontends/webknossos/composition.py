"""Pictures of several layers of a dataset, one over the other (webknossos.md B.7: the thumbnail that is POSTed)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkdvid.core.pictures import BAND, Pixels, paint
from wkdvid.core.volume import Array, LayerInfo
from wkdvid.errors import InvalidRequest, TooLarge
from wkdvid.frontends.webknossos.thumbnail import MAX_SIDE, Thumbnail, check_size, parse_thumbnail

MAX_LAYERS = 64
MAX_PIXELS = 4 * MAX_SIDE**2
"""Of all layers together, before they are stretched."""
BLEND_MODES = ("Additive", "Cover")
OPAQUE = 100.0
"""Opacities are percentages."""


@dataclass(frozen=True, slots=True)
class Part:
    layer: str
    picture: Thumbnail
    opacity: float
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class Composition:
    size: tuple[int, int]
    """Width and height in pixels; each part is stretched to it."""
    parts: tuple[Part, ...]
    """From bottom to top; segmentations lie above all others."""
    additive: bool
    """Whether images are added up; else each covers those below it."""


def parse_composition(body: Any) -> Composition:
    """
    Raises:
        InvalidRequest: a member that is missing or out of its range.
        TooLarge: the layers have too many pixels.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("expected a JSON object")
    layers, mode = body.get("layers"), body.get("blendMode", BLEND_MODES[0])
    if not isinstance(layers, list) or not 0 < len(layers) <= MAX_LAYERS:
        raise InvalidRequest(f"layers: expected a list of 1 to {MAX_LAYERS} objects")
    if mode not in BLEND_MODES:
        raise InvalidRequest(f"blendMode: expected one of {', '.join(BLEND_MODES)}")
    parts = tuple(_part(part, i) for i, part in enumerate(layers))
    pixels = sum(width * height for width, height in (part.picture.size for part in parts))
    if pixels > MAX_PIXELS:
        raise TooLarge(f"layers: {pixels} pixels in all, the limit is {MAX_PIXELS}")
    return Composition(check_size(_texts(body)), parts, mode == BLEND_MODES[0])


def _part(part: Any, i: int) -> Part:
    if not isinstance(part, dict) or not isinstance(part.get("dataLayerName"), str):
        raise InvalidRequest(f"layers[{i}].dataLayerName: expected the name of a layer")
    opacity = part.get("opacity", OPAQUE)
    if isinstance(opacity, bool) or not isinstance(opacity, int | float) or not 0 <= opacity <= OPAQUE:
        raise InvalidRequest(f"layers[{i}].opacity: expected a number from 0 to 100")
    try:
        return Part(part["dataLayerName"], parse_thumbnail(_texts(part)), opacity / OPAQUE)
    except InvalidRequest as error:
        raise InvalidRequest(f"layers[{i}].{error}") from None


def _texts(members: Mapping[str, Any]) -> dict[str, str]:
    """Members as a query would have them."""
    given = {name: value for name, value in members.items() if value is not None}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


class Canvas:
    """What has been painted so far; black at first."""

    def __init__(self, composition: Composition) -> None:
        width, height = composition.size
        self.pixels: Pixels = np.zeros((height, width, 3), np.uint8)
        self._additive = composition.additive

    def add(self, voxels: Array, info: LayerInfo, part: Part) -> None:
        """Paint a layer on top, stretched by repeating or leaving out pixels. Where no segment is, it covers nothing.

        Args:
            voxels: (c, x, y, 1), those of ``part``.
        """
        picture = np.atleast_3d(paint(voxels[..., 0], info, part.picture.tone))
        rows, columns = (_nearest(n, m) for n, m in zip(self.pixels.shape, picture.shape[:2], strict=False))
        for start in range(0, len(self.pixels), BAND):
            under = self.pixels[start : start + BAND]
            over = picture[rows[start : start + BAND]][:, columns].astype(np.float32)
            if info.category == "segmentation":
                under[...] = _covered(under, over, part.opacity * over.any(axis=2, keepdims=True))
            elif self._additive:
                under[...] = np.minimum(np.rint(under + over * part.opacity), 255)
            else:
                under[...] = _covered(under, over, part.opacity)


def _covered(under: Array, over: Array, share: Array | float) -> Array:
    return np.rint(under * (1 - share) + over * share)


def _nearest(wanted: int, there: int) -> NDArray[np.intp]:
    """For each pixel along an axis the one of the picture that it shows."""
    return (np.arange(wanted) * there) // wanted
