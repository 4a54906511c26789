"""Which dimension of an array is which axis. Axes are written as one letter per dimension, in the array's order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorstore as ts

from wkdvid.backends.numbers import LARGEST
from wkdvid.core.entries import NM_PER_UNIT
from wkdvid.errors import InvalidRequest

SLOWEST_FIRST: Mapping[int, str] = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}
"""By rank, where nothing says otherwise: zarr, as OME orders its axes."""
FASTEST_FIRST: Mapping[int, str] = {2: "xy", 3: "xyz", 4: "xyzc", 5: "xyzct"}
"""By rank: N5 and precomputed."""
TOLERANCE = 1e-3
"""Voxels: sources round their offsets too."""
LETTERS = {"channel": "c", "time": "t"}


def choose_axes(option: object, named: str | None, by_rank: Mapping[int, str], rank: int, what: str) -> str:
    """The entry's choice, else what the source's own names say, else what is usual.

    Args:
        option: ``axes`` of the entry, or None.
        named: Axes by the names that the source gives its dimensions, or None.
    Raises:
        InvalidRequest: the choice does not fit the array, or there is none for its rank.
    """
    axes = option if option is not None else named or by_rank.get(rank)
    if axes is None:
        raise InvalidRequest(f'{what}: an array of {rank} dimensions; name them with "axes", such as "zyx"')
    if not isinstance(axes, str) or not _fits(axes, rank):
        raise InvalidRequest(
            f"{what}: axes {axes!r}: expected {rank} different letters a-z, one per dimension, with x and y"
        )
    return axes


def _fits(axes: str, rank: int) -> bool:
    letters = set(axes)
    return (
        len(axes) == len(letters) == rank <= max(SLOWEST_FIRST)
        and {"x", "y"} <= letters
        and (axes.isascii() and axes.isalpha() and axes.islower())
    )


def axes_of_names(names: Sequence[object]) -> str | None:
    """Axes where every dimension is named x, y, z, c or channel, t or time, in any case; else None."""
    letters = [LETTERS.get(name.lower(), name.lower()) if isinstance(name, str) else "" for name in names]
    axes = "".join(letters)
    known = all(letter in {"x", "y", "z", "c", "t"} for letter in letters)
    return axes if known and _fits(axes, len(letters)) else None


def fixed_indices(store: ts.TensorStore, axes: str, options: Mapping[str, Any], what: str) -> dict[str, int]:
    """The index of each dimension that a layer does not have: ``t`` as the entry says, else its first.

    Raises:
        InvalidRequest: a ``t`` that is not there, or a dimension of many positions that nothing chooses from.
    """
    if options.get("t") is not None and "t" not in axes:
        raise InvalidRequest(f"{what}: t: the array has no axis t, its axes are {axes}")
    fixed: dict[str, int] = {}
    for letter, dimension in zip(axes, store.domain, strict=True):
        if letter in "cxyz":
            continue
        if letter == "t":
            fixed[letter] = dimension.inclusive_min + _time(options.get("t"), dimension.size, what)
        elif dimension.size == 1:
            fixed[letter] = dimension.inclusive_min
        else:
            raise InvalidRequest(f"{what}: axis {letter!r} has {dimension.size} positions; only t and c can be chosen")
    return fixed


def _time(option: object, count: int, what: str) -> int:
    index = 0 if option is None else option
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count:
        return index
    raise InvalidRequest(f"{what}: t: expected a whole number from 0 to {count - 1}, got {option!r}")


def nm_per_unit(unit: object) -> float | None:
    """Nanometres in a unit as sources write it; None if it is none that is known."""
    return NM_PER_UNIT.get(unit.strip().lower()) if isinstance(unit, str) else None


def half_inward(offset: float) -> int:
    """The nearest whole number, of two equally near ones that nearer to 0.

    Formats that place a voxel by its centre shift coarse levels by up to half a voxel: that must not move the grid.

    Raises:
        InvalidRequest: it is too far away.
    """
    if abs(offset) > LARGEST:
        raise InvalidRequest(f"the volume begins {offset:g} voxels from the origin, the limit is {LARGEST}")
    nearest = math.ceil(abs(offset) - 0.5 - TOLERANCE)
    return nearest if offset > 0 else -nearest
