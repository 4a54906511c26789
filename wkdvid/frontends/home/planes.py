"""The planes on the page of a dataset: how large they are drawn, where the position stands in them, how to step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Float3, Vec3
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import Tone
from wkdvid.frontends.home.facts import address_of
from wkdvid.frontends.home.look import Look, place, query_of
from wkdvid.frontends.home.slices import AXES, PLANES, Cut, cut, whole_of

STEPS = (-10, -1, 1, 10)
"""How far the links go."""
DRAWN = 500.0
"""The longer side of a plane, in the units of its drawing."""
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
    """
    Args:
        tone: Of the pictures.
    """
    position = place(layer, look)
    values = urlencode({name: value for name, value in (("low", tone.low), ("high", tone.high)) if value is not None})
    pictures = f"{address_of(dataset.key)}/layers/{quote(layer.info.name, safe='')}/slices"
    return [
        _plane(layer, position, look.tone, cut(layer, plane, position[plane.across]), f"{pictures}/{name}?{values}")
        for name, plane in PLANES.items()
    ]


def _plane(layer: Layer, position: Vec3, tone: Tone, shown: Cut, picture: str) -> PlaneView:
    plane, whole = shown.plane, whole_of(layer)
    across, step = plane.across, shown.scale.mag[plane.across]
    right, down = _sides(shown, position, layer.info.voxel_size_nm)
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


def _move(layer: Layer, position: Vec3, tone: Tone, axis: int, by: int) -> Move:
    whole, moved = whole_of(layer), list(position)
    moved[axis] = min(max(moved[axis] + by, whole.start[axis]), whole.stop[axis] - 1)
    return Move(f"{by:+,}", by, query_of(layer.info.name, (moved[0], moved[1], moved[2]), tone))


def _sides(shown: Cut, position: Vec3, voxel_size_nm: Float3) -> tuple[Side, Side]:
    """To the right and down, in proportion to the lengths in the tissue."""
    box, axes = shown.shown, (shown.plane.right, shown.plane.down)
    lengths = [box.size[axis] * voxel_size_nm[axis] for axis in axes]
    right, down = (
        _side(axis, box.start[axis], box.size[axis], max(DRAWN * length / max(lengths), THINNEST), position[axis])
        for axis, length in zip(axes, lengths, strict=True)
    )
    return right, down


def _side(axis: int, first: int, count: int, length: float, at: int) -> Side:
    return Side(AXES[axis], first, count, round(length, 2), round(length * (at + 0.5 - first) / count, 2))
