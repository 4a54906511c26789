"""Slices as files, read by Pillow and, as Pillow cuts 16-bit RGBA PNG to 8 bits, by a reader of our own."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, STRIPBYTECOUNTS, STRIPOFFSETS, TiffImageFile

from tests.codecs.pictures import cells, gray
from wkdvid.codecs.images import SliceFormat, decode_slice, encode_slice, parse_format
from wkdvid.errors import CorruptChunk, InvalidRequest, UnsupportedRequest

PNG, JPEG, TIFF, BMP = (SliceFormat("png"), SliceFormat("jpeg"), SliceFormat("tiff"), SliceFormat("bmp"))


def read_png(data: bytes) -> NDArray[Any]:
    """Pixels (height, width, channels) of a PNG without interlace, in its own bit depth."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        chunks[kind] = chunks.get(kind, b"") + data[at + 8 : at + 8 + size]
        at += 12 + size
    width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert interlace == 0
    channels = {0: 1, 2: 3, 6: 4}[color]
    step = channels * depth // 8
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    pixels = np.zeros((height, width * step), np.uint8)
    for line, out in zip(lines, pixels, strict=True):
        assert line[0] in (0, 1), "only the filters None and Sub are read here"
        out[:] = line[1:]
        if line[0] == 1:
            out[:] = np.cumsum(line[1:].reshape(width, step), axis=0, dtype=np.uint8).reshape(-1)
    return pixels.view(f">u{depth // 8}").reshape(height, width, channels)


def read(data: bytes) -> NDArray[Any]:
    image = Image.open(io.BytesIO(data))
    return np.asarray(image.convert("L") if image.mode == "P" else image)


def slice_of(dtype: str) -> NDArray[Any]:
    """Voxels (40, 50) whose bytes all matter."""
    size = 40 * 50 * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(3).bytes(size), dtype).reshape(40, 50)


def test_png_of_bytes_is_8_bit_gray() -> None:
    voxels = slice_of("<u1")
    assert np.array_equal(read_png(encode_slice(voxels, PNG))[..., 0], voxels)
    assert np.array_equal(read(encode_slice(voxels, PNG)), voxels)


def test_png_of_two_bytes_is_16_bit_gray() -> None:
    voxels = slice_of("<u2")
    pixels = read_png(encode_slice(voxels, PNG))
    assert pixels.dtype == np.dtype(">u2")
    assert np.array_equal(pixels[..., 0], voxels)


@pytest.mark.parametrize("dtype", ["<u4", "<f4"])
def test_png_of_four_bytes_is_their_order_in_memory(dtype: str) -> None:
    voxels = slice_of(dtype)
    data = encode_slice(voxels, PNG)
    assert read_png(data).shape == (40, 50, 4)
    assert read_png(data).tobytes() == voxels.tobytes()
    assert read(data).tobytes() == voxels.tobytes()


def test_png_of_labels_is_16_bit_rgba_with_all_64_bits() -> None:
    voxels = cells((50, 40, 1), 9)[:, :, 0].T
    pixels = read_png(encode_slice(voxels, PNG))
    assert (pixels.shape, pixels.dtype) == ((40, 50, 4), np.dtype(">u2"))
    assert pixels.tobytes() == voxels.tobytes()


def test_pixels_of_a_label_as_dvid_answers() -> None:
    """DVID's answer to a slice of label 0x211b2 is red 0xb211, green 0x0200."""
    pixels = read_png(encode_slice(np.array([[0x211B2]], np.uint64), PNG))
    assert pixels[0, 0].tolist() == [0xB211, 0x0200, 0, 0]


def test_png_of_floats_as_dvid_answers() -> None:
    assert read_png(encode_slice(np.array([[19.5]], np.float32), PNG))[0, 0].tolist() == [0x00, 0x00, 0x9C, 0x41]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("image_format", [PNG, TIFF, BMP])
def test_channels_are_pixels_already(channels: int, image_format: SliceFormat) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, channels), dtype=np.uint8)
    assert np.array_equal(read(encode_slice(pixels, image_format)), pixels)


@pytest.mark.parametrize("image_format", [TIFF, BMP])
def test_gray_tiff_and_bmp(image_format: SliceFormat) -> None:
    voxels = slice_of("<u1")
    assert np.array_equal(read(encode_slice(voxels, image_format)), voxels)


def test_tiff_is_deflated_and_carries_16_bits() -> None:
    voxels = slice_of("<u2")
    image = Image.open(io.BytesIO(encode_slice(voxels, TIFF)))
    assert image.info["compression"] in ("tiff_adobe_deflate", "tiff_deflate")
    assert np.array_equal(np.asarray(image), voxels)


def test_tiff_of_labels_carries_64_bits() -> None:
    voxels = slice_of("<u8")
    data = encode_slice(voxels, TIFF)
    tags = TiffImageFile(io.BytesIO(data)).tag_v2
    assert (tags[BITSPERSAMPLE], tags.prefix) == ((16, 16, 16, 16), b"II")
    strips = zip(tags[STRIPOFFSETS], tags[STRIPBYTECOUNTS], strict=True)
    samples = b"".join(zlib.decompress(data[at : at + size]) for at, size in strips)
    assert np.frombuffer(samples, "<u2").astype(">u2").tobytes() == voxels.tobytes()


@pytest.mark.parametrize("image_format", [JPEG, BMP])
def test_eight_bit_formats_show_the_upper_bits(image_format: SliceFormat) -> None:
    picture = gray((50, 40, 1))[:, :, 0].T
    shown = read(encode_slice(picture.astype(np.uint16) * 257, image_format))
    assert shown.shape == (40, 50)
    assert np.abs(shown.astype(int) - picture).mean() < 2


