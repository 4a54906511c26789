"""Which bytes a Range header names, against Python's slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkdvid.frontends.ranges import parse_range

NUMBERS = st.integers(0, 300)


def named(header: str, length: int) -> range | None:
    asked = parse_range(header)
    assert asked is not None
    return asked.of(length)


@given(first=NUMBERS, count=st.integers(1, 300), length=NUMBERS)
def test_first_and_last(first: int, count: int, length: int) -> None:
    expected = range(length)[first : first + count]
    assert (named(f"bytes={first}-{first + count - 1}", length) or range(0)) == expected
    assert (named(f"bytes={first}-", length) or range(0)) == range(length)[first:]


@given(count=NUMBERS, length=NUMBERS)
def test_the_last_bytes(count: int, length: int) -> None:
    expected = range(length)[max(length - count, 0) :]
    assert (named(f"bytes=-{count}", length) or range(0)) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=0-1,3-4",
        "bytes=a-b",
        "bytes=+1-2",
        "bits=0-1",
        "bytes=0-1_0",
    ],
)
def test_what_is_no_range_means_the_whole(header: str | None) -> None:
    assert parse_range(header) is None


def test_numbers_of_any_length_are_looked_at_quickly() -> None:
    assert parse_range(f"bytes=0-{'9' * 60_000}") is None
