"""URLs and JSON bodies of DVID's API -> values. The texts of the errors are DVID's: clients and people know them."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import orjson

from wkdvid.core.geometry import Box, Vec3, divide_down
from wkdvid.core.limits import GIB, Limits
from wkdvid.core.pyramid import Scale
from wkdvid.errors import InvalidRequest, TooLarge, UnsupportedRequest

LARGEST_PAYLOAD = 3 * GIB
"""Bytes of an answer that DVID allows."""
LENIENT_VOXELS = 2**18
"""Up to so many a ``subvolblocks`` request need not be aligned: Neuroglancer's chunks of anisotropic images."""
DIMS: Mapping[str, tuple[int, ...]] = {
    "0_1_2": (0, 1, 2),
    "vol": (0, 1, 2),
    "0_1": (0, 1),
    "xy": (0, 1),
    "0_2": (0, 2),
    "xz": (0, 2),
    "1_2": (1, 2),
    "yz": (1, 2),
}
_VOLUME_FORMATS = frozenset({"jpeg", "jpg"})
_INT32 = range(-(2**31), 2**31)
_UINT64 = range(2**64)
_SIGNED = re.compile(r"[+-]?[0-9]+")
_UNSIGNED = re.compile(r"[0-9]+")
_MOST_DIGITS = 40
"""More are out of every range; Python would not even convert thousands of them."""
_PLAIN: Mapping[str, frozenset[str]] = {separator: frozenset(f"0123456789-{separator}") for separator in ",_"}
"""Characters of a list of numbers by what stands between them. (Python would take 1_2 for a number.)"""


def query(text: str) -> dict[str, str]:
    """A query string; of a name that comes twice the first value, as in Go."""
    values: dict[str, str] = {}
    for pair in text.split("&") if text else ():
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name, value = unquote_plus(name), unquote_plus(value)
        values.setdefault(name, value)
    return values


def integer(text: str, parser: str = "ParseInt", allowed: range = _INT32) -> int:
    """
    Args:
        parser: Of Go's library, as its errors name it.
    """
    number = _UNSIGNED if parser == "ParseUint" else _SIGNED
    if not number.fullmatch(text):
        raise InvalidRequest(f'strconv.{parser}: parsing "{_short(text)}": invalid syntax')
    if len(text) > _MOST_DIGITS or int(text) not in allowed:
        raise InvalidRequest(f'strconv.{parser}: parsing "{_short(text)}": value out of range')
    return int(text)


def _point(text: str) -> tuple[int, ...]:
    words = text.split("_")
    if len(words) < 2:
        raise InvalidRequest(f"cannot convert '{_short(text)}' into a Point.")
    return tuple(_integers(words, text, "_", "ParseInt"))


def _offset(text: str) -> Vec3:
    point = _point(text)
    if len(point) != 3:
        raise InvalidRequest(f"Offset must be 3d coordinate, not {len(point)}-d coordinate")
    return point


def voxel(text: str) -> Vec3:
    """The ``x_y_z`` of ``label/``."""
    if text.count("_") != 2:
        raise InvalidRequest(f'String "{_short(text)}" cannot be converted to a 3d point')
    return _offset(text)


@dataclass(frozen=True, slots=True)
class Region:
    """What a ``raw`` request asks for."""

    axes: tuple[int, ...]
    """(0, 1, 2), or the two axes of a slice, width first."""
    box: Box
    """In voxels of the scale that is asked for; one voxel thick for a slice."""
    format: str
    """Of the image; empty if none is named. Of a volume ``jpeg``, ``jpg`` or empty, whatever else was written."""

    @property
    def is_slice(self) -> bool:
        return len(self.axes) == 2


def is_slice(parts: Sequence[str]) -> bool:
    """Whether a ``raw`` request means an image of two dimensions."""
    return bool(parts) and len(_axes(parts[0])) == 2


def _axes(dims: str) -> tuple[int, ...]:
    axes = DIMS.get(dims) or DIMS.get(dims.lower().replace(",", "_"))
    if axes is None:
        raise InvalidRequest(f"Unknown data shape specification ({_short(dims)})")
    return axes


