from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkdvid.codecs.block_stream import header, iter_records
from wkdvid.core.geometry import Vec3
from wkdvid.errors import InvalidRequest

int32 = st.integers(-(2**31), 2**31 - 1)


def test_header_of_a_whole_block() -> None:
    assert header((1, 1, 1), 64**3) == bytes.fromhex("01000000 01000000 01000000 00000400")


def test_header_of_a_negative_block() -> None:
    assert header((-1, 0, -2), 3) == struct.pack("<4i", -1, 0, -2, 3)


@given(st.lists(st.tuples(st.tuples(int32, int32, int32), st.binary(min_size=1, max_size=40))))
def test_round_trip(records: list[tuple[Vec3, bytes]]) -> None:
    stream = b"".join(header(index, len(body)) + body for index, body in records)
    assert [(index, bytes(body)) for index, body in iter_records(stream)] == records


def test_payloads_are_views() -> None:
    stream = bytearray(header((0, 0, 0), 2) + b"ab")
    ((_, body),) = iter_records(stream)
    stream[16] = ord("x")
    assert bytes(body) == b"xb"


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (header((0, 0, 0), 5)[:-1], "cut in the 16-byte header at byte 0"),
        (header((0, 0, 0), 1) + b"ab", "cut in the 16-byte header at byte 17"),
        (header((1, 2, 3), 5) + b"abcd", r"block \(1, 2, 3\) at byte 16 says 5 bytes; 1 to 4 are there"),
        (header((1, 2, 3), 0) + b"abcd", "says 0 bytes"),
        (header((1, 2, 3), -1) + b"abcd", "says -1 bytes"),
    ],
)
def test_cut_stream(stream: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        list(iter_records(stream))


def test_whole_records_before_the_cut_are_given() -> None:
    records = iter_records(header((0, 0, 7), 1) + b"a" + b"rest")
    index, body = next(records)
    assert (index, bytes(body)) == ((0, 0, 7), b"a")
    with pytest.raises(InvalidRequest):
        next(records)
