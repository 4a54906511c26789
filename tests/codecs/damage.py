"""Encoded data gone wrong."""

from __future__ import annotations

import struct

from hypothesis import strategies as st


def changed(data: bytes, at: int, fmt: str, value: int) -> bytes:
    """``data`` with one packed value at byte ``at``."""
    size = struct.calcsize(fmt)
    return data[:at] + struct.pack(fmt, value) + data[at + size :]


def damage(data: st.DataObject, sound: bytes) -> bytearray:
    """``sound`` with up to four bits flipped, perhaps cut."""
    damaged = bytearray(sound)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(damaged) - 1), max_size=4)):
        damaged[bit // 8] ^= 1 << bit % 8
    return damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))]
