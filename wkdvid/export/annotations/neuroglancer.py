"""A state of Neuroglancer that holds annotations itself, in a layer in which they can be edited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import dist
from typing import Any

from wkdvid.core.annotations import LINE, POINT, Annotation
from wkdvid.core.geometry import Float3
from wkdvid.export.annotations.precomputed import dimensions

MOST = 20_000
"""Annotations that a state holds: Neuroglancer writes all of them into the address of its page at each change."""


def state(
    annotations: Sequence[Annotation], voxel_size_nm: Float3, layers: Iterable[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """
    Args:
        layers: What is shown below them.
    """
    space = dimensions(voxel_size_nm)
    local = {
        "type": "annotation",
        "name": "annotations",
        "source": {"url": "local://annotations", "transform": {"outputDimensions": space}},
        "annotations": [_annotation(one) for one in annotations],
        "tab": "annotations",
    }
    position = {"position": list(annotations[0].points[0])} if annotations else {}
    return {
        "dimensions": space,
        **position,
        "layers": [*layers, local],
        "selectedLayer": {"layer": "annotations", "visible": True},
    }


def _annotation(one: Annotation) -> Mapping[str, Any]:
    said = "\n".join(one.fields[name] for name in ("title", "description") if one.fields.get(name))
    text = {"description": said} if said else {}
    return {"id": f"{one.email} {one.key}", **_place(one), **text}


def _place(one: Annotation) -> Mapping[str, Any]:
    if one.kind == POINT:
        return {"type": "point", "point": one.pos}
    first, second = one.points
    if one.kind == LINE:
        return {"type": "line", "pointA": first, "pointB": second}
    centre = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    return {"type": "ellipsoid", "center": centre, "radii": [dist(first, second) / 2] * 3}
