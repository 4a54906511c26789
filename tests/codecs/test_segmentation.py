"""compressed_segmentation, against a slow decoder written from its specification."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codecs.damage import changed, damage
from tests.codecs.pictures import Labels, cells, noise
from wkdvid.codecs import segmentation
from wkdvid.core.geometry import Vec3
from wkdvid.errors import CorruptChunk, UnsupportedRequest

Shapes = st.tuples(st.integers(1, 21), st.integers(1, 21), st.integers(1, 21))


def slow_decode(data: bytes, shape: Vec3) -> Labels:
    """The specification voxel by voxel."""
    words = struct.unpack(f"<{len(data) // 4}I", data)
    channel = words[words[0] :]
    labels = np.zeros(shape, np.uint64)
    gx, gy = -(-shape[0] // 8), -(-shape[1] // 8)
    for x, y, z in np.ndindex(*shape):
        block = 2 * (x // 8 + gx * (y // 8 + gy * (z // 8)))
        table, bits = channel[block] & 0xFFFFFF, channel[block] >> 24
        at = bits * (x % 8 + 8 * (y % 8 + 8 * (z % 8)))
        value = channel[channel[block + 1] + at // 32] >> at % 32 & (1 << bits) - 1 if bits else 0
        labels[x, y, z] = channel[table + 2 * value] | channel[table + 2 * value + 1] << 32
    return labels


def test_first_words_are_as_neuroglancer_expects() -> None:
    labels = np.zeros((16, 16, 16), np.uint64, order="F")
    labels[:6, 0, 0] = [0, 1, 2, 0, 1, 2]
    encoded = segmentation.encode(labels)
    assert len(encoded) == 228
    assert encoded[:12] == bytes.fromhex("01000000 30000002 10000000")
    assert encoded[68:71] == bytes.fromhex("240900")


def test_dvids_own_layout_decodes() -> None:
    """DVID writes a table for each block, equal or not."""
    header = struct.pack("<I8I", 1, 8, 8, 10, 10, 12 | 1 << 24, 16, 8, 8)
    tables = struct.pack("<4Q", 5, 2**40, 7, 9)
    values = struct.pack("<16I", 0b110, *[0] * 15)
    data = header + tables + values
    assert np.array_equal(segmentation.decode(data, (32, 8, 8)), slow_decode(data, (32, 8, 8)))
    assert segmentation.decode(data, (32, 8, 8))[[0, 8, 16, 17, 18, 19, 24], 0, 0].tolist() == [5, 2**40, 7, 9, 9, 7, 5]


@pytest.mark.parametrize("shape", [(64, 64, 64), (33, 21, 7), (1, 1, 1), (8, 9, 65), (250, 3, 1)])
def test_cells_of_any_size(shape: Vec3) -> None:
    labels = cells(shape, 20)
    encoded = segmentation.encode(labels)
    decoded = segmentation.decode(memoryview(encoded), shape)
    assert decoded.flags.f_contiguous
    assert np.array_equal(decoded, labels)
    small = (slice(0, 17),) * 3
    assert len(encoded) % 4 == 0
    assert np.array_equal(slow_decode(encoded, shape)[small], labels[small])


@pytest.mark.parametrize("labels", [1, 2, 3, 5, 17, 300, 2**63])
def test_every_width_of_values(labels: int) -> None:
    block = noise((17, 8, 16), labels)
    encoded = segmentation.encode(block)
    assert np.array_equal(slow_decode(encoded, block.shape), block)
    assert np.array_equal(segmentation.decode(encoded, (17, 8, 16)), block)


def test_any_memory_order_and_read_only() -> None:
    labels = noise((19, 12, 30), 40)
    for view in (np.ascontiguousarray(labels), labels[::-1, ::2], labels):
        view.flags.writeable = False
        assert np.array_equal(slow_decode(segmentation.encode(view), view.shape), view)


def test_more_labels_than_the_format_holds() -> None:
    labels = np.arange(1024 * 1024 * 7, dtype=np.uint64).reshape((1024, 1024, 7), order="F")
    with pytest.raises(UnsupportedRequest, match="ask for a smaller box"):
        segmentation.encode(labels)


SOUND = segmentation.encode(noise((16, 8, 8), 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes are not a number of 4-byte words"),
        (SOUND[:-2], "not a number of 4-byte words"),
        (changed(SOUND, 0, "<I", 2**32 - 1), "begins at word 4294967295"),
        (SOUND[:12], "2 words cannot hold the headers of 2 blocks"),
        (changed(SOUND, 7, "B", 3), "a value has 3 bits"),
        (changed(SOUND, 8, "<I", 2**32 - 1), "values lie past the end"),
        (changed(SOUND, 4, "<I", 2 << 24 | 0xFFFFFF), "past the end of the labels"),
        (SOUND[:-8], "past the end"),
    ],
)
def test_corrupt_data_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(CorruptChunk, match=message):
        segmentation.decode(data, (16, 8, 8))


def test_a_larger_shape_than_the_data_has_is_refused() -> None:
    with pytest.raises(CorruptChunk):
        segmentation.decode(SOUND, (800, 800, 800))


@settings(deadline=None)
@given(Shapes, st.integers(1, 600), st.integers(0, 2**32))
def test_round_trip(shape: Vec3, labels: int, seed: int) -> None:
    block = noise(shape, labels, seed=seed)
    assert np.array_equal(segmentation.decode(segmentation.encode(block), shape), block)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_data_is_refused_or_decoded(data: st.DataObject) -> None:
    """The package's decoder alone crashes the process here."""
    shape = (9, 16, 8)
    damaged = damage(data, segmentation.encode(noise(shape, data.draw(st.sampled_from([1, 2, 20, 500])))))
    try:
        decoded = segmentation.decode(damaged, shape)
    except CorruptChunk:
        return
    assert np.array_equal(decoded, slow_decode(bytes(damaged), shape))
