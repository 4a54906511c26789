"""2-D slices as image files, with voxels in pixels as DVID puts them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import imagecodecs
import mmh3
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from wkdvid.codecs import jpeg
from wkdvid.errors import CorruptChunk, InvalidRequest, UnsupportedRequest

Kind: TypeAlias = Literal["png", "jpeg", "tiff", "bmp"]
Samples: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

_PNG = b"\x89PNG"
_LARGEST_PNG_SIDE = 1_000_000
"""libpng's limit in pixels."""
MIXED_AT_A_TIME = 1 << 20
"""Pixels that are reckoned with in float64, or sorted by label."""
_KINDS: dict[str, Kind] = {
    "": "png",
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "tif": "tiff",
    "tiff": "tiff",
    "bmp": "bmp",
}


@dataclass(frozen=True, slots=True)
class SliceFormat:
    kind: Kind
    quality: int = jpeg.QUALITY
    """1 to 100; of JPEG only."""

    @property
    def media_type(self) -> str:
        return f"image/{self.kind}"


def parse_format(text: str) -> SliceFormat:
    """Read ``png`` (or nothing), ``jpg`` or ``jpeg``, with ``:quality`` if wanted, ``tif`` or ``tiff``, or ``bmp``.

    A quality above 100 means 100 and 0 means 1, as in DVID.

    Raises:
        UnsupportedRequest: another format.
        InvalidRequest: a quality that is no number.
    """
    name, colon, quality = text.partition(":")
    if name not in _KINDS:
        raise UnsupportedRequest(f"Illegal image format requested: {name}")
    if not colon:
        return SliceFormat(_KINDS[name])
    if not re.fullmatch("[0-9]{1,9}", quality):
        raise InvalidRequest(f"image format {text!r}: the quality must be a number from 1 to 100")
    return SliceFormat(_KINDS[name], min(max(int(quality), 1), 100))


def encode_slice(voxels: NDArray[Any], image_format: SliceFormat) -> bytes:
    """Encode voxels (height, width), or 8-bit RGB and RGBA (height, width, 3 or 4), as an image file.

    PNG and TIFF carry every bit (see ``pixels_from_voxels``). JPEG and BMP have 8 bits a sample, the upper ones where
    there are 16, and JPEG drops alpha.

    Raises:
        UnsupportedRequest: a side is over the format's limit: JPEG 65500 pixels, PNG 1000000.
    """
    return _ENCODERS[image_format.kind](pixels_from_voxels(voxels), image_format.quality)


def pixels_from_voxels(voxels: NDArray[Any]) -> Samples:
    """Put voxels (height, width) of 1, 2, 4 or 8 bytes into samples of 8 or 16 bits, without loss.

    1 byte is 8-bit gray, 2 bytes are 16-bit gray. 4 bytes are the 8-bit R, G, B, A in memory order. 8 bytes in memory
    order are 16-bit R, G, B, A, the high byte of red first. Voxels with channels (RGB, RGBA) are samples already.
    """
    if voxels.ndim == 3:
        return voxels
    sample = {1: "u1", 2: "<u2", 4: "u1", 8: ">u2"}[voxels.itemsize]
    samples = np.ascontiguousarray(voxels).view(sample).astype(np.dtype(sample).newbyteorder("="), copy=False)
    return samples.reshape(*voxels.shape, 4) if voxels.itemsize > 2 else samples


