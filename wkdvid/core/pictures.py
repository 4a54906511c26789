"""Pixels of slices: images from black to white, each segment in a colour of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wkdvid.core.volume import Array, LayerInfo

BAND = 64
"""Rows painted at a time: what that takes beside picture and voxels stays small."""
ROUNDS: Final = (15, 13)
"""Bits by which a round of MurmurHash3 rotates the value and the state."""

Color: TypeAlias = tuple[int, int, int]
Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tone:
    """How the values of an image become pixels."""

    low: float | None = None
    """The value that is shown black; None: as the type or the picture has it."""
    high: float | None = None
    color: Color | None = None
    """What is shown instead of white."""
    inverted: bool = False


AUTOMATIC: Final = Tone()


def paint(voxels: Array, info: LayerInfo, tone: Tone = AUTOMATIC) -> Pixels:
    """Pixels (height, width) of gray or (height, width, 3) of colour.

    Images go from black to white between the wanted values; where there is none, from 0 to 255 for 8 bits, for other
    types over the values that are in the picture. Segments have a colour each; 0 is black.

    Args:
        voxels: (c, width, height).
    """
    rows = voxels.T  # (height, width, c)
    if info.category == "segmentation" and info.dtype.kind != "f":
        return _in_bands(rows, lambda band: segment_colors(band[..., 0]))
    low, high = _range_shown(rows, tone)
    span = max(high / 2 - low / 2, np.finfo(np.float64).tiny)  # halves: no difference is infinite
    factors = None if tone.color is None else np.array(tone.color, np.float64) / 255

    def paint_band(band: Array) -> Pixels:
        values = np.nan_to_num(band.astype(np.float64), posinf=high, neginf=low)
        share = np.clip((values / 2 - low / 2) / span, 0, 1)
        share = 1 - share if tone.inverted else share
        return np.rint(255 * (share if factors is None else share * factors)).astype(np.uint8)

    return _in_bands(rows, paint_band)


def see_through(pixels: Pixels) -> Pixels:
    """Segments (height, width, 3) with alpha as a fourth channel, 0 where there is none."""
    return np.dstack([pixels, np.where(pixels.any(axis=2), 255, 0).astype(np.uint8)])


def _in_bands(rows: Array, paint_band: Callable[[Array], Pixels]) -> Pixels:
    pixels = np.concatenate([paint_band(rows[start : start + BAND]) for start in range(0, len(rows), BAND)])
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _range_shown(rows: Array, tone: Tone) -> tuple[float, float]:
    """What is shown black and what white."""
    low, high = (0.0, 255.0) if rows.dtype == np.uint8 else _range_of(rows)
    low = low if tone.low is None else tone.low
    return low, high if tone.high is None else tone.high


def _range_of(rows: Array) -> tuple[float, float]:
    """Of the finite values that are not 0: there may be no data."""
    finite = rows[(rows != 0) & np.isfinite(rows)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def segment_colors(ids: Array) -> Pixels:
    """Of ids (...), the colours (..., 3) that Neuroglancer gives them (its segment_color.ts, seed 0); 0 is black.

    Hue and saturation are the two lowest bytes of a hash of the id: two rounds of MurmurHash3 without its end.
    """
    wide = ids.astype(np.uint64)
    state = _round(np.uint32(0), (wide & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    state = _round(state, (wide >> np.uint64(32)).astype(np.uint32))
    colors: Pixels = _palette()[state & np.uint32(0xFFFF)]
    colors[ids == 0] = 0
    return colors


def _round(state: NDArray[np.uint32] | np.uint32, value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    mixed = _rotated(value * np.uint32(0xCC9E2D51), ROUNDS[0]) * np.uint32(0x1B873593)
    return _rotated(state ^ mixed, ROUNDS[1]) * np.uint32(5) + np.uint32(0xE6546B64)


def _rotated(values: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return values << np.uint32(bits) | values >> np.uint32(32 - bits)


@cache
def _palette() -> Pixels:
    """(65536, 3): hue by the lower byte of the index; saturation, from a half on, by the upper one; of full value."""
    index = np.arange(1 << 16)
    hue, saturation = 6 * (index & 0xFF) / 255, 0.5 + 0.5 * (index >> 8) / 255
    distance = np.stack([np.abs((hue - peak + 3) % 6 - 3) for peak in (0, 2, 4)], axis=1)  # from red, green, blue
    brightness = 1 - saturation[:, None] * np.clip(distance - 1, 0, 1)
    palette: Pixels = np.rint(255 * brightness).astype(np.uint8)
    return palette
