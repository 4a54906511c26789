"""DVID's block streams: records of int32 x, y, z and length, little-endian, and so many bytes; nothing around them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from wkdvid.codecs.payload import Buffer
from wkdvid.core.geometry import Vec3
from wkdvid.errors import InvalidRequest

_HEADER = struct.Struct("<4i")


def header(index: Vec3, length: int) -> bytes:
    """What stands before a payload of ``length`` bytes; ``index`` counts blocks (x, y, z)."""
    return _HEADER.pack(*index, length)


def iter_records(data: Buffer) -> Iterator[tuple[Vec3, memoryview]]:
    """Each block's index (x, y, z) and payload, which is a view of ``data``.

    Raises:
        InvalidRequest: the stream is cut, or a length is not above 0. Records before that have been given out.
    """
    view, at = memoryview(data), 0
    while at < len(view):
        if len(view) - at < _HEADER.size:
            raise InvalidRequest(f"block stream: cut in the {_HEADER.size}-byte header at byte {at}")
        x, y, z, length = _HEADER.unpack_from(view, at)
        at += _HEADER.size
        if not 0 < length <= len(view) - at:
            raise InvalidRequest(
                f"block stream: block ({x}, {y}, {z}) at byte {at} says {length} bytes; 1 to {len(view) - at} are there"
            )
        yield (x, y, z), view[at : at + length]
        at += length