def decode_slice(data: bytes, size: tuple[int, int], dtype: np.dtype[Any], channels: int = 1) -> NDArray[Any]:
    """The inverse of ``encode_slice`` for PNG, and for JPEG of uint8, which has losses.

    Args:
        size: (height, width) that the image must have.
    Returns:
        Voxels (height, width), or (height, width, channels).
    Raises:
        CorruptChunk: not such an image.
    """
    voxels = np.empty((*size, channels) if channels > 1 else size, dtype)
    pixels = np.empty_like(pixels_from_voxels(voxels))
    try:
        if data.startswith(_PNG):
            imagecodecs.png_decode(data, out=pixels)
        elif dtype == np.uint8:
            _decode_jpeg(data, pixels)
        else:
            raise ValueError(f"of {dtype} only PNG carries every bit")
    except (ValueError, imagecodecs.PngError) as error:
        raise CorruptChunk(f"image of {size[1]} x {size[0]} voxels: {error}") from None
    if voxels.ndim == pixels.ndim:
        return pixels
    samples = pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels
    return samples.reshape(-1).view(dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(size)


def _decode_jpeg(data: bytes, pixels: Samples) -> None:
    """Gray, or RGB into pixels whose alpha becomes 255."""
    height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
    if (height, width) != pixels.shape[:2] or (colors == "Gray") != (pixels.ndim == 2):
        raise ValueError(f"jpeg: {colors} of {width} x {height} pixels")
    if pixels.ndim == 2:
        pixels[...] = simplejpeg.decode_jpeg(data, "GRAY")[..., 0]
    else:
        pixels[..., :3], pixels[..., 3] = simplejpeg.decode_jpeg(data, "RGB"), 255


def pseudocolors(labels: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Labels (height, width) -> RGB (height, width, 3): the first bytes of each label's murmurhash3 (x86, 32 bits, seed
    0, of its 8 little-endian bytes), the high one first. So DVID colours them.
    """
    colors = np.empty((*labels.shape, 3), np.uint8)
    rows = max(MIXED_AT_A_TIME // max(labels.shape[1], 1), 1)
    for start in range(0, len(labels), rows):
        colors[start : start + rows] = _colors(labels[start : start + rows])
    return colors


def _colors(labels: NDArray[np.uint64]) -> NDArray[np.uint8]:
    known, places = np.unique(labels, return_inverse=True)
    hashes = [mmh3.hash(label.to_bytes(8, "little"), 0, signed=False) for label in known.tolist()]
    colors = np.array(hashes, ">u4").view(np.uint8).reshape(-1, 4)[:, :3]
    pixels: NDArray[np.uint8] = colors[places].reshape(*labels.shape, 3)
    return pixels


def resized(pixels: NDArray[Any], height: int, width: int, *, smooth: bool) -> NDArray[Any]:
    """Pixels (height, width[, channels]) as an image of another size over the same area.

    Args:
        smooth: Whether to interpolate between pixels, bilinearly; else the nearest one is taken.
    """
    for axis, length in enumerate((height, width)):
        if pixels.shape[axis] != length:
            pixels = _resized_along(pixels, axis, length, smooth)
    return pixels


def _resized_along(pixels: NDArray[Any], axis: int, length: int, smooth: bool) -> NDArray[Any]:
    old = pixels.shape[axis]
    centers = (np.arange(length) + 0.5) * (old / length)
    lines = np.moveaxis(pixels, axis, 0)
    out = np.empty((length, *lines.shape[1:]), pixels.dtype)
    if not smooth:
        out[...] = lines[np.minimum(centers.astype(np.int64), old - 1)]
        return np.moveaxis(out, 0, axis)
    places = np.clip(centers - 0.5, 0, old - 1)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, old - 1)
    share = (places - before).reshape(-1, *[1] * (pixels.ndim - 1))
    step = max(MIXED_AT_A_TIME // length, 1)
    for start in range(0, lines.shape[1], step):
        some = lines[:, start : start + step].astype(np.float64)
        mixed = some[before] * (1 - share) + some[after] * share
        out[:, start : start + step] = mixed if pixels.dtype.kind == "f" else np.floor(mixed + 0.5)
    return np.moveaxis(out, 0, axis)


def _eight_bit(pixels: Samples) -> NDArray[np.uint8]:
    return (pixels >> 8 if pixels.dtype == np.uint16 else pixels).astype(np.uint8, copy=False)


def _encode_png(pixels: Samples, _: int) -> bytes:
    if max(pixels.shape[:2]) > _LARGEST_PNG_SIDE:
        raise UnsupportedRequest("png: image is too large to encode")
    # 2.4 times (gray) to 4.6 times (labels) as fast as the library's choice, for files 10 to 70 % larger.
    return bytes(imagecodecs.png_encode(pixels, level=1, filter=imagecodecs.PNG.FILTER.SUB))


def _encode_tiff(pixels: Samples, _: int) -> bytes:
    # The library leaves a byte of alignment as it finds it, so it gets zeroed memory: equal slices give equal files.
    out = bytearray(pixels.nbytes + pixels.nbytes // 64 + 4096)
    return bytes(imagecodecs.tiff_encode(pixels, compression="deflate", out=out))


def _encode_bmp(pixels: Samples, _: int) -> bytes:
    return bytes(imagecodecs.bmp_encode(_eight_bit(pixels)))


def _encode_jpeg(pixels: Samples, quality: int) -> bytes:
    colors = pixels if pixels.ndim == 2 else pixels[..., :3]
    return jpeg.encode_image(_eight_bit(colors), quality)


_ENCODERS: dict[Kind, Callable[[Samples, int], bytes]] = {
    "png": _encode_png,
    "tiff": _encode_tiff,
    "bmp": _encode_bmp,
    "jpeg": _encode_jpeg,
}
