"""Every type in every compression, in boxes that lie on blocks or across them: the array is sent, zeros outside."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Mapping
from io import BytesIO

import compressed_segmentation
import lz4.block
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.dvid.shelf import Shelf, cut, vector
from tests.dvid_wire import label_block, records
from tests.volumes import Voxels
from wkdvid.core.geometry import Vec3

SIDE = 64
BLOCK: Vec3 = (SIDE, SIDE, SIDE)
IMAGES = ("ramp", "plain", "jpeg", "said_jpeg", "em16", "em32", "em64", "field", "rgb", "moved")
LABELS = ("labels", "cells", "narrow", "moved_labels")
QUALITY = 80
"""Of DVID's JPEG."""
LENIENT = 1 << 18
"""Voxels of a box that need not lie on blocks."""

Decode = Callable[[bytes, Vec3, np.dtype[np.generic]], Voxels]
"""(x, y, z[, c]) of what was sent."""


def plain(data: bytes, size: Vec3, dtype: np.dtype[np.generic]) -> Voxels:
    voxels = np.frombuffer(data, dtype)
    channels = voxels.size // math.prod(size)
    assert voxels.size == channels * math.prod(size)
    box = voxels.reshape((*size[::-1], channels)).transpose(2, 1, 0, 3)
    return box if channels > 1 else box[..., 0]


def from_lz4(data: bytes, size: Vec3, dtype: np.dtype[np.generic]) -> Voxels:
    length = math.prod(size) * dtype.itemsize
    return plain(lz4.block.decompress(data, uncompressed_size=length), size, dtype)


def from_sized_lz4(data: bytes, size: Vec3, dtype: np.dtype[np.generic]) -> Voxels:
    return plain(lz4.block.decompress(data), size, dtype)  # the length before it is as lz4 itself has it


def from_gzip(data: bytes, size: Vec3, dtype: np.dtype[np.generic]) -> Voxels:
    return plain(gzip.decompress(data), size, dtype)


def from_google(data: bytes, size: Vec3, dtype: np.dtype[np.generic]) -> Voxels:
    voxels: Voxels = compressed_segmentation.decompress(data, size, dtype, block_size=(8, 8, 8), order="F")
    return voxels.reshape(size)


def from_label_block(data: bytes, size: Vec3, dtype: np.dtype[np.generic]) -> Voxels:
    voxels = label_block(gzip.decompress(data)).T
    assert (voxels.shape, voxels.dtype) == (size, dtype)
    return voxels


def from_jpeg(data: bytes, size: Vec3, dtype: np.dtype[np.generic]) -> Voxels:
    image = Image.open(BytesIO(data))
    assert (image.format, image.mode, image.size) == ("JPEG", "L", (size[0], size[1] * size[2]))
    return np.asarray(image).reshape(size[::-1]).T


OF_LABEL_BOXES: Mapping[str, Decode] = {
    "": plain,
    "lz4": from_lz4,
    "gzip": from_gzip,
    "google": from_google,
    "googlegzip": from_google,  # the HTTP client has undone its Content-Encoding
}
OF_LABEL_BLOCKS: Mapping[str, Decode] = {
    "lz4": from_lz4,
    "gzip": from_gzip,
    "blocks": from_label_block,
    "uncompressed": plain,
}
OF_IMAGE_BLOCKS: Mapping[str, Decode] = {"LZ4": from_sized_lz4, "No": plain, "jpeg": from_jpeg}
"""By how they are said to be stored."""

corners = st.tuples(st.integers(-60, 100), st.integers(-60, 80), st.integers(-110, 70))
sizes = st.tuples(st.integers(1, 80), st.integers(1, 70), st.integers(1, 40))
steps = st.tuples(*[st.sampled_from([0, -1, 1])] * 3)
"""From the block in which a volume begins to the first that is asked for, in blocks."""
counts = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))


def times_block(numbers: Vec3) -> Vec3:
    return (SIDE * numbers[0], SIDE * numbers[1], SIDE * numbers[2])


def expected(shelf: Shelf, name: str, offset: Vec3, size: Vec3) -> Voxels:
    """As it is to be sent, but for what JPEG makes of it."""
    array, (x, y, z) = shelf.stored(name)
    if name == "rgb":
        array = np.concatenate([array, np.full((*array.shape[:3], 1), 255, np.uint8)], axis=3)
    box = cut(array, (offset[0] - x, offset[1] - y, offset[2] - z), size)
    return box.astype(np.uint64) if name in LABELS else box


def check(found: Voxels, voxels: Voxels, decode: Decode) -> None:
    """JPEG is as near to the voxels as Pillow's of the same quality."""
    if decode is not from_jpeg:
        np.testing.assert_array_equal(found, voxels)
        return
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(voxels.T).reshape(-1, len(voxels))).save(file, "JPEG", quality=QUALITY)
    pillows = from_jpeg(file.getvalue(), voxels.shape, voxels.dtype)
    ours, theirs = (np.abs(one.astype(int) - voxels).mean() for one in (found, pillows))
    assert ours <= 1.02 * theirs + 1  # decoders and encoders round in their own ways


