from __future__ import annotations

import hashlib

import numpy as np
import pytest

from wkdvid.codecs import four_bit


def bucket(start: int) -> bytes:
    """32^3 voxels of (x + 3y + 7z) mod 256 from x = start: the volume of webKnossos' vectors H4 and H5."""
    x, y, z = np.indices((32, 32, 32))
    return bytes(((x + start + 3 * y + 7 * z) % 256).astype(np.uint8).tobytes("F"))


@pytest.mark.parametrize(
    ("start", "first", "sha"),
    [(0, "0000000000000000", "d28f76de864c1e46"), (32, "2222222222222222", "7b0748597d495aaa")],
)
def test_vectors(start: int, first: str, sha: str) -> None:
    packed = four_bit.pack(memoryview(bucket(start)))
    assert len(packed) == 16384
    assert packed[:8].hex() == first
    assert hashlib.sha256(packed).hexdigest()[:16] == sha


def test_first_voxel_of_a_pair_is_the_upper_half() -> None:
    assert four_bit.pack(bytes.fromhex("1ff0 ff01 0010")) == bytes.fromhex("1f f0 01")


def test_every_pair() -> None:
    pairs = bytes(n for first in range(256) for second in range(256) for n in (first, second))
    assert four_bit.pack(pairs) == bytes(a & 0xF0 | b >> 4 for a in range(256) for b in range(256))


def test_half_a_pair() -> None:
    with pytest.raises(ValueError, match="multiple of element size"):
        four_bit.pack(b"abc")
