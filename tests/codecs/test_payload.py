"""LZ4 and gzip payloads, against the standard library and the lz4 package's own framing."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from contextlib import suppress

import lz4.block
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.codecs.damage import damage
from tests.codecs.pictures import noise
from wkdvid.codecs import payload
from wkdvid.errors import CorruptChunk


@given(st.binary(max_size=5000))
@example(b"")
@example(bytes(100_000))
def test_round_trips(data: bytes) -> None:
    assert payload.unlz4(payload.lz4(data), len(data)) == data
    assert lz4.block.decompress(payload.lz4_sized(data)) == data
    assert payload.gunzip(payload.gzip(data), len(data)) == data
    assert gzip.decompress(payload.gzip(data)) == data
    assert payload.gunzip(gzip.compress(data), len(data) + 7) == data


def test_sized_lz4_is_the_size_and_the_raw_block() -> None:
    data = bytes(1000) + b"end"
    assert payload.lz4_sized(data) == struct.pack("<I", 1003) + payload.lz4(data)


def test_takes_views_of_arrays() -> None:
    labels = noise((16, 8, 8), 4)
    view = memoryview(labels.T)  # type: ignore[arg-type]  # arrays are buffers; typed so from Python 3.12
    wire = labels.tobytes("F")
    assert payload.unlz4(memoryview(payload.lz4(view)), len(wire)) == wire
    assert lz4.block.decompress(payload.lz4_sized(view)) == wire
    assert payload.gunzip(memoryview(payload.gzip(view)), len(wire)) == wire


def test_gzip_of_equal_data_is_equal_and_has_no_time() -> None:
    data = np.arange(3000).tobytes()
    assert payload.gzip(data) == payload.gzip(bytearray(data))
    assert payload.gzip(data)[:8] == bytes.fromhex("1f8b080000000000")


@pytest.mark.parametrize("size", [99, 101, 0, 10_000])
def test_lz4_of_another_size(size: int) -> None:
    with pytest.raises(CorruptChunk, match=r"^lz4: "):
        payload.unlz4(payload.lz4(bytes(100)), size)


GZIPPED = payload.gzip(b"some text" * 100)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (GZIPPED[:-1], "cut short"),
        (GZIPPED[:12], "cut short"),
        (GZIPPED + b"x", "bytes are left over"),
        (GZIPPED + GZIPPED, "bytes are left over"),
        (b"x" + GZIPPED, "gzip: "),
        (zlib.compress(b"some text"), "gzip: "),
        (GZIPPED[:-8] + bytes(8), "checksum"),
        (payload.gzip(bytes(1001)), "over 1000 bytes inflated"),
    ],
)
def test_corrupt_gzip_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(CorruptChunk, match=message):
        payload.gunzip(data, 1000)


def test_a_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(bytes(2**27))
    tracemalloc.start()
    with pytest.raises(CorruptChunk, match="over 1000 bytes"):
        payload.gunzip(bomb, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@given(st.data())
def test_damaged_data_is_refused_or_inflated(data: st.DataObject) -> None:
    sound = data.draw(st.binary(min_size=20, max_size=300))
    with suppress(CorruptChunk):
        assert payload.gunzip(damage(data, payload.gzip(sound)), 300) == sound, "the checksum tells"
    with suppress(CorruptChunk):
        assert len(payload.unlz4(damage(data, payload.lz4(sound)), 300)) == 300