@pytest.mark.parametrize("name", LABELS)
@settings(max_examples=12)
@given(offset=corners, size=sizes, on_blocks=st.booleans())
def test_boxes_of_labels(shelf: Shelf, name: str, offset: Vec3, size: Vec3, on_blocks: bool) -> None:
    if on_blocks:
        offset, size = times_block((offset[0] // SIDE, offset[1] // SIDE, offset[2] // SIDE)), BLOCK
    voxels = expected(shelf, name, offset, size)
    for compression, decode in OF_LABEL_BOXES.items():
        body = shelf.body(f"{name}/raw/0_1_2/{vector(size)}/{vector(offset)}?compression={compression}")
        np.testing.assert_array_equal(decode(body, size, voxels.dtype), voxels)


@pytest.mark.parametrize("name", IMAGES)
@settings(max_examples=12)
@given(offset=corners, size=sizes, ignored=st.sampled_from(["", "?compression=lz4", "?scale=1", "?compression=jpeg"]))
def test_boxes_of_images(shelf: Shelf, name: str, offset: Vec3, size: Vec3, ignored: str) -> None:
    """``compression`` and ``scale`` are for labels."""
    body, voxels = shelf.body(f"{name}/raw/0_1_2/{vector(size)}/{vector(offset)}{ignored}"), shelf.stored(name)[0]
    np.testing.assert_array_equal(plain(body, size, voxels.dtype), expected(shelf, name, offset, size))


@pytest.mark.parametrize("name", LABELS)
@settings(max_examples=10)
@given(step=steps, count=counts)
def test_blocks_of_labels(shelf: Shelf, name: str, step: Vec3, count: Vec3) -> None:
    """By ``blocks`` and by ``specificblocks``, whose defaults differ."""
    wanted = Wanted(shelf, name, step, count)
    for path, otherwise in ((wanted.box("blocks"), "lz4"), (wanted.named, "blocks")):
        for compression in ("", *OF_LABEL_BLOCKS):
            wanted.check(f"{path}compression={compression}", OF_LABEL_BLOCKS[compression or otherwise])


@pytest.mark.parametrize("name", IMAGES)
@settings(max_examples=10)
@given(step=steps, count=counts)
def test_blocks_of_images(shelf: Shelf, name: str, step: Vec3, count: Vec3) -> None:
    """By ``subvolblocks`` and by ``specificblocks``. JPEG is made of 8 bits alone."""
    wanted = Wanted(shelf, name, step, count)
    for path, always in ((wanted.box("subvolblocks"), len(wanted.blocks) == 1), (wanted.named, False)):
        wanted.check(f"{path}compression=", of_stored(shelf, name), always=always)
        wanted.check(f"{path}compression=uncompressed", plain, always=always)
        if shelf.stored(name)[0].dtype == np.uint8 and name != "rgb":
            wanted.check(f"{path}compression=jpeg", from_jpeg, always=always)
        else:
            assert "can't encode JPEG" in shelf.error(f"{path}compression=jpeg")


def of_stored(shelf: Shelf, name: str) -> Decode:
    return OF_IMAGE_BLOCKS[shelf.get(f"{name}/info").json()["Base"]["Compression"].split()[0]]


class Wanted:
    """Blocks of a volume, x first, around the one in which it begins."""

    def __init__(self, shelf: Shelf, name: str, step: Vec3, count: Vec3) -> None:
        self._shelf, self._name, self._count = shelf, name, count
        x0, y0, z0 = (n // SIDE + m for n, m in zip(shelf.stored(name)[1], step, strict=True))
        indices = [(x0 + x, y0 + y, z0 + z) for z, y, x in np.ndindex(*count[::-1])]
        self.blocks = {index: expected(shelf, name, times_block(index), BLOCK) for index in indices}

    def box(self, endpoint: str) -> str:
        size, offset = vector(times_block(self._count)), vector(times_block(next(iter(self.blocks))))
        return f"{self._name}/{endpoint}/{size}/{offset}?"

    @property
    def named(self) -> str:
        return f"{self._name}/specificblocks?blocks={','.join(str(n) for index in self.blocks for n in index)}&"

    def check(self, path: str, decode: Decode, *, always: bool = False) -> None:
        """Those that are not all zeros come, in the order in which they are asked for.

        Args:
            always: Whatever is in it, it comes.
        """
        found = {(x, y, z): data for (z, y, x), data in records(self._shelf.body(path))}
        colours = slice(3) if self._name == "rgb" else slice(None)
        assert [*found] == [i for i, block in self.blocks.items() if always or block[..., colours].any()]
        for index, data in found.items():
            check(decode(data, BLOCK, self.blocks[index].dtype), self.blocks[index], decode)


@settings(max_examples=25)
@given(name=st.sampled_from(["plain", "said_jpeg", "em16", "moved"]), offset=corners, size=sizes)
def test_boxes_across_blocks_are_one_record(shelf: Shelf, name: str, offset: Vec3, size: Vec3) -> None:
    path = f"{name}/subvolblocks/{vector(size)}/{vector(offset)}"
    (((z, y, x), data),) = records(shelf.body(path))
    assert (x, y, z) == tuple(o // s for o, s in zip(offset, size, strict=True))
    voxels, decode = expected(shelf, name, offset, size), of_stored(shelf, name)
    check(decode(data, size, voxels.dtype), voxels, decode)


@settings(max_examples=15)
@given(name=st.sampled_from(IMAGES), offset=corners, longer=st.integers(1, 64))
def test_large_boxes_lie_on_blocks(shelf: Shelf, name: str, offset: Vec3, longer: int) -> None:
    size = (SIDE, SIDE, SIDE + longer)
    assert math.prod(size) > LENIENT
    answer = shelf.get(f"{name}/subvolblocks/{vector(size)}/{vector(offset)}")
    lies = all(n % SIDE == 0 for n in (*offset, *size))
    assert (answer.status_code == 200) is lies
    assert lies or "in non-block aligned geometry" in answer.text


@settings(max_examples=15)
@given(name=st.sampled_from(LABELS), offset=corners, size=sizes)
def test_label_blocks_lie_on_blocks(shelf: Shelf, name: str, offset: Vec3, size: Vec3) -> None:
    answer = shelf.get(f"{name}/blocks/{vector(size)}/{vector(offset)}")
    assert (answer.status_code == 200) is all(n % SIDE == 0 for n in (*offset, *size))
