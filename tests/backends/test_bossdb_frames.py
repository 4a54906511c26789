"""Blosc frames of a source that is broken or hostile: right-shaped voxels or CorruptChunk, and no more memory."""

from __future__ import annotations

import random
import tracemalloc

import blosc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkdvid.backends.bossdb.cutouts import chunk_shape, decode_frame, frame_limit
from wkdvid.core.geometry import Vec3, volume_of
from wkdvid.core.limits import MIB
from wkdvid.errors import CorruptChunk

DTYPES = tuple(map(np.dtype, ("<u1", "<u2", "<u8")))
SIZE: Vec3 = (7, 5, 3)
SIZES = st.tuples(*(st.integers(1, 20),) * 3)
BUDGET = MIB
"""Bytes of memory; frames here hold some hundred, whatever they declare."""


def frame_of(dtype: np.dtype[np.generic], compressor: str = "lz4", shuffle: int = blosc.SHUFFLE) -> bytes:
    voxels = np.random.default_rng(1).integers(0, 9, volume_of(SIZE)).astype(dtype)
    frame: bytes = blosc.compress(voxels.tobytes(), typesize=dtype.itemsize * 8, cname=compressor, shuffle=shuffle)
    return frame


FRAMES = [
    (dtype, frame_of(dtype, compressor, shuffle))
    for dtype in DTYPES
    for compressor in ("blosclz", "lz4", "zlib", "zstd")
    for shuffle in (blosc.NOSHUFFLE, blosc.SHUFFLE, blosc.BITSHUFFLE)
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(size=SIZES, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_good_frames(dtype: np.dtype[np.generic], size: Vec3, seed: int) -> None:
    voxels = np.random.default_rng(seed).integers(0, 256, volume_of(size) * dtype.itemsize, np.uint8).view(dtype)
    frame = blosc.compress(voxels.tobytes(), typesize=dtype.itemsize * 8)
    assert len(frame) <= frame_limit(size, dtype.itemsize)
    found = decode_frame(frame, dtype, size, "a")
    assert (found.shape, found.dtype) == ((1, *size), dtype)
    assert found.flags.f_contiguous
    assert found.tobytes("F") == voxels.tobytes()


def damaged(rng: random.Random) -> tuple[np.dtype[np.generic], bytes]:
    """A frame after flips, cuts and additions; or a header that is good before anything at all; or anything."""
    dtype, frame = rng.choice(FRAMES)
    spoiled = bytearray(frame)
    kind = rng.randrange(4)
    if kind == 0:
        return dtype, rng.randbytes(rng.randrange(601))
    if kind == 1:
        spoiled[16:] = rng.randbytes(len(frame) - 16)
    for _ in range(rng.randrange(5)):
        place = rng.randrange(rng.choice((len(spoiled) * 8, 128)))
        spoiled[place // 8] ^= 1 << place % 8
    if kind == 3:
        spoiled = spoiled[: rng.randrange(len(spoiled) + 1)] + rng.randbytes(rng.randrange(21))
    return dtype, bytes(spoiled)


@pytest.mark.parametrize("cases", [1_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_any_bytes_are_voxels_of_the_right_shape_or_refused(cases: int) -> None:
    outcomes = {"voxels": 0, "refused": 0}

    for seed in range(cases):
        dtype, frame = damaged(random.Random(seed))
        tracemalloc.start()
        try:
            found = decode_frame(frame, dtype, SIZE, "a")
        except (CorruptChunk, blosc.blosc_extension.error):  # ``decoded`` makes the one of the other
            outcomes["refused"] += 1
        else:
            outcomes["voxels"] += 1
            assert (found.shape, found.dtype) == ((1, *SIZE), dtype)
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < BUDGET, seed
    print(f"blosc frames: {outcomes}")
    assert min(outcomes.values()) > cases // 100


def test_declared_size_is_checked_before_it_is_allocated() -> None:
    bomb = blosc.compress(bytes(1 << 28), typesize=8)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptChunk, match=r"a: a blosc frame of 268435456 bytes, expected 105$"):
            decode_frame(bomb, DTYPES[0], SIZE, "a")
        assert tracemalloc.get_traced_memory()[1] < BUDGET
    finally:
        tracemalloc.stop()


@given(
    cuboid=st.tuples(*(st.integers(1, 1 << 40),) * 3),
    itemsize=st.sampled_from([1, 2, 8]),
    limit=st.integers(1, 1 << 40),
)
def test_cutouts_are_as_large_as_may_be(cuboid: Vec3, itemsize: int, limit: int) -> None:
    shape = chunk_shape(cuboid, itemsize, max(limit, itemsize))
    assert volume_of(shape) * itemsize <= min(max(limit, itemsize), 64 * MIB)
    assert all(1 <= part <= whole for part, whole in zip(shape, cuboid, strict=True))
    if volume_of(cuboid) * itemsize <= min(limit, 64 * MIB):
        assert shape == cuboid
