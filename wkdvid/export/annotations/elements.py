"""DVID's annotation elements: a point is one, a line or a sphere is two that are grouped with each other.

Form: the Elements of DVID's data type ``annotation``; properties there are texts, and tags too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from wkdvid.core.annotations import Annotation
from wkdvid.core.geometry import Box

BLOCK = 64
"""Side of the blocks by which DVID lists them, voxels."""


def elements(one: Annotation, box: Box | None = None) -> Iterator[Mapping[str, Any]]:
    """
    Args:
        box: Of those that are not in it nothing is told; voxels.
    """
    points = one.points
    for number, point in enumerate(points):
        if box is None or all(a <= at < b for a, at, b in zip(box.start, point, box.stop, strict=True)):
            others = [other for place, other in enumerate(points) if place != number]
            yield {
                "Pos": point,
                "Kind": "Note",
                "Tags": [_text(tag) for tag in one.fields.get("tags") or ()],
                "Prop": _properties(one),
                "Rels": [{"Rel": "GroupedWith", "To": other} for other in others],
            }


def _properties(one: Annotation) -> Mapping[str, str]:
    given = {str(name): _text(value) for name, value in (one.fields.get("prop") or {}).items()}
    said = {name: one.fields[name] for name in ("title", "description") if one.fields.get(name)}
    return {**given, **said, "kind": one.kind, "key": one.key, "user": one.email}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def block_of(point: Sequence[int]) -> tuple[int, ...]:
    return tuple(at // BLOCK for at in point)
