"""numpy's slicing -> a dense box, and what of it is the result. Indices are coordinates: -5 is not the fifth last."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.client.errors import InvalidSelection

Point: TypeAlias = tuple[int, ...]
Corner: TypeAlias = Sequence[int] | npt.NDArray[np.integer[Any]]
"""A point as it may be given."""
Index: TypeAlias = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """A box of the axes that were sliced, and the part of it that was meant."""

    start: Point
    stop: Point
    """Exclusive."""
    index: Index
    """Into an array of the box."""

    @property
    def size(self) -> Point:
        return size_of(self.start, self.stop)

    @property
    def shape(self) -> Point:
        """Of the result: axes with a number are dropped."""
        return tuple(
            len(range(n)[part]) for part, n in zip(self.index, self.size, strict=True) if isinstance(part, slice)
        )

    @property
    def is_dense(self) -> bool:
        """Whether it is the whole box, be it with axes dropped."""
        return all(
            n == (len(range(n)[part]) if isinstance(part, slice) else 1)
            for part, n in zip(self.index, self.size, strict=True)
        )


def size_of(start: Corner, stop: Corner) -> Point:
    return tuple(b - a for a, b in zip(start, stop, strict=True))


def select(key: Any, axes: str, shape: Sequence[int | None]) -> Selection:
    """
    Args:
        key: What stands in the brackets.
        axes: A letter for each axis. Of ``c``, the channels, the box has all.
        shape: Where each axis ends, None where that is not known.
    Raises:
        InvalidSelection: more indices than axes, other things than integers and slices, nothing selected.
    """
    parts = [
        _channels(part, end or 0) if axis == "c" else _along(part, axis, end)
        for part, axis, end in zip(_expand(key, len(axes)), axes, shape, strict=True)
    ]
    return Selection(tuple(p[0] for p in parts), tuple(p[1] for p in parts), tuple(p[2] for p in parts))


def _expand(key: Any, count: int) -> tuple[Any, ...]:
    parts = tuple(key) if isinstance(key, tuple | list) else (key,)
    places = [i for i, part in enumerate(parts) if isinstance(part, EllipsisType)]
    if len(places) > 1:
        raise InvalidSelection("more than one ... in a slicing")
    given = len(parts) - len(places)
    if given > count:
        raise InvalidSelection(f"{given} indices, but {count} axes")
    at = places[0] if places else len(parts)
    return (*parts[:at], *(slice(None),) * (count - given), *parts[at + len(places) :])


def integer(value: Any) -> int:
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise InvalidSelection(f"{value!r}: integers, slices and one ... are understood; no arrays, masks or new axes")


def _step(part: slice) -> int:
    step = 1 if part.step is None else integer(part.step)
    if step < 1:
        raise InvalidSelection(f"step {step}: at least 1 is needed")
    return step


def _along(part: Any, axis: str, end: int | None) -> tuple[int, int, int | slice]:
    if not isinstance(part, slice):
        at = integer(part)
        return at, at + 1, 0
    start = 0 if part.start is None else integer(part.start)
    stop = end if part.stop is None else integer(part.stop)
    if stop is None:
        raise InvalidSelection(f"axis {axis}: the volume has no voxels yet, so where to stop must be said")
    if stop <= start:
        raise InvalidSelection(f"axis {axis}: {start} to {stop} holds nothing; numbers are coordinates, also below 0")
    return start, stop, slice(0, stop - start, _step(part))


def _channels(part: Any, count: int) -> tuple[int, int, int | slice]:
    """Counted as numpy does, from the end too: the server always sends all of them."""
    if not isinstance(part, slice):
        at = integer(part)
        if not -count <= at < count:
            raise InvalidSelection(f"channel {at} of {count}")
        return 0, count, at % count
    first, last = (None if n is None else integer(n) for n in (part.start, part.stop))
    start, stop, step = slice(first, last, _step(part)).indices(count)
    if stop <= start:
        raise InvalidSelection(f"channels {start} to {stop} of {count} are none")
    return 0, count, slice(start, stop, step)


def piece_shape(block: Sequence[int], size: Sequence[int], most_voxels: int) -> Point:
    """Whole blocks, as many as ``most_voxels`` allows (at least one), but no more on an axis than ``size`` needs."""
    shape = list(block)
    while True:
        wanting = [i for i, n in enumerate(size) if shape[i] < n]
        if not wanting or 2 * math.prod(shape) > most_voxels:
            return tuple(shape)
        shape[min(wanting, key=lambda i: shape[i] // block[i])] *= 2


def pieces(
    start: Sequence[int], stop: Sequence[int], shape: Sequence[int], origin: Sequence[int]
) -> Iterator[Selection]:
    """Cut a box along the grid of ``shape`` that begins at ``origin``; the index of each is its place in the box.

    The first axis changes fastest.
    """
    cuts = [
        [max(a, n) for n in range(a - (a - o) % step, b, step)]
        for a, b, step, o in zip(start, stop, shape, origin, strict=True)
    ]
    ends = [[*cut[1:], b] for cut, b in zip(cuts, stop, strict=True)]
    for numbers in product(*(range(len(cut)) for cut in reversed(cuts))):
        place = numbers[::-1]
        low = tuple(cut[i] for cut, i in zip(cuts, place, strict=True))
        high = tuple(end[i] for end, i in zip(ends, place, strict=True))
        index = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, start, strict=True))
        yield Selection(low, high, index)
