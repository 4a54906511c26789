"""The vectors of dvid.md H, over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import struct
from io import BytesIO

import lz4.block
import numpy as np
import pytest
import requests
from PIL import Image

from tests.dvid.shelf import UUID, Shelf, header, ramp, two_labels, wire_bytes
from wkdvid.codecs import label_block, segmentation


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_label_block_of_one_voxel() -> None:  # H1
    labels = np.zeros((16, 16, 16), np.uint64, order="F")
    labels[9, 5, 3] = 7
    block = label_block.encode(labels)
    assert len(block) == 148
    assert block[:0x54] == bytes.fromhex(
        "02000000 02000000 02000000 02000000 0000000000000000 0700000000000000"
        "0100 0200 0100 0100 0100 0100 0100 0100 00000000 00000000 01000000" + "00000000" * 6
    )
    assert block[0x54:] == bytes(0x1D) + b"\x40" + bytes(64 - 0x1E)


def test_solid_label_block() -> None:  # H2
    expected = bytes.fromhex("08000000 08000000 08000000 01000000 0500000000000000")
    assert label_block.encode(np.full((64, 64, 64), 5, np.uint64, order="F")) == expected


def test_label_block_of_three_labels() -> None:  # H3
    labels = np.zeros((16, 16, 16), np.uint64, order="F")
    labels[:6, 0, 0] = [0, 1, 2, 0, 1, 2]
    block = label_block.encode(labels)
    assert len(block) == 224
    assert block[0x10:0x38] == struct.pack("<3Q8H", 0, 1, 2, 3, *[1] * 7)
    assert block[0x38:0x60] == struct.pack("<10I", 0, 1, 2, *[0] * 7)
    assert block[0x60:0x63] == bytes.fromhex("186000")
    google = segmentation.encode(labels)
    assert len(google) == 228
    assert google[:12] == bytes.fromhex("01000000 30000002 10000000")
    assert google[68:71] == bytes.fromhex("240900")


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ("4_3_2/10_20_30", "8c8d8e8f 8e8f9091 90919293 8f909192 91929394 93949596"),
        ("4_1_1/-2_0_0", "00000001"),
        ("4_2_2/98_79_69", "d4d50000 00000000 00000000 00000000"),
    ],
)
def test_raw(shelf: Shelf, box: str, expected: str) -> None:  # H4
    assert shelf.body(f"ramp/raw/0_1_2/{box}") == bytes.fromhex(expected)


def test_the_fixture_is_the_one_of_the_specification(shelf: Shelf) -> None:
    assert md5(wire_bytes(ramp())) == "d09bda12d8516c7564266f22488198e8"
    assert shelf.body("ramp/raw/0_1_2/100_80_70/0_0_0") == wire_bytes(ramp())


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("xy/4_3/10_20_30", [range(140, 144), range(142, 146), range(144, 148)]),
        ("xz/4_2/10_20_30", [range(140, 144), range(143, 147)]),
        ("yz/3_2/10_20_30", [[140, 142, 144], [143, 145, 147]]),
    ],
)
def test_slices(shelf: Shelf, path: str, rows: list[list[int]]) -> None:
    image = Image.open(BytesIO(shelf.body(f"ramp/raw/{path}")))
    assert (image.format, image.mode) == ("PNG", "L")
    assert np.asarray(image).tolist() == [list(row) for row in rows]


def test_blocks_of_the_ramp(shelf: Shelf) -> None:
    corner = shelf.body("ramp/subvolblocks/64_64_64/64_64_64?compression=uncompressed")
    assert corner[:16] == bytes.fromhex("01000000 01000000 01000000 00000400")
    assert corner[16:24] == bytes.fromhex("85868788898a8b8c")
    assert np.count_nonzero(np.frombuffer(corner[16:], np.uint8)) == 3456
    assert md5(corner[16:]) == "600c13c70d1c89ef84dc2e7d5846f6ff"
    whole = shelf.body("ramp/subvolblocks/128_128_128/0_0_0?compression=uncompressed")
    assert (len(whole), md5(whole)) == (2097280, "cd94564ee464091805fd8d49f8ed93ae")
    two = shelf.records("ramp/specificblocks?blocks=1,0,0,0,0,0&compression=uncompressed")
    assert {index: md5(data) for index, data in two.items()} == {
        (0, 0, 0): "c5865320f9d9af47142ecab6e12f5780",
        (1, 0, 0): "de2ae66db5ba9e6214081be8074725b6",
    }
    assert list(shelf.records("ramp/specificblocks?blocks=0,0,0,9,9,9")) == [(0, 0, 0)]
    assert shelf.body("ramp/specificblocks") == b""


def test_jpeg_of_a_box_and_of_a_block(shelf: Shelf) -> None:
    response = shelf.get("ramp/raw/0_1_2/64_64_64/0_0_0/jpeg")
    assert response.headers["Content-Type"] == "image/jpeg"
    block = shelf.body("jpeg/subvolblocks/64_64_64/0_0_0")
    assert block[:12] == bytes(12)
    assert struct.unpack_from("<i", block, 12)[0] == len(block) - 16
    for data in (response.content, block[16:]):
        image = Image.open(BytesIO(data))
        assert (image.format, image.mode, image.size) == ("JPEG", "L", (64, 4096))
        difference = np.asarray(image).reshape(64, 64, 64).astype(int) - ramp()[:64, :64, :64].T
        assert abs(difference).max() <= 28


def test_compressions_of_a_box_of_labels(shelf: Shelf) -> None:  # H5
    raw, path = wire_bytes(two_labels()), "labels/raw/0_1_2/64_64_64/0_0_0"
    assert md5(raw) == "1c36d039b94cb1f3e6de74ca8b5351fb"
    assert shelf.body(path) == raw
    assert lz4.block.decompress(shelf.body(f"{path}?compression=lz4"), uncompressed_size=2097152) == raw
    gzipped = shelf.get(f"{path}?compression=gzip")
    assert "Content-Encoding" not in gzipped.headers
    assert gzip.decompress(gzipped.content) == raw
    google = shelf.get(f"{path}?compression=googlegzip")
    assert google.headers["Content-Encoding"] == "gzip"
    assert len(google.content) == 4332
    assert google.content == shelf.body(f"{path}?compression=google")
    assert segmentation.decode(google.content, (64, 64, 64)).tobytes("F") == raw


def test_blocks_of_labels(shelf: Shelf) -> None:
    record = shelf.body("labels/specificblocks?blocks=0,0,0")
    assert record[:16] == header((0, 0, 0), len(record) - 16)
    block = gzip.decompress(record[16:])
    assert len(block) == 3316
    assert block[:40] == struct.pack("<4I3Q", 8, 8, 8, 3, 0, 77, 10**12)
    lz4ed = shelf.records("labels/blocks/64_64_64/0_0_0")[0, 0, 0]
    assert lz4.block.decompress(lz4ed, uncompressed_size=2097152) == wire_bytes(two_labels())


def test_labels_at_points(shelf: Shelf) -> None:
    assert shelf.get("labels/label/12_4_3").json() == {"Label": 77}
    asked = shelf.get("labels/labels", data="[[12,4,3],[0,0,0],[40,40,40]]")
    assert asked.json() == [77, 0, 1000000000000]


def test_nodes_and_repositories(shelf: Shelf) -> None:  # H8
    assert shelf.server.get("/api/heartbeat").text == "OK"
    assert shelf.get("status").json() == {"Locked": True}
    assert shelf.server.get(f"/api/repo/{UUID}/branch-versions/master").json() == [UUID]


def test_metadata(shelf: Shelf) -> None:  # H9
    document = shelf.get("ramp/metadata").json()
    axes = [(a["Label"], a["Size"], a["Offset"], a["Units"], a["Resolution"]) for a in document["Axes"]]
    assert axes == [("X", 100, 0, "nanometers", 8), ("Y", 80, 0, "nanometers", 8), ("Z", 70, 0, "nanometers", 8)]
    assert document["Properties"]["MaxPoint"] == [99, 79, 69]
    assert document["Properties"]["Values"] == [{"DataType": "uint8", "Label": "uint8"}]


def test_head_answers_wherever_get_does(shelf: Shelf) -> None:
    for path in ("ramp/info", "ramp/raw/0_1_2/4_4_4/0_0_0", "labels/specificblocks?blocks=0,0,0", "status"):
        response = requests.head(f"{shelf.server.base}/api/node/{UUID}/{path}", timeout=60)
        assert (response.status_code, response.content) == (200, b"")
