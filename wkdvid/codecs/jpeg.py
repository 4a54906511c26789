"""JPEG through libjpeg-turbo: blocks of gray voxels, and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from wkdvid.codecs.payload import Buffer
from wkdvid.core.geometry import Vec3, volume_of
from wkdvid.errors import CorruptChunk, UnsupportedRequest

QUALITY = 80
"""DVID's default."""
_LARGEST_SIDE = 65500
"""libjpeg's limit in pixels; DVID's is 65535."""
COLORS: Mapping[int, Sequence[str]] = {1: ("Gray",), 3: ("YCbCr", "RGB")}
"""As libjpeg-turbo calls those of images of so many components."""
_END = b"\xff\xd9"
"""The marker that an image ends with (ITU T.81, B.1.1.3)."""


def encode_block(block: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """Encode voxels (x, y, z) as a gray image of width ``sx`` and height ``sy * sz``; Fortran order needs no copy.

    Raises:
        UnsupportedRequest: a side of the image is over 65500 pixels.
    """
    return encode_image(block.T.reshape(-1, block.shape[0]), quality)


def encode_image(pixels: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """Encode (height, width) as gray or (height, width, 3) as RGB; quality 1 to 100.

    Raises:
        UnsupportedRequest: as in ``encode_block``.
    """
    if max(pixels.shape[:2]) > _LARGEST_SIDE:
        raise UnsupportedRequest("jpeg: image is too large to encode")
    gray = pixels.ndim == 2
    image = np.ascontiguousarray(pixels[:, :, None] if gray else pixels)
    data: bytes = simplejpeg.encode_jpeg(image, quality, "GRAY" if gray else "RGB", "Gray" if gray else "420")
    return data


def decode_block(data: Buffer, shape: Vec3) -> NDArray[np.uint8]:
    """Decode a gray image of any width and height to voxels (x, y, z) of ``shape``, Fortran order.

    Raises:
        CorruptChunk: not a JPEG, damaged, of more than one component, or not of as many pixels as voxels.
    """
    try:
        _check_header(data, shape)
        pixels: NDArray[Any] = simplejpeg.decode_jpeg(data, "GRAY")
    except ValueError as error:
        raise CorruptChunk(f"jpeg: {error}") from None
    return pixels.reshape(shape[::-1]).T


def is_block(data: bytes, shape: Vec3, channels: int = 1) -> bool:
    """Whether the bytes begin as an image of as many pixels as voxels, and end as one; no more is looked at."""
    try:
        _check_header(data, shape, COLORS[channels])
    except (CorruptChunk, ValueError):
        return False
    return data.endswith(_END)


def _check_header(data: Buffer, shape: Vec3, expected: Sequence[str] = COLORS[1]) -> None:
    height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
    if colors not in expected or int(height) * int(width) != volume_of(shape):
        raise CorruptChunk(f"jpeg: {colors} of {width} x {height} pixels, expected {expected[0]} of {volume_of(shape)}")
