"""The planes on the page of a dataset: how large they are drawn, where the position stands in them, how to step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Vec3
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import Tone
from wkdvid.frontends.home.facts import address_of
from wkdvid.frontends.home.look import Look, place, query_of
from wkdvid.frontends.home.slices import AXES, PLANES, Cut, cut, whole_of

STEPS = (-10, -1, 1, 10)
"""How far the links go."""
DRAWN = 500.0
"""The longest side of all planes, in the units of their drawings."""
THINNEST = 12.0
"""The shorter side, at least: a slice must be seen."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a drawn plane."""

    axis: str
    first: int
    """In voxels of mag 1."""
    count: int
    length: float
    """In the units of the drawing."""
    mark: float
    """Where the position stands, from the begin."""


@dataclass(frozen=True, slots=True)
class Move:
    text: str
    by: int
    """In voxels of mag 1."""
    query: str
    """Of the page that shows what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneView:
    name: str
    axis: str
    """Along which it is moved."""
    at: int
    first: int
    last: int
    step: int
    """By which it changes: coarse levels have the same voxels at neighbouring positions."""
    right: Side
    down: Side
    picture: str
    """Its address but for ``at``, relative to the server's root."""
    moves: Sequence[Move]


def planes(dataset: Dataset, layer: Layer, look: Look, tone: Tone) -> Sequence[PlaneView]:
    """All at one scale.

    Args:
        tone: Of the pictures.
    """
    position = place(layer, look)
    cuts = [cut(layer, plane, position[plane.across]) for plane in PLANES.values()]
    scale = DRAWN / max(length for shown in cuts for length in _lengths_nm(shown, layer))
    values = urlencode({name: value for name, value in (("low", tone.low), ("high", tone.high)) if value is not None})
    pictures = f"{address_of(dataset.key)}/layers/{quote(layer.info.name, safe='')}/slices"
    return [
        _plane(layer, position, look.tone, shown, scale, f"{pictures}/{shown.plane.name}?{values}") for shown in cuts
    ]


def _plane(layer: Layer, position: Vec3, tone: Tone, shown: Cut, scale: float, picture: str) -> PlaneView:
    plane, whole = shown.plane, whole_of(layer)
    across, step = plane.across, shown.scale.mag[plane.across]
    lengths = (max(nm * scale, THINNEST) for nm in _lengths_nm(shown, layer))
    right, down = (
        _side(axis, shown, length, position) for axis, length in zip((plane.right, plane.down), lengths, strict=True)
    )
    return PlaneView(
        name=plane.name,
        axis=AXES[across],
        at=position[across],
        first=whole.start[across],
        last=whole.stop[across] - 1,
        step=step,
        right=right,
        down=down,
        picture=picture,
        moves=[_move(layer, position, tone, across, by * step) for by in STEPS],
    )


def _lengths_nm(shown: Cut, layer: Layer) -> tuple[float, float]:
    """Of what is shown, to the right and down."""
    size, nm = shown.shown.size, layer.info.voxel_size_nm
    return size[shown.plane.right] * nm[shown.plane.right], size[shown.plane.down] * nm[shown.plane.down]


def _move(layer: Layer, position: Vec3, tone: Tone, axis: int, by: int) -> Move:
    whole, moved = whole_of(layer), list(position)
    moved[axis] = min(max(moved[axis] + by, whole.start[axis]), whole.stop[axis] - 1)
    return Move(f"{by:+,}", by, query_of(layer.info.name, (moved[0], moved[1], moved[2]), tone))


def _side(axis: int, shown: Cut, length: float, position: Vec3) -> Side:
    first, count = shown.shown.start[axis], shown.shown.size[axis]
    return Side(AXES[axis], first, count, round(length, 2), round(length * (position[axis] + 0.5 - first) / count, 2))
