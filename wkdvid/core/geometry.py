"""Integer vectors and boxes. Every vector is (x, y, z)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from wkdvid.errors import InvalidRequest

Vec3: TypeAlias = tuple[int, int, int]
Float3: TypeAlias = tuple[float, float, float]

_FACTOR = re.compile(r"0*[1-9][0-9]{0,8}")

ONE: Vec3 = (1, 1, 1)
ZERO: Vec3 = (0, 0, 0)


def ceil_div(a: int, b: int) -> int:
    """The smallest integer that is not below ``a / b``, for b > 0."""
    return -(-a // b)


def volume_of(size: Vec3) -> int:
    return size[0] * size[1] * size[2]


def multiply(a: Vec3, b: Vec3) -> Vec3:
    return (a[0] * b[0], a[1] * b[1], a[2] * b[2])


def divide_down(a: Vec3, b: Vec3) -> Vec3:
    return (a[0] // b[0], a[1] // b[1], a[2] // b[2])


def divide_up(a: Vec3, b: Vec3) -> Vec3:
    return (ceil_div(a[0], b[0]), ceil_div(a[1], b[1]), ceil_div(a[2], b[2]))


def parse_mag(text: str) -> Vec3 | None:
    """A mag as webKnossos writes it: ``4-4-2``, or ``4`` for (4, 4, 4). None if it is none."""
    parts = text.split("-")
    if len(parts) not in {1, 3} or not all(_FACTOR.fullmatch(part) for part in parts):
        return None
    x, y, z = map(int, parts if len(parts) == 3 else parts * 3)
    return (x, y, z)


def mag_text(mag: Vec3) -> str:
    """The shorter of what ``parse_mag`` reads."""
    return str(mag[0]) if mag[0] == mag[1] == mag[2] else "-".join(map(str, mag))


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box ``[start, stop)`` in the voxels of one level."""

    start: Vec3
    """Inclusive corner (x, y, z)."""
    stop: Vec3
    """Exclusive corner (x, y, z)."""

    def __post_init__(self) -> None:
        if self.stop[0] < self.start[0] or self.stop[1] < self.start[1] or self.stop[2] < self.start[2]:
            raise InvalidRequest(f"box: stop {self.stop} is before start {self.start}")

    @classmethod
    def at(cls, start: Vec3, size: Vec3) -> Box:
        return cls(start, (start[0] + size[0], start[1] + size[1], start[2] + size[2]))

    @property
    def size(self) -> Vec3:
        a, b = self.start, self.stop
        return (b[0] - a[0], b[1] - a[1], b[2] - a[2])

    @property
    def voxels(self) -> int:
        return volume_of(self.size)

    def contains(self, other: Box) -> bool:
        a, b, c, d = self.start, self.stop, other.start, other.stop
        return a[0] <= c[0] and a[1] <= c[1] and a[2] <= c[2] and d[0] <= b[0] and d[1] <= b[1] and d[2] <= b[2]

    def intersect(self, other: Box) -> Box | None:
        """The common part, or None if there is no voxel in it."""
        a, b, c, d = self.start, self.stop, other.start, other.stop
        start = (max(a[0], c[0]), max(a[1], c[1]), max(a[2], c[2]))
        stop = (min(b[0], d[0]), min(b[1], d[1]), min(b[2], d[2]))
        if stop[0] <= start[0] or stop[1] <= start[1] or stop[2] <= start[2]:
            return None
        return Box(start, stop)

    def join(self, other: Box) -> Box:
        """The smallest box that holds both."""
        a, b, c, d = self.start, self.stop, other.start, other.stop
        start = (min(a[0], c[0]), min(a[1], c[1]), min(a[2], c[2]))
        return Box(start, (max(b[0], d[0]), max(b[1], d[1]), max(b[2], d[2])))

    def scaled_up(self, factors: Vec3) -> Box:
        """The same region in voxels that are ``factors`` times smaller."""
        return Box(multiply(self.start, factors), multiply(self.stop, factors))

    def scaled_down(self, factors: Vec3) -> Box:
        """The voxels, ``factors`` times larger, that the region touches (rounded outward)."""
        return Box(divide_down(self.start, factors), divide_up(self.stop, factors))
