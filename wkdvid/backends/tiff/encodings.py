"""How the tiles of a TIFF may be compressed, and how many pixels a compressed one says that it holds."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TypeAlias

import simplejpeg

from wkdvid.errors import CorruptChunk

ENCODINGS: Mapping[int, str] = {
    1: "raw",
    5: "lzw",
    7: "jpeg",
    8: "deflate",
    32946: "deflate",
    32773: "packbits",
    33004: "jpeg2000",
    33005: "jpeg2000",
    34712: "jpeg2000",
    34925: "lzma",
    50000: "zstd",
    50001: "webp",
}
"""By the tag Compression. The decoders of the others allocate whatever a tile declares."""
PREDICTORS = (1, 2, 3)
"""None, differences, and those of floats."""

Size: TypeAlias = tuple[int, int, int]
"""Pixels (x, y), and samples where there can be many: JPEG and WebP have four at most, which is said to be 1 here."""

_JPEG_END = b"\xff\xd9"
_JPEG2000_SIZE = b"\xff\x4f\xff\x51"
"""Start of a codestream, and of the marker segment SIZ that follows it at once."""


def check_image(encoding: str, data: bytes, width: int, height: int, samples: int) -> None:
    """Refuse an image of more pixels or samples than its place in the TIFF has, before room is made for them.

    The other encodings are decoded into as many bytes as there should be, and no more.

    Raises:
        CorruptChunk: it has more, or its head or its end is not there.
    """
    declared = _SIZES.get(encoding)
    if declared is None:
        return
    try:
        size = declared(data)
    except (ValueError, struct.error) as error:
        raise CorruptChunk(f"{encoding}: a damaged head") from error
    expected = (width, height, samples)
    if any(a > b for a, b in zip(size, expected, strict=True)):
        raise CorruptChunk(f"{encoding}: an image of {size} (x, y, samples) where {expected} should be")


def _jpeg(data: bytes) -> Size:
    """The decoder fills what is missing with gray; no coded pixels look like the marker of the end."""
    if _JPEG_END not in data:
        raise ValueError("no end")
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    return width, height, 1


def _jpeg2000(data: bytes) -> Size:
    """ISO/IEC 15444-1, A.5.1: Xsiz, Ysiz, XOsiz and YOsiz after Lsiz and Rsiz; Csiz."""
    if not data.startswith(_JPEG2000_SIZE):
        raise ValueError("no codestream")
    right, bottom, left, top = struct.unpack_from(">4I", data, 8)
    return right - left, bottom - top, int.from_bytes(data[40:42])


def _webp(data: bytes) -> Size:
    """RFC 9649, 2.5 to 2.7: 14 bits each in a simple file, 24 bits each less one in an extended one."""
    if data[:4] + data[8:12] != b"RIFFWEBP":
        raise ValueError("no RIFF container")
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1, 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1
    if kind != b"VP8 ":
        raise ValueError("no image first")
    width, height = struct.unpack_from("<2H", data, 26)
    return width & 0x3FFF, height & 0x3FFF, 1


_SIZES: Mapping[str, Callable[[bytes], Size]] = {"jpeg": _jpeg, "jpeg2000": _jpeg2000, "webp": _webp}
