"""URLs and JSON bodies of the datastore protocol -> values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

from wkdvid.core.buckets import BUCKET, Bucket
from wkdvid.core.geometry import Float3, Vec3, multiply, parse_mag
from wkdvid.core.limits import Limits
from wkdvid.errors import InvalidRequest, NotFound, TooLarge

DatasetName: TypeAlias = str | tuple[str, str]
"""An id, or organization and name."""

MAX_SIDE = 512
"""Voxels along one axis of a bucket or a cutout, as the real server has it."""
_COORDINATE = range(-(2**31), 2**31)
_SEGMENT_IDS = range(2**64)
_BIGINT = re.compile(r"[0-9]{1,20}")
_DATASET_ID = re.compile(r"[0-9a-f]{24}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")


def bucket_requests(body: Any, limits: Limits) -> list[Bucket]:
    """The list that a browser POSTs. Members that are not known are left alone.

    Raises:
        InvalidRequest: not a list of buckets; the message names item and member.
        TooLarge: more buckets than a request may ask for.
    """
    if not isinstance(body, list):
        raise InvalidRequest("expected a JSON list of buckets")
    if len(body) > limits.buckets:
        raise TooLarge(f"{len(body)} buckets in one request, the limit is {limits.buckets} (limits.buckets)")
    return [_bucket(item, i) for i, item in enumerate(body)]


def _bucket(item: Any, i: int) -> Bucket:
    if not isinstance(item, dict):
        raise InvalidRequest(f"[{i}]: expected an object")
    side = item.get("cubeSize")
    if type(side) is not int or not 0 < side <= MAX_SIDE:
        raise InvalidRequest(f"[{i}].cubeSize: expected a whole number from 1 to {MAX_SIDE}, got {side!r}")
    four_bit = item.get("fourBit") is True
    _check_pairs(side, four_bit, f"[{i}].cubeSize, with fourBit")
    return Bucket(vector(item.get("position"), f"[{i}].position"), _mag(item, i), (side, side, side), four_bit)


def _check_pairs(width: int, four_bit: bool, what: str) -> None:
    """Two voxels that follow each other along x share a byte."""
    if four_bit and width % 2:
        raise InvalidRequest(f"{what}: expected an even number, got {width}")


def _mag(item: Mapping[str, Any], i: int) -> Vec3:
    """``mag``, or of very old peers ``zoomStep``."""
    zoom = item.get("zoomStep")
    if item.get("mag") is None and type(zoom) is int and 0 <= zoom < 31:
        return (2**zoom, 2**zoom, 2**zoom)
    return positive_vector(item.get("mag"), f"[{i}].mag")


def vector(value: Any, what: str) -> Vec3:
    """Three whole numbers within 32 bits."""
    if type(value) is list and len(value) == 3:
        x, y, z = value
        if type(x) is type(y) is type(z) is int and x in _COORDINATE and y in _COORDINATE and z in _COORDINATE:
            return (x, y, z)
    raise InvalidRequest(f"{what}: expected three whole numbers [x, y, z] of 32 bits, got {_short(value)}")


def positive_vector(value: Any, what: str) -> Vec3:
    found = vector(value, what)
    if min(found) <= 0:
        raise InvalidRequest(f"{what}: expected three positive whole numbers [x, y, z], got {_short(value)}")
    return found


def sizes(value: Any, what: str) -> Float3:
    """Three positive numbers that one can calculate with."""
    if type(value) is list and len(value) == 3 and all(type(n) in {int, float} and 0 < n < 1e12 for n in value):
        x, y, z = map(float, value)
        return (x, y, z)
    raise InvalidRequest(f"{what}: expected three positive numbers [x, y, z], got {_short(value)}")


def segment_id(value: Any, what: str) -> int:
    """A number, or the envelope that numbers come in which JavaScript does not hold."""
    if isinstance(value, dict) and value.get("customJsonEncoding") == "bigint":
        text = value.get("value")
        value = int(text) if isinstance(text, str) and _BIGINT.fullmatch(text) else None
    if type(value) is int and value in _SEGMENT_IDS:
        return value
    raise InvalidRequest(f"{what}: expected a whole number of 64 bits, got {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def mag_literal(text: str) -> Vec3:
    """``4-4-2``, or ``4`` for (4, 4, 4)."""
    mag = parse_mag(text)
    if mag is None:
        raise InvalidRequest(f"mag: expected a positive number or x-y-z, such as 4-4-2, got {_short(text)}")
    return mag


def cutout_request(args: Mapping[str, Any]) -> Bucket:
    """The query of GET data: ``x, y, z`` in voxels of mag 1, ``width, height, depth`` in voxels of ``mag``.

    Raises:
        InvalidRequest: a parameter that is missing or out of its range.
    """
    size = (integer(args, "width"), integer(args, "height"), integer(args, "depth"))
    _check_sides(size, "width, height and depth")
    mag = args.get("mag")
    if mag is None:
        raise InvalidRequest("mag: missing")
    four_bit = args.get("halfByte") == "true"
    _check_pairs(size[0], four_bit, "width, with halfByte")
    return Bucket(position(args), mag_literal(mag), size, four_bit)


def read_data_request(body: Any) -> Bucket:
    """The body of POST readData: ``position`` in voxels of mag 1, ``cubeSize`` [x, y, z] in voxels of ``mag``.

    Raises:
        InvalidRequest: a member that is missing or out of its range.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("expected a JSON object")
    size = vector(body.get("cubeSize"), "cubeSize")
    _check_sides(size, "cubeSize")
    return Bucket(vector(body.get("position"), "position"), positive_vector(body.get("mag"), "mag"), size)