def region(endpoint: str, parts: Sequence[str], illegal: str = "Illegal") -> Region:
    """``<dims>/<size>/<offset>[/<format>]``.

    Args:
        illegal: How the type's error text about an empty box begins.
    """
    if len(parts) < 3:
        raise InvalidRequest(f'"{endpoint}" must be followed by shape/size/offset')
    axes, wanted_format = _axes(parts[0]), parts[3] if len(parts) > 3 else ""
    if len(axes) == 3:
        known = wanted_format if wanted_format in _VOLUME_FORMATS else ""  # a part of cache keys, so not any text
        return Region(axes, subvolume(parts[1], parts[2], illegal), known)
    offset, size = _offset(parts[2]), _point(parts[1])
    if len(size) != 2:
        raise InvalidRequest("cannot parse into a 2d point")
    if min(size) <= 0:
        plane = "".join("XYZ"[axis] for axis in axes)
        raise InvalidRequest(
            f"{illegal} geometry requested: {plane} slice @ offset {shown(offset)}, size ({size[0]}, {size[1]})"
        )
    width = dict(zip(axes, size, strict=True))
    return Region(axes, Box.at(offset, (width.get(0, 1), width.get(1, 1), width.get(2, 1))), wanted_format)


def subvolume(size_text: str, offset_text: str, illegal: str = "Illegal") -> Box:
    offset, size = _offset(offset_text), _point(size_text)
    if len(size) != 3:
        raise InvalidRequest(f"Size must be 3 (not {len(size)}) dimensions")
    if min(size) <= 0:
        raise InvalidRequest(f"{illegal} geometry requested: 3d volume {shown(size)} at offset {shown(offset)}")
    return Box.at(offset, size)


def refuse_roi(values: Mapping[str, str]) -> None:
    """Of a request that writes.

    Raises:
        UnsupportedRequest: a region of interest is named.
    """
    if values.get("roi"):
        raise UnsupportedRequest("roi= is taken of GET only: a box is stored whole")


def check_payload(size: int, limits: Limits) -> None:
    """
    Raises:
        TooLarge: over DVID's own limit or the operator's.
    """
    limit = min(LARGEST_PAYLOAD, limits.response_bytes)
    if size > limit:
        raise TooLarge(f"Requested payload ({size} bytes) exceeds this DVID server's set limit ({limit})")


def is_aligned(box: Box, block: int) -> bool:
    return all(n % block == 0 for n in (*box.start, *box.stop))


def aligned_blocks(box: Box, block: int, endpoint: str, limits: Limits) -> list[Vec3]:
    """Indices (x, y, z) of the blocks of an aligned box, x fastest.

    Args:
        block: Side of a block.
        endpoint: As DVID's text calls it.
    Raises:
        InvalidRequest: the box is not made of whole blocks.
        TooLarge: more blocks than a request may ask for.
    """
    if not is_aligned(box, block):
        last = (box.stop[0] - 1, box.stop[1] - 1, box.stop[2] - 1)
        raise InvalidRequest(
            f"cannot use labels via '{endpoint}' endpoint in non-block aligned geometry "
            f"{shown(box.start)} -> {shown(last)}"
        )
    check_count(box.voxels // block**3, limits)
    side = (block, block, block)
    (x0, y0, z0), (x1, y1, z1) = divide_down(box.start, side), divide_down(box.stop, side)
    return [(x, y, z) for z in range(z0, z1) for y in range(y0, y1) for x in range(x0, x1)]


def block_indices(text: str, limits: Limits) -> list[Vec3]:
    """The ``blocks=x1,y1,z1,x2,...`` of ``specificblocks``, in their order.

    Raises:
        InvalidRequest: not three coordinates per block, or not numbers of 32 bits.
        TooLarge: more blocks than a request may ask for.
    """
    if not text:
        return []
    words = text.split(",")
    if len(words) % 3:
        raise InvalidRequest("block query string should be three coordinates per block")
    check_count(len(words) // 3, limits)
    numbers = _integers(words, text, ",", "Atoi")
    return list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))


