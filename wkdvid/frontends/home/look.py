"""What somebody wants to see of a dataset: a layer, a position, a contrast; as the query of its page has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from wkdvid.core.geometry import Vec3
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import Tone
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.home.slices import AXES, middle_of, whole_of

LARGEST = 1e300
"""Of values; beyond that nothing can be reckoned with."""
LONGEST = 20
"""Characters of a position."""


@dataclass(frozen=True, slots=True)
class Look:
    layer: str | None = None
    position: tuple[int | None, int | None, int | None] = (None, None, None)
    """In voxels of mag 1; None: the middle."""
    tone: Tone = Tone()  # noqa: RUF009 - it is frozen
    """What of it is None follows from the histogram."""


def parse_look(args: Mapping[str, Any]) -> Look:
    """
    Raises:
        InvalidRequest: a position that is no whole number, or a value that is no number.
    """
    x, y, z = (_whole(args, axis) for axis in AXES)
    low, high = (_number(args, name) for name in ("low", "high"))
    if low is not None and high is not None and low >= high:
        raise InvalidRequest(f"low: expected less than high, {high:g}, got {low:g}")
    return Look(args.get("layer"), (x, y, z), Tone(low, high))


def parse_at(args: Mapping[str, Any], otherwise: int) -> int:
    """
    Raises:
        InvalidRequest: no whole number.
    """
    at = _whole(args, "at")
    return otherwise if at is None else at


def _whole(args: Mapping[str, Any], name: str) -> int | None:
    text = args.get(name)
    if text is None:
        return None
    try:
        return int(text[:LONGEST])
    except ValueError:
        raise InvalidRequest(f"{name}: expected a whole number, got {text[:LONGEST]!r}") from None


def _number(args: Mapping[str, Any], name: str) -> float | None:
    text = args.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= LARGEST:
        raise InvalidRequest(f"{name}: expected a number, got {text[:LONGEST]!r}")
    return value


def place(layer: Layer, look: Look) -> Vec3:
    """The position that is shown: the wanted one, or the nearest in the layer."""
    whole = whole_of(layer)
    x, y, z = (
        middle if wanted is None else min(max(wanted, first), stop - 1)
        for wanted, middle, first, stop in zip(look.position, middle_of(whole), whole.start, whole.stop, strict=True)
    )
    return (x, y, z)


def query_of(layer: str, position: Vec3, tone: Tone) -> str:
    """Of the page that shows this."""
    wanted = {"layer": layer, **dict(zip(AXES, position, strict=True)), "low": tone.low, "high": tone.high}
    return urlencode({name: value for name, value in wanted.items() if value is not None})