def test_jpeg_drops_alpha() -> None:
    pixels = np.full((16, 16, 4), (200, 100, 50, 7), np.uint8)
    shown = read(encode_slice(pixels, JPEG))
    assert np.abs(shown.astype(int) - (200, 100, 50)).max() < 4


def test_jpeg_of_labels_is_an_image() -> None:
    assert read(encode_slice(slice_of("<u8"), JPEG)).shape == (40, 50, 3)


def test_jpeg_quality() -> None:
    picture = gray((120, 90, 1))[:, :, 0].T
    default, better = (encode_slice(picture, parse_format(text)) for text in ("jpg", "jpg:95"))
    assert len(default) < len(better)
    assert Image.open(io.BytesIO(default)).size == (120, 90)


def test_any_memory_order_and_read_only() -> None:
    voxels = slice_of("<u8")
    voxels.flags.writeable = False
    for image_format in (PNG, JPEG, TIFF, BMP):
        expected = encode_slice(voxels.copy(), image_format)
        assert encode_slice(np.asfortranarray(voxels), image_format) == expected
        assert encode_slice(voxels, image_format) == expected


@pytest.mark.parametrize(("image_format", "width"), [(JPEG, 65501), (PNG, 1_000_001)])
def test_too_large(image_format: SliceFormat, width: int) -> None:
    assert encode_slice(np.zeros((1, width - 1), np.uint8), image_format)
    with pytest.raises(UnsupportedRequest, match=f"^{image_format.kind}: image is too large to encode$"):
        encode_slice(np.zeros((1, width), np.uint8), image_format)


@pytest.mark.parametrize(
    ("text", "kind", "quality", "media_type"),
    [
        ("", "png", 80, "image/png"),
        ("png", "png", 80, "image/png"),
        ("jpg", "jpeg", 80, "image/jpeg"),
        ("jpeg", "jpeg", 80, "image/jpeg"),
        ("jpg:95", "jpeg", 95, "image/jpeg"),
        ("jpeg:1000", "jpeg", 100, "image/jpeg"),
        ("jpeg:0", "jpeg", 1, "image/jpeg"),
        ("tif", "tiff", 80, "image/tiff"),
        ("tiff", "tiff", 80, "image/tiff"),
        ("bmp", "bmp", 80, "image/bmp"),
    ],
)
def test_formats(text: str, kind: str, quality: int, media_type: str) -> None:
    parsed = parse_format(text)
    assert (parsed.kind, parsed.quality, parsed.media_type) == (kind, quality, media_type)


@pytest.mark.parametrize("text", ["gif", "PNG", "jp2", " png", "webp:80"])
def test_unknown_format(text: str) -> None:
    with pytest.raises(UnsupportedRequest, match=f"^Illegal image format requested: {text.partition(':')[0]}$"):
        parse_format(text)


@pytest.mark.parametrize(
    "text", ["jpg:", "jpg:a", "jpg:-5", "jpg:+5", "jpg:1_0", "jpg:\uff180", "jpg:80:80", "jpg:8.5"]
)
def test_bad_quality(text: str) -> None:
    with pytest.raises(InvalidRequest, match="the quality must be a number from 1 to 100"):
        parse_format(text)


PNG = SliceFormat("png")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32", "uint64"])
def test_png_is_decoded_exactly(dtype: str) -> None:
    voxels = np.random.default_rng(1).integers(0, 256, (7, 5, np.dtype(dtype).itemsize)).astype(np.uint8)
    bits = np.ascontiguousarray(voxels).view(dtype)[..., 0]
    decoded = decode_slice(encode_slice(bits, PNG), (7, 5), np.dtype(dtype))
    assert decoded.dtype == bits.dtype
    assert decoded.tobytes() == bits.tobytes()


@pytest.mark.parametrize("image_format", [PNG, SliceFormat("jpeg", 95)])
def test_rgba_is_decoded(image_format: SliceFormat) -> None:
    colors = np.full((40, 30, 4), (200, 100, 50, 255), np.uint8)
    decoded = decode_slice(encode_slice(colors, image_format), (40, 30), np.dtype(np.uint8), 4)
    assert np.abs(decoded.astype(int) - colors).max() <= (0 if image_format is PNG else 4)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_images_that_are_not_the_slice_are_refused(kind: Any) -> None:
    """Cut short, of another size or kind of pixels, or none at all; a size is only believed if it is the right one."""
    good = encode_slice(gray((40, 30, 1))[..., 0], SliceFormat(kind))
    assert decode_slice(good, (40, 30), np.dtype(np.uint8)).shape == (40, 30)
    wrong: list[tuple[bytes, tuple[int, int], str, int]] = [
        *((good[:end], (40, 30), "uint8", 1) for end in (0, 3, 20, len(good) // 2)),
        *((good, size, "uint8", 1) for size in ((30, 40), (40, 31), (39, 30))),
        *((good, (40, 30), dtype, 1) for dtype in ("uint16", "uint32", "uint64")),
        (bytes(100), (40, 30), "uint8", 1),
    ]
    if kind == "png":
        wrong.append((good[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + good[24:], (40, 30), "uint8", 1))
        wrong.append((good, (40, 30), "uint8", 4))
    for data, size, dtype, channels in wrong:
        with pytest.raises(CorruptChunk):
            decode_slice(data, size, np.dtype(dtype), channels)
