"""The LZ4 of N5: a stream that lz4-java wrote, and what becomes of a damaged one."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codecs.damage import changed, damage
from wkdvid.codecs.lz4_stream import unlz4_stream
from wkdvid.errors import CorruptChunk

GOLDEN = Path(__file__).parents[1] / "backends/golden/n5_lz4"
SIZE = 2 * math.prod((16, 8, 4))
STREAM = (GOLDEN / "0/0/0").read_bytes()[16:]
SOUND = unlz4_stream(STREAM, SIZE)


def test_the_stream_has_blocks_of_both_methods_and_an_end() -> None:
    assert STREAM.count(b"LZ4Block") == 3
    assert {STREAM[at + 8] & 0xF0 for at in range(len(STREAM)) if STREAM[at : at + 8] == b"LZ4Block"} == {0x10, 0x20}


def test_raw_block_of_z5() -> None:
    assert unlz4_stream(lz4.block.compress(SOUND, store_size=False), SIZE) == SOUND


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(STREAM[:20], id="half a header"),
        pytest.param(STREAM[:533], id="one block of two"),
        pytest.param(STREAM[:400], id="half a block"),
        pytest.param(changed(STREAM, 8, "B", 0x30), id="unknown method"),
        pytest.param(changed(STREAM, 9, "<i", 511), id="stored size"),
        pytest.param(changed(STREAM, 9, "<i", -1), id="negative size"),
        pytest.param(changed(STREAM, 13, "<i", 2**31 - 1), id="bomb"),
        pytest.param(changed(STREAM, 17, "<i", 1), id="check sum"),
        pytest.param(changed(STREAM, 100, "B", STREAM[100] ^ 1), id="flipped bit"),
    ],
)
def test_damaged_stream(wrong: bytes) -> None:
    with pytest.raises(CorruptChunk, match="lz4"):
        unlz4_stream(wrong, SIZE)


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1, 2 * SIZE])
def test_other_size(size: int) -> None:
    with pytest.raises(CorruptChunk):
        unlz4_stream(STREAM, size)


@given(st.data())
def test_any_damage_is_noticed_or_harmless(data: st.DataObject) -> None:
    """Harmless: of the level in a method's byte, or of the empty block at the end."""
    damaged = bytes(damage(data, STREAM))
    with contextlib.suppress(CorruptChunk):
        assert unlz4_stream(damaged, SIZE) == SOUND