def knossos_request(mag: str, index: Sequence[str], args: Mapping[str, Any]) -> Bucket:
    """The path of a bucket.raw, ``mag4/x0/y1/z2``: which cube of ``cubeSize`` voxels it is.

    Raises:
        NotFound: a part of the path that does not begin with what it is.
        InvalidRequest: a number that is missing or out of its range.
    """
    for name, text in zip(("mag", "x", "y", "z"), (mag, *index), strict=True):
        if not text.startswith(name):
            raise NotFound(f"there is no {_short(text)}; expected mag1/x0/y0/z0/bucket.raw")
    side = integer(args, "cubeSize") if "cubeSize" in args else BUCKET
    _check_sides((side, side, side), "cubeSize")
    factors = mag_literal(mag[3:])
    x, y, z = (integer({name: text[1:]}, name) for name, text in zip("xyz", index, strict=True))
    return Bucket(multiply((x * side, y * side, z * side), factors), factors, (side, side, side))


def _check_sides(size: Vec3, what: str) -> None:
    if not all(0 < n <= MAX_SIDE for n in size):
        raise InvalidRequest(f"{what}: expected whole numbers from 1 to {MAX_SIDE}, got {list(size)}")


def position(args: Mapping[str, Any]) -> Vec3:
    """``x``, ``y``, ``z`` of a query."""
    return (integer(args, "x"), integer(args, "y"), integer(args, "z"))


def integer(args: Mapping[str, Any], name: str) -> int:
    """A whole number of 32 bits."""
    text = args.get(name)
    if text is None:
        raise InvalidRequest(f"{name}: missing")
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(text) in _COORDINATE):
        raise InvalidRequest(f"{name}: expected a whole number of 32 bits, got {_short(text)}")
    return int(text)


def number(args: Mapping[str, Any], name: str) -> float | None:
    """A finite number, or None if it is not there."""
    text = args.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest(f"{name}: expected a number, got {_short(text)}")
    return float(text)


def dataset_path(path: str) -> tuple[DatasetName, list[str]]:
    """A path below ``zarr/``: the dataset, in either addressing, and what of it is meant; [] is the dataset itself.

    An id has 24 hex digits; what else stands first is an organization, and the dataset's name follows it.

    Args:
        path: As it came: the router decodes single parts of paths alone.
    """
    parts = [unquote(part) for part in path.removesuffix("/").split("/")]
    if _DATASET_ID.fullmatch(parts[0]):
        return parts[0], parts[1:]
    return (parts[0], parts[1] if len(parts) > 1 else ""), parts[2:]