def _integers(words: Sequence[str], text: str, separator: str, parser: str) -> list[int]:
    """The words of a text that is a list of numbers. Those of every real request are ASCII digits and minus signs.

    Args:
        parser: As ``integer``'s, which is asked only where something is wrong or out of the ordinary.
    """
    if _PLAIN[separator].issuperset(text) and len(text) <= len(words) * _MOST_DIGITS:
        with contextlib.suppress(ValueError):
            numbers = list(map(int, words))
            if min(numbers) in _INT32 and max(numbers) in _INT32:
                return numbers
    return [integer(word, parser) for word in words]


def span(parts: Sequence[str], limits: Limits) -> list[Vec3]:
    """``<bx_by_bz>/<spanX>``: blocks that follow each other along x."""
    if len(parts) < 2:
        raise InvalidRequest('"blocks" must be followed by block-coord/span-x')
    (x, y, z), count = _offset(parts[0]), integer(parts[1], "Atoi")
    if count <= 0:
        raise InvalidRequest(f"span-x must be at least 1, got {count}")
    check_count(count, limits)
    return [(x + i, y, z) for i in range(count)]


def check_count(count: int, limits: Limits) -> None:
    if count > limits.blocks:
        raise TooLarge(f"{count} blocks in one request, the limit is {limits.blocks} (limits.blocks)")


def scale_number(values: Mapping[str, str]) -> int:
    """As ``scale=`` has it, of scales that are there or not."""
    text = values.get("scale")
    try:
        return integer(text, "Atoi") if text else 0
    except InvalidRequest as error:
        raise InvalidRequest(f"bad scale specified: {error}") from None


def scale_of(values: Mapping[str, str], scales: Sequence[Scale]) -> Scale:
    """The ``scale=`` of a labelmap's request."""
    number = scale_number(values)
    if not 0 <= number < len(scales):
        raise InvalidRequest(f"scale {number} is not there; scales are 0 to {len(scales) - 1}")
    return scales[number]


def bounds(values: Mapping[str, str]) -> Box:
    """``minx`` to ``maxz``, inclusive, each of them optional; a box without voxels if nothing lies in them."""
    try:
        low = [integer(values.get(f"min{axis}") or str(_INT32.start)) for axis in "xyz"]
        high = [integer(values.get(f"max{axis}") or str(_INT32.stop - 1)) for axis in "xyz"]
    except InvalidRequest as error:
        raise InvalidRequest(f"Error parsing bounds from query string: {error}\n") from None
    stop = [max(first, last + 1) for first, last in zip(low, high, strict=True)]
    return Box((low[0], low[1], low[2]), (stop[0], stop[1], stop[2]))


def label(text: str) -> int:
    return integer(text, "ParseUint", _UINT64)


def points(body: bytes, values: Mapping[str, str], endpoint: str = "labels") -> list[Vec3]:
    """The JSON list of ``[x, y, z]`` that ``labels`` and ``ptquery`` take."""
    items = _hashed_list(body, values, endpoint)
    for item in items:
        if type(item) is not list or len(item) != 3 or not all(_is_in(n, _INT32) for n in item):
            raise InvalidRequest(
                f"Bad {endpoint} request JSON: {_short(repr(item))} is not a point [x, y, z] of 32-bit numbers"
            )
    return [(x, y, z) for x, y, z in items]


def labels(body: bytes, values: Mapping[str, str], endpoint: str) -> list[int]:
    """The JSON list of labels that ``mapping`` takes."""
    items = _hashed_list(body, values, endpoint)
    for item in items:
        if not _is_in(item, _UINT64):
            raise InvalidRequest(f"Bad {endpoint} request JSON: {_short(repr(item))} is not a label of 64 bits")
    return items


def _hashed_list(body: bytes, values: Mapping[str, str], endpoint: str) -> list[Any]:
    wanted = values.get("hash")
    if wanted:
        found = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if found != wanted:
            raise InvalidRequest(f"content hash incorrect.  expected {_short(wanted)}, got {found}")
    try:
        items = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"Bad {endpoint} request JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    if not isinstance(items, list):
        raise InvalidRequest(f"Bad {endpoint} request JSON: expected a list")
    return items


def _is_in(value: object, allowed: range) -> bool:
    return type(value) is int and value in allowed


def shown(point: Iterable[int]) -> str:
    """As Go prints a point."""
    return f"({','.join(map(str, point))})"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
