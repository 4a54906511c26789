"""Block streams: every compression, blocks that are left out, boxes that are not aligned, chunks handed on."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from io import BytesIO

import lz4.block
import numpy as np
import pytest
from PIL import Image

from tests.dvid.shelf import Shelf, cut, vector, wire_bytes
from tests.volumes import Voxels
from wkdvid.codecs import label_block
from wkdvid.core.geometry import Vec3, divide_down

SHAPE = (64, 64, 64)


def block_of(array: Voxels, index: Vec3) -> Voxels:
    x, y, z = index
    return cut(array, (64 * x, 64 * y, 64 * z), SHAPE)


def unlz4(data: bytes) -> bytes:
    size = int.from_bytes(data[:4], "little")
    return bytes(lz4.block.decompress(data[4:], uncompressed_size=size))


def pixels(data: bytes, shape: Vec3 = SHAPE) -> Voxels:
    image = Image.open(BytesIO(data))
    assert (image.format, image.mode, image.size) == ("JPEG", "L", (shape[0], shape[1] * shape[2]))
    return np.asarray(image).reshape(shape[::-1]).T


@pytest.mark.parametrize("name", ["ramp", "em16", "em32", "em64", "field"])
def test_blocks_are_as_they_are_said_to_be_stored(shelf: Shelf, name: str) -> None:
    assert shelf.get(f"{name}/info").json()["Base"]["Compression"] == "LZ4 compression, level -1"
    expected = wire_bytes(block_of(shelf.arrays[name], (0, 0, 0)))
    assert unlz4(shelf.records(f"{name}/specificblocks?blocks=0,0,0")[0, 0, 0]) == expected
    assert shelf.records(f"{name}/specificblocks?blocks=0,0,0&compression=uncompressed") == {(0, 0, 0): expected}


def test_blocks_of_rgb_are_rgba(shelf: Shelf) -> None:
    array = shelf.arrays["rgb"]
    rgba = np.concatenate([array, np.full((*array.shape[:3], 1), 255, np.uint8)], axis=3)
    expected = wire_bytes(block_of(rgba, (0, 0, 0)))
    assert unlz4(shelf.records("rgb/specificblocks?blocks=0,0,0")[0, 0, 0]) == expected
    assert shelf.body("rgb/specificblocks?blocks=7,7,7") == b""
    assert not any(shelf.records("rgb/subvolblocks/64_64_64/64_64_64?compression=uncompressed")[1, 1, 1])


def test_an_entry_chooses_the_compression(shelf: Shelf) -> None:
    assert shelf.get("plain/info").json()["Base"]["Compression"] == "No compression, level -1"
    assert shelf.records("plain/subvolblocks/64_64_64/0_0_0") == {
        (0, 0, 0): wire_bytes(block_of(shelf.arrays["ramp"], (0, 0, 0)))
    }
    assert shelf.get("said_jpeg/info").json()["Base"]["Compression"] == "jpeg compression, level 64"
    data = shelf.records("said_jpeg/specificblocks?blocks=1,0,0")[1, 0, 0]
    assert abs(pixels(data).astype(int) - block_of(shelf.arrays["ramp"], (1, 0, 0))).mean() < 4


def test_jpeg_is_made_for_uint8_and_for_nothing_else(shelf: Shelf) -> None:
    data = shelf.records("ramp/specificblocks?blocks=0,0,0&compression=jpeg")[0, 0, 0]
    assert abs(pixels(data).astype(int) - block_of(shelf.arrays["ramp"], (0, 0, 0))).max() <= 28
    text = "can't encode JPEG: expected internal block data to be JPEG, was LZ4 compression instead"
    assert shelf.error("em16/specificblocks?blocks=0,0,0&compression=jpeg") == text


def test_stored_jpeg_is_handed_on_as_it_is(shelf: Shelf) -> None:
    stored = (shelf.folder / "jpeg" / "1-1-1" / "0-64_0-64_0-64").read_bytes()
    assert shelf.records("jpeg/specificblocks?blocks=0,0,0") == {(0, 0, 0): stored}
    assert shelf.records("jpeg/subvolblocks/64_64_64/0_0_0?compression=jpeg") == {(0, 0, 0): stored}
    decoded = shelf.records("jpeg/specificblocks?blocks=0,0,0&compression=uncompressed")[0, 0, 0]
    assert decoded == pixels(stored).tobytes("F")


def test_a_stored_chunk_that_the_extent_cuts_is_made_whole(shelf: Shelf) -> None:
    data = shelf.records("jpeg/specificblocks?blocks=1,1,1")[1, 1, 1]
    assert abs(pixels(data).astype(int) - block_of(shelf.arrays["ramp"], (1, 1, 1))).mean() < 4


@pytest.mark.parametrize("endpoint", ["specificblocks?blocks=0,0,0,1,1,0", "blocks/128_128_64/0_0_0?"])
@pytest.mark.parametrize("compression", ["lz4", "gzip", "blocks", "uncompressed"])
def test_every_compression_of_labels(shelf: Shelf, endpoint: str, compression: str) -> None:
    records = shelf.records(f"cells/{endpoint}&compression={compression}".replace("?&", "?"))
    decoders: dict[str, Callable[[bytes], bytes]] = {
        "lz4": lambda data: lz4.block.decompress(data, uncompressed_size=2097152),
        "gzip": gzip.decompress,
        "blocks": lambda data: label_block.decode(gzip.decompress(data)).tobytes("F"),
        "uncompressed": bytes,
    }
    for index in ((0, 0, 0), (1, 1, 0)):
        expected = wire_bytes(block_of(shelf.arrays["cells"], index).astype(np.uint64))
        assert decoders[compression](records[index]) == expected


def test_order_is_kept_and_repeated_blocks_come_twice(shelf: Shelf) -> None:
    one = 16 + 64**3
    body = shelf.body("plain/specificblocks?blocks=1,0,0,0,0,0,1,0,0")
    assert [body[i * one] for i in range(3)] == [1, 0, 1]
    whole = shelf.body("plain/subvolblocks/128_64_128/0_0_0")
    assert [tuple(whole[i * one : i * one + 12 : 4]) for i in range(4)] == [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1)]


def test_zeros_are_left_out_but_for_a_single_block(shelf: Shelf) -> None:
    assert shelf.body("plain/specificblocks?blocks=5,5,5,-1,0,0") == b""
    assert shelf.records("plain/subvolblocks/64_64_64/320_0_0") == {(5, 0, 0): bytes(64**3)}
    assert list(shelf.records("plain/subvolblocks/128_64_64/64_0_0")) == [(1, 0, 0)]
    assert shelf.body("cells/blocks/64_64_64/1024_0_0") == b""


def test_prefetch_sends_nothing(shelf: Shelf) -> None:
    assert shelf.body("plain/specificblocks?blocks=0,0,0&prefetch=on") == b""


def test_a_span_is_voxels_without_headers(shelf: Shelf) -> None:
    blocks = [wire_bytes(block_of(shelf.arrays["ramp"], (x, 1, 0))) for x in (0, 1, 2)]
    assert shelf.body("ramp/blocks/0_1_0/3") == b"".join(blocks)


@pytest.mark.parametrize(
    ("size", "offset"), [((128, 128, 16), (64, 64, 0)), ((30, 20, 10), (-5, 7, 60)), ((64, 64, 64), (1, 0, 0))]
)
def test_a_small_box_need_not_be_aligned(shelf: Shelf, size: Vec3, offset: Vec3) -> None:
    path = f"subvolblocks/{vector(size)}/{vector(offset)}"
    index = divide_down(offset, size)
    expected = cut(shelf.arrays["ramp"], offset, size)
    assert shelf.records(f"plain/{path}") == {index: wire_bytes(expected)}
    data = shelf.records(f"jpeg/{path}")[index]
    assert abs(pixels(data, size).astype(int) - expected).mean() < 6


def test_anisotropic_images_are_shown_to_neuroglancer(shelf: Shelf) -> None:
    """It asks 128 x 128 x 16 of 4 x 4 x 40 nm, beyond the volume too."""
    base = f"{shelf.server.base}/api/node/ffff0001/flat/subvolblocks/128_128_16"
    body = shelf.server.get(base.removeprefix(shelf.server.base) + "/0_0_16").content
    decoded = pixels(body[16:], (128, 128, 16))
    assert abs(decoded.astype(int) - cut(shelf.flat, (0, 0, 16), (128, 128, 16))).mean() < 25
    assert decoded[:, :, 8:].max() < 40
