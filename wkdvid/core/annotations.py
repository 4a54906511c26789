"""Typed annotations: points, lines and spheres of users, each under a key that its place makes (clio.md D)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Any, Protocol

from wkdvid.core.access import Protected
from wkdvid.core.geometry import Box

POINT, LINE, SPHERE = "point", "lineseg", "sphere"
KINDS: Mapping[str, tuple[str, int]] = {POINT: ("Pt", 3), LINE: ("Ln", 6), SPHERE: ("Sp", 6)}
"""How the key of each begins, and how many numbers make its place."""
FIELDS: Mapping[str, type] = {"prop": dict, "tags": list, "title": str, "description": str}
"""What is kept beside the place. What else is sent is not."""
INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    email: str
    """Whose it is."""
    kind: str
    """One of ``KINDS``."""
    pos: tuple[int, ...]
    """x, y, z of the point, of the ends of the line, or of two opposite points of the sphere; voxels, of 64 bits."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of ``FIELDS`` those that were given."""
    number: int | None = field(default=None, compare=False)
    """By which the store knows it for as long as it is there; None: it is not stored."""

    @property
    def key(self) -> str:
        """One of a dataset and a user; equal only for what has the same kind and place."""
        return KINDS[self.kind][0] + "_".join(map(str, self.pos))

    @property
    def points(self) -> Sequence[tuple[int, int, int]]:
        """One or two."""
        pos = self.pos
        return [(pos[at], pos[at + 1], pos[at + 2]) for at in range(0, len(pos), 3)]


def bounds(kind: str, pos: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The inclusive corners of the box around an annotation, both within 64 bits."""
    if kind != SPHERE:
        axes = [pos[axis::3] for axis in range(3)]
        return tuple(map(min, axes)), tuple(map(max, axes))
    diameter = 1 + isqrt(sum((pos[axis] - pos[axis + 3]) ** 2 for axis in range(3)))  # no less than it is
    sums = [pos[axis] + pos[axis + 3] for axis in range(3)]
    low = tuple(max((total - diameter) // 2, INT64[0]) for total in sums)
    return low, tuple(min(-((-total - diameter) // 2), INT64[-1]) for total in sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Some annotations of a dataset."""

    dataset: str
    """By the name under which things are held."""
    emails: Sequence[str] | None
    """Whose; None: everybody's."""
    box: Box | None = None
    """In voxels: those whose own boxes (``bounds``) touch it."""
    kind: str | None = None
    """None: all kinds."""
    every: int = 1
    """Those whose number is a multiple of this one."""
    but_every: int | None = None
    """Without those whose number is a multiple of this one."""


@dataclass(frozen=True, slots=True)
class Summary:
    count: int
    low: tuple[int, ...]
    """Inclusive corner of the box around all of them."""
    high: tuple[int, ...]
    """Inclusive corner."""


class AnnotationStore(Protocol):
    """Reads raise DatabaseUnavailable where the database does not answer."""

    def pages(self, wanted: Selection) -> AsyncIterator[Sequence[Annotation]]:
        """All of a selection, some at a time: by user and key, or with a box by place.

        What is changed between two pages may be missed, or be there as it was.
        """
        ...

    async def summaries(self, wanted: Selection) -> Mapping[str, Summary]:
        """By kind, of those kinds of which there are some. ``box`` does not count here."""
        ...

    async def find(self, wanted: Selection, number: int) -> Annotation | None:
        """The one of this number, if it is one of a selection without a box."""
        ...

    async def datasets(self) -> Sequence[str]:
        """Those that have any."""
        ...


@dataclass(frozen=True, slots=True)
class View:
    """The annotations of a dataset that somebody may see."""

    store: AnnotationStore
    wanted: Selection

    def pages(self, box: Box | None = None) -> AsyncIterator[Sequence[Annotation]]:
        return self.store.pages(replace(self.wanted, box=box))


class Views(Protocol):
    """Both raise DatabaseUnavailable where the database does not answer."""

    async def of(self, dataset: Protected, token: str | None) -> View | None:
        """What the owner of a token may see of a dataset that they may read; None: it has no annotations."""
        ...

    async def datasets(self, token: str | None) -> Sequence[str]:
        """Those of which ``of`` gives something, of all that there are; by the names under which things are held."""
        ...
