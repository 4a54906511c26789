"""Neuroglancer's precomputed annotations: each kind is a collection, with an index by number and one by place.

The index by place has levels: the coarsest shows few annotations, taken evenly of all, each finer one shows more in
smaller cells. An annotation is of one level, by its number, so that cells are found without having made the index.
What a cell's name means does not depend on what is stored: it says the whole grid.
Format: https://neuroglancer-docs.web.app/datasource/precomputed/annotation.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.core.annotations import INT64, LINE, POINT, SPHERE, Annotation, Selection, Summary
from wkdvid.core.geometry import Box, Float3, Vec3
from wkdvid.errors import NotFound

TYPES: Mapping[str, str] = {POINT: "POINT", LINE: "LINE", SPHERE: "ELLIPSOID"}
LIMIT = 5000
"""Annotations that a cell shows, where they are spread evenly."""
SHARE = 8
"""A level shows so many times what the one before does, as its cells have half the side."""
_SCATTER = np.uint64(0x9E3779B97F4A7C15)
"""An odd number; multiplying by it puts numbers that follow each other far apart."""
_KEY = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{1,2})\.(-?[0-9]{1,19})\.(-?[0-9]{1,19})\.(-?[0-9]{1,19})")
_CELL = re.compile(r"([0-9]{1,19})_([0-9]{1,19})_([0-9]{1,19})")
_MOST_LEVELS = 20
_LARGEST = 64
"""Exponent of the side of a cell that holds everything."""


@dataclass(frozen=True, slots=True)
class Grid:
    levels: int
    exponent: int
    """The coarsest cells have sides of 2 to the power of this, voxels."""
    origin: Vec3
    """Index of the first of the coarsest cells, if the one at the origin has index 0."""

    def key(self, level: int) -> str:
        return ".".join(map(str, (self.levels, level, self.exponent, *self.origin)))

    def side(self, level: int) -> int:
        return 1 << (self.exponent - level)

    def box(self, level: int, cell: Vec3) -> Box:
        coarsest, side = self.side(0), self.side(level)
        x, y, z = (first * coarsest + at * side for first, at in zip(self.origin, cell, strict=True))
        return Box.at((x, y, z), (side, side, side))


def _grid(summary: Summary) -> tuple[Grid, Vec3]:
    """With how many of the coarsest cells there are on each axis: one or two."""
    extent = max(b - a for a, b in zip(summary.low, summary.high, strict=True)) + 1
    exponent = (extent - 1).bit_length()
    levels = 1 + max(0, ceil(log(summary.count / LIMIT, SHARE)))
    x, y, z = (at >> exponent for at in summary.low)
    shape = [(b >> exponent) - (a >> exponent) + 1 for a, b in zip(summary.low, summary.high, strict=True)]
    return Grid(min(levels, exponent + 1, _MOST_LEVELS), exponent, (x, y, z)), (shape[0], shape[1], shape[2])


def info(kind: str, summary: Summary | None, voxel_size_nm: Float3) -> Mapping[str, Any]:
    """
    Args:
        summary: Of the annotations of this kind; None: there are none.
    """
    found = summary or Summary(1, (0, 0, 0), (0, 0, 0))
    grid, shape = _grid(found)
    whole = grid.box(0, (0, 0, 0))
    return {
        "@type": "neuroglancer_annotations_v1",
        "dimensions": dimensions(voxel_size_nm),
        "lower_bound": list(whole.start),
        "upper_bound": [at + cells * grid.side(0) for at, cells in zip(whole.start, shape, strict=True)],
        "annotation_type": TYPES[kind],
        "properties": [],
        "relationships": [],
        "by_id": {"key": "by_id"},
        "spatial": [
            {
                "key": f"spatial/{grid.key(level)}",
                "grid_shape": [cells << level for cells in shape],
                "chunk_size": [grid.side(level)] * 3,
                "limit": ceil(found.count / SHARE ** (grid.levels - 1)),  # of more than are there some are not drawn
            }
            for level in range(grid.levels)
        ],
    }


def dimensions(voxel_size_nm: Float3) -> Mapping[str, Any]:
    return {axis: [size * 1e-9, "m"] for axis, size in zip("xyz", voxel_size_nm, strict=True)}


def in_cell(wanted: Selection, kind: str, key: str, cell: str) -> Selection:
    """Those of a selection that a cell shows.

    Raises:
        NotFound: there is no such cell.
    """
    names, places = _KEY.fullmatch(key), _CELL.fullmatch(cell)
    if names is None or places is None:
        raise NotFound("no such cell")
    levels, level, exponent, *first = map(int, names.groups())
    x, y, z = map(int, places.groups())
    if not level < levels <= min(exponent + 1, _MOST_LEVELS) or exponent > _LARGEST:
        raise NotFound("no such level")
    box = Grid(levels, exponent, (first[0], first[1], first[2])).box(level, (x, y, z))
    if not all(at in INT64 for at in box.start):
        raise NotFound("no such cell")
    return replace(
        wanted,
        kind=kind,
        box=box,
        every=SHARE ** (levels - 1 - level),
        but_every=SHARE ** (levels - level) if level else None,
    )


def one(annotation: Annotation) -> bytes:
    """As the index by number has it."""
    return _places([annotation]).tobytes()


def many(annotations: Sequence[Annotation]) -> bytes:
    """As a cell has them, in an order that is not that of their places: of the first ones a part is shown."""
    numbers = np.array([each.number or 0 for each in annotations], "<u8")
    order = np.argsort(numbers * _SCATTER)
    places = _places(annotations)[order] if annotations else np.zeros(0, "<f4")
    return np.uint64(len(annotations)).tobytes() + places.tobytes() + numbers[order].tobytes()


def _places(annotations: Sequence[Annotation]) -> npt.NDArray[np.float32]:
    """(annotation, number), all of one kind."""
    places = np.array([each.pos for each in annotations], np.float64)
    if annotations[0].kind == SPHERE:
        centre, radius = (places[:, :3] + places[:, 3:]) / 2, np.linalg.norm(places[:, :3] - places[:, 3:], axis=1) / 2
        places = np.hstack([centre, np.repeat(radius[:, None], 3, axis=1)])
    return places.astype("<f4")
