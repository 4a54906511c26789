"""Block JPEGs, read and written also by Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.codecs.damage import damage
from tests.codecs.pictures import gray
from wkdvid.codecs import jpeg
from wkdvid.errors import CorruptChunk, UnsupportedRequest


def by_pillow(pixels: NDArray[np.uint8], **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def error_of(decoded: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    return float(np.abs(decoded.astype(int) - true.astype(int)).mean())


def test_block_is_sx_wide_and_sy_sz_high() -> None:
    block = gray((33, 21, 7))
    image = Image.open(io.BytesIO(jpeg.encode_block(block)))
    assert (image.format, image.mode, image.size) == ("JPEG", "L", (33, 147))
    assert error_of(np.asarray(image).reshape(7, 21, 33).T, block) < 2


def test_default_quality_is_dvids() -> None:
    block = gray((32, 32, 8))
    assert jpeg.encode_block(block) == jpeg.encode_block(block, 80)
    assert len(jpeg.encode_block(block, 30)) < len(jpeg.encode_block(block)) < len(jpeg.encode_block(block, 95))


@pytest.mark.parametrize("width", [16, 12, 192, 1])
def test_decodes_any_width_and_height_of_as_many_pixels(width: int) -> None:
    block = gray((16, 12, 8))
    decoded = jpeg.decode_block(memoryview(by_pillow(block.T.reshape(-1, width), quality=100)), (16, 12, 8))
    assert decoded.shape == (16, 12, 8)
    assert decoded.flags.f_contiguous
    assert error_of(decoded, block) < 1


def test_any_memory_order_and_read_only() -> None:
    block = gray((24, 16, 8))
    expected = jpeg.encode_block(block)
    for same in (np.ascontiguousarray(block), block[::-1][::-1]):
        same.flags.writeable = False
        assert jpeg.encode_block(same) == expected


@pytest.mark.parametrize("shape", [(8, 1000, 66), (66000, 1, 1)])
def test_too_large(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UnsupportedRequest, match=r"^jpeg: image is too large to encode$"):
        jpeg.encode_block(np.zeros(shape, np.uint8, order="F"))


def test_largest_height() -> None:
    block = np.zeros((8, 655, 100), np.uint8, order="F")
    assert jpeg.decode_block(jpeg.encode_block(block), block.shape).shape == block.shape


def test_image_of_colors() -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = (200, 30, 60)
    image = Image.open(io.BytesIO(jpeg.encode_image(pixels, 95)))
    assert (image.mode, image.size) == ("RGB", (16, 8))
    assert error_of(np.asarray(image), pixels) < 5


SOUND = jpeg.encode_block(gray((16, 16, 4)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"not a JPEG at all, but some text",
        SOUND[: len(SOUND) // 2],
        by_pillow(gray((16, 16, 5)).T.reshape(-1, 16)),
        by_pillow(np.zeros((64, 16, 3), np.uint8)),
    ],
    ids=["empty", "start", "text", "cut", "other size", "colors"],
)
def test_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptChunk, match=r"^jpeg: "):
        jpeg.decode_block(data, (16, 16, 4))


def test_what_begins_and_ends_as_a_block() -> None:
    shape = (16, 16, 16)
    sound = jpeg.encode_block(np.zeros(shape, np.uint8, order="F"))
    assert jpeg.is_block(sound, shape)
    for wrong in (
        sound[:-1],
        sound[1:],
        sound[:20],
        b"",
        b"<html>",
        jpeg.encode_image(np.zeros((256, 16, 3), np.uint8)),
    ):
        assert not jpeg.is_block(wrong, shape)
    assert not jpeg.is_block(sound, (16, 16, 32))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_data_is_refused_or_decoded(data: st.DataObject) -> None:
    damaged = damage(data, SOUND)
    try:
        decoded = jpeg.decode_block(damaged, (16, 16, 4))
    except CorruptChunk:
        return
    assert (decoded.shape, decoded.dtype) == ((16, 16, 4), np.dtype(np.uint8))
