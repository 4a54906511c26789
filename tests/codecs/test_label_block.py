"""DVID's label block, against a slow decoder written from the format's description and blocks that DVID made."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.codecs.damage import changed, damage
from tests.codecs.pictures import Labels, cells, noise
from wkdvid.codecs import label_block
from wkdvid.errors import CorruptChunk

# Both as DVID's own encoder wrote them: 16^3 with label 7 at (9, 5, 3); 64^3 of label 5.
DVID_ONE_VOXEL = bytes.fromhex(
    "02000000 02000000 02000000 02000000 0000000000000000 0700000000000000"
    "0100 0200 0100 0100 0100 0100 0100 0100 00000000 00000000 01000000" + "00000000" * 6 + "00" * 29 + "40" + "00" * 34
)
DVID_SOLID = bytes.fromhex("08000000 08000000 08000000 01000000 0500000000000000")


def slow_decode(data: bytes) -> Labels:
    """The format word by word, one sub-block after the other."""
    gx, gy, gz, count = struct.unpack_from("<4I", data)
    labels = struct.unpack_from(f"<{count}Q", data, 16)
    block = np.full((gx * 8, gy * 8, gz * 8), labels[0], np.uint64)
    at = 16 + 8 * count
    if count == 1:
        assert at == len(data)
        return block
    sizes = struct.unpack_from(f"<{gx * gy * gz}H", data, at)
    at += 2 * len(sizes)
    index = iter(struct.unpack_from(f"<{sum(sizes)}I", data, at))
    at += 4 * sum(sizes)
    for (z, y, x), size in zip(np.ndindex(gz, gy, gx), sizes, strict=True):
        used = np.array([labels[next(index)] for _ in range(size)] or [0], np.uint64)
        bits = max(size - 1, 0).bit_length()
        stream = int.from_bytes(data[at : at + 64 * bits], "big")
        values = [stream >> bits * (511 - n) & (1 << bits) - 1 for n in range(512)]
        block[x * 8 : x * 8 + 8, y * 8 : y * 8 + 8, z * 8 : z * 8 + 8] = used[values].reshape(8, 8, 8).T
        at += 64 * bits
    assert at == len(data)
    return block


def one_voxel() -> Labels:
    block = np.zeros((16, 16, 16), np.uint64, order="F")
    block[9, 5, 3] = 7
    return block


def test_reads_a_block_that_dvid_wrote() -> None:
    assert len(DVID_ONE_VOXEL) == 148
    assert np.array_equal(slow_decode(DVID_ONE_VOXEL), one_voxel())
    assert np.array_equal(label_block.decode(DVID_ONE_VOXEL), one_voxel())


def test_writes_one_voxel_byte_for_byte_as_dvid_does() -> None:
    assert label_block.encode(one_voxel()) == DVID_ONE_VOXEL


def test_solid_block_is_24_bytes() -> None:
    solid = np.full((64, 64, 64), 5, np.uint64, order="F")
    assert label_block.encode(solid) == DVID_SOLID
    assert np.array_equal(label_block.decode(DVID_SOLID), solid)


def test_two_bit_values_begin_with_the_highest_bit() -> None:
    block = np.zeros((16, 16, 16), np.uint64, order="F")
    block[:6, 0, 0] = [0, 1, 2, 0, 1, 2]
    encoded = label_block.encode(block)
    assert len(encoded) == 224
    assert encoded[0x60:0x63] == bytes.fromhex("186000")
    assert np.array_equal(label_block.decode(encoded), block)


def test_few_labels_in_a_block_of_dvids_size() -> None:
    block = np.zeros((64, 64, 64), np.uint64, order="F")
    block[10:20, 3:6, 2:5] = 77
    block[40, 40, 40] = 10**12
    encoded = label_block.encode(block)
    assert len(encoded) == 3316
    assert encoded[:16] == bytes.fromhex("08000000 08000000 08000000 03000000")
    assert np.array_equal(slow_decode(encoded), block)


@pytest.mark.parametrize("labels", [2, 3, 5, 9, 17, 33, 65, 129, 257, 600, 2**63])
def test_every_width_of_values(labels: int) -> None:
    block = noise((24, 16, 32), labels)
    encoded = label_block.encode(block)
    assert np.array_equal(slow_decode(encoded), block)
    assert np.array_equal(label_block.decode(encoded), block)


@pytest.mark.parametrize("seeds", [2, 30, 900])
def test_cells(seeds: int) -> None:
    block = cells((64, 64, 64), seeds)
    encoded = label_block.encode(block)
    decoded = label_block.decode(memoryview(encoded), (64, 64, 64))
    assert np.array_equal(slow_decode(encoded), block)
    assert np.array_equal(decoded, block)
    assert decoded.flags.f_contiguous


def test_equal_first_and_last_voxel_do_not_make_a_block_solid() -> None:
    assert np.array_equal(slow_decode(label_block.encode(one_voxel())), one_voxel())


@pytest.mark.parametrize("order", ["C", "F"])
def test_any_memory_order_read_only_and_strided(order: Any) -> None:
    block = np.array(noise((48, 32, 64), 9), order=order)
    block.flags.writeable = False
    assert np.array_equal(slow_decode(label_block.encode(block)), block)
    assert np.array_equal(slow_decode(label_block.encode(block[::-1, ::2, 8:40])), block[::-1, ::2, 8:40])


def test_a_large_block_is_cut_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    block = noise((40, 56, 24), 30)
    monkeypatch.setattr(label_block, "_PIECE_VOXELS", 40 * 8 * 20)
    assert np.array_equal(slow_decode(label_block.encode(block)), block)


@pytest.mark.parametrize("shape", [(8, 16, 16), (16, 20, 16), (16, 16, 1032), (0, 16, 16)])
def test_refuses_a_shape_that_dvid_has_not(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="multiple of 8 from 16 to 1024"):
        label_block.encode(np.zeros(shape, np.uint64))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut at byte 0"),
        (DVID_SOLID[:-1], "cut at byte 23"),
        (DVID_SOLID + b"\0", "1 bytes are left over"),
        (DVID_ONE_VOXEL[:-1], "cut at byte 147"),
        (DVID_ONE_VOXEL + b"\0", "1 bytes are left over"),
        (changed(DVID_SOLID, 0, "<I", 129), "sides from 16 to 1024"),
        (changed(DVID_SOLID, 4, "<I", 1), "sides from 16 to 1024"),
        (changed(DVID_SOLID, 12, "<I", 0), "no label"),
        (changed(DVID_SOLID, 12, "<I", 2**32 - 1), "cut"),
        (changed(DVID_ONE_VOXEL, 0x20, "<H", 513), "number of labels of a sub-block is out of range"),
        (changed(DVID_ONE_VOXEL, 0x30, "<I", 2), "index of a label is out of range"),
    ],
)
def test_corrupt_block_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(CorruptChunk, match=message):
        label_block.decode(data)


def test_value_past_its_sub_blocks_labels() -> None:
    block = np.zeros((16, 16, 16), np.uint64)
    block[:3, 0, 0] = [1, 2, 3]
    block[8:11, 0, 0] = [1, 2, 0]
    data = bytearray(label_block.encode(block))
    data[-1] = 0xFF
    with pytest.raises(CorruptChunk, match="a value is out of range"):
        label_block.decode(data)


def test_shape_is_checked_before_memory_is_taken() -> None:
    huge = struct.pack("<4IQ", 128, 128, 128, 1, 5)
    with pytest.raises(CorruptChunk, match=r"\(1024, 1024, 1024\) voxels, expected \(64, 64, 64\)"):
        label_block.decode(huge, (64, 64, 64))


def test_sub_block_without_labels_is_zero() -> None:
    encoded = struct.pack("<4I2Q8H7I", 2, 2, 2, 2, 5, 6, *[1, 0, 1, 1, 1, 1, 1, 1], *[0, 1, 1, 1, 1, 1, 1])
    decoded = label_block.decode(encoded)
    assert [decoded[0, 0, 0], decoded[8, 0, 0], decoded[0, 8, 0]] == [5, 0, 6]
    assert np.array_equal(decoded, slow_decode(encoded))


sides = st.integers(2, 5).map(lambda n: 8 * n)


@settings(deadline=None)
@given(st.tuples(sides, sides, sides), st.integers(1, 700), st.integers(0, 2**32))
def test_round_trip(shape: tuple[int, int, int], labels: int, seed: int) -> None:
    block = noise(shape, labels, seed=seed)
    assert np.array_equal(label_block.decode(label_block.encode(block), shape), block)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_blocks_are_refused_or_decoded(data: st.DataObject) -> None:
    shape = (24, 16, 16)
    damaged = damage(data, label_block.encode(noise(shape, data.draw(st.sampled_from([1, 2, 20, 500])))))
    try:
        decoded: NDArray[np.uint64] = label_block.decode(damaged, shape)
    except CorruptChunk:
        return
    assert decoded.shape == shape
    assert np.array_equal(decoded, slow_decode(bytes(damaged)))
