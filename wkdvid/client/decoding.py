"""Bodies of answers -> values. What cannot be the answer raises ValueError, which ``Call.result`` gives its context."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from wkdvid.client.calls import Reply
from wkdvid.client.errors import InvalidArgument
from wkdvid.codecs import payload, segmentation

T = TypeVar("T")
Array = npt.NDArray[Any]

COMPRESSIONS = ("", "lz4", "gzip", "google", "googlegzip")
"""Of boxes of labels; the last two are Neuroglancer's compressed_segmentation."""


def json_of(kind: type[T]) -> Callable[[Reply], T]:
    def decode(reply: Reply) -> T:
        return typed(json.loads(reply.body), kind)

    return decode


def member(name: str, kind: type[T]) -> Callable[[Reply], T]:
    """Of a JSON object."""

    def decode(reply: Reply) -> T:
        return typed(json_of(dict)(reply)[name], kind)

    return decode


def typed(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"JSON of type {type(value).__name__}, expected {kind.__name__}")
    return value


def nothing(_: Reply) -> None:
    pass


def text(reply: Reply) -> str:
    return reply.body.decode("utf-8", "replace")


def octets(reply: Reply) -> bytes:
    return bytes(reply.body)


def counts(reply: Reply) -> npt.NDArray[np.uint64]:
    """A JSON list of labels or sizes."""
    found = json_of(list)(reply)
    if not all(type(number) is int and 0 <= number < 2**64 for number in found):
        raise ValueError("JSON that is no list of numbers of 64 bits")
    return np.array(found, np.uint64)


def encoded_limit(size: int, compression: str) -> int:
    """Most bytes that ``size`` bytes of voxels may be sent as; what cannot be compressed gets longer."""
    return size if not compression else 2 * size + 2**16


def voxels(body: payload.Buffer, shape: Sequence[int], dtype: np.dtype[Any], compression: str = "") -> Array:
    """An array of ``shape`` (c, x, y, z), Fortran order, from a body with channels interleaved and x fastest."""
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if compression.startswith("google"):
        sx, sy, sz = shape[1:]
        return segmentation.decode(body, (sx, sy, sz))[None]
    raw: Any = body
    if compression == "lz4":
        raw = bytearray(payload.unlz4(body, size))
    elif compression == "gzip":
        raw = bytearray(payload.gunzip(body, size))
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes of voxels, expected {size}")
    return np.frombuffer(raw, _little_endian(dtype)).reshape(shape, order="F")


def wire_bytes(array: Array) -> bytes:
    """What ``voxels`` reads."""
    return array.astype(_little_endian(array.dtype), copy=False).tobytes("F")


def _little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"<{dtype.str[1:]}")


def converted(array: Array, dtype: np.dtype[Any]) -> Array:
    """The same values as another type.

    Raises:
        InvalidArgument: they are not all values of that type.
    """
    if np.can_cast(array.dtype, dtype, "safe") or (array.dtype.kind, dtype.kind) == ("f", "f") or not array.size:
        return array.astype(dtype, copy=False)
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        low, high, range_ = int(array.min()), int(array.max()), np.iinfo(dtype)
        if range_.min <= low and high <= range_.max:
            return array.astype(dtype)
        raise InvalidArgument(f"values from {low} to {high} do not fit {dtype}")
    raise InvalidArgument(f"{array.dtype} cannot be given as {dtype} without loss")
