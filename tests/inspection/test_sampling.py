"""Which chunks are looked at, and that it ends in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.test_zarr import create_array
from tests.doors import door
from wkdvid.backends.chunk_functions import chunk_store
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.core.credentials import Credentials
from wkdvid.core.geometry import Box, volume_of
from wkdvid.core.guard import ANONYMOUS_S3, Guard
from wkdvid.core.limits import Limits
from wkdvid.core.source import Access
from wkdvid.core.volume import Array, LayerInfo, LevelInfo
from wkdvid.inspection.problems import sample_problems
from wkdvid.inspection.sampling import CHUNKS, LEVEL_BYTES, sample_boxes, sample_levels
from wkdvid.testing.volume_suite import open_with

side = st.integers(1, 40)
place = st.integers(-60, 60)
vectors = st.tuples(side, side, side)
places = st.tuples(place, place, place)


@given(places, vectors, vectors, places, st.sampled_from([1, 8]))
def test_boxes_are_whole_chunks_of_the_level(
    start: tuple[int, int, int],
    size: tuple[int, int, int],
    chunk: tuple[int, int, int],
    origin: tuple[int, int, int],
    voxel_bytes: int,
) -> None:
    extent = Box.at(start, size)
    level = LevelInfo(mag=(1, 1, 1), extent=extent, chunk_shape=chunk, chunk_origin=origin, encoding="")
    boxes = sample_boxes(level, voxel_bytes)
    assert 1 <= len(boxes) <= CHUNKS
    assert len(set(boxes)) == len(boxes)
    for box in boxes:
        index = [(a - o) // n for a, o, n in zip(box.start, origin, chunk, strict=True)]
        corner = tuple(o + i * n for o, i, n in zip(origin, index, chunk, strict=True))
        assert Box.at((corner[0], corner[1], corner[2]), chunk).intersect(extent) == box


def make_level(size: int, chunk: int) -> LevelInfo:
    extent = Box((0, 0, 0), (size, size, size))
    return LevelInfo(
        mag=(1, 1, 1), extent=extent, chunk_shape=(chunk, chunk, chunk), chunk_origin=(0, 0, 0), encoding=""
    )


def test_the_middle_comes_first_and_large_chunks_are_few() -> None:
    assert sample_boxes(make_level(2**20, 64), 1)[0] == Box((2**19,) * 3, (2**19 + 64,) * 3)
    for chunk in (256, 512):
        boxes = sample_boxes(make_level(2**20, chunk), 1)
        assert 1 <= len(boxes) <= max(1, LEVEL_BYTES // volume_of((chunk, chunk, chunk)))


async def test_it_ends_when_a_source_does_not_answer() -> None:
    level = make_level(16, 8)
    silent = asyncio.Event()
    asked: list[Box] = []

    async def read(box: Box) -> Array | None:
        asked.append(box)
        await silent.wait()
        return None

    context = ts.Context({"cache_pool": {"total_bytes_limit": 1 << 20}})
    store = chunk_store(read, level, dtype=np.uint8, num_channels=1, context=context, deadline_s=20)
    info = LayerInfo(
        name="layer",
        category="color",
        dtype=np.dtype(np.uint8),
        num_channels=1,
        voxel_size_nm=(1, 1, 1),
        levels=(level, replace(level, mag=(2, 2, 2))),
        format="silent",
    )
    found = await sample_levels(TensorStoreVolume(info, [store, store], "silent", 20), context, 0.1)
    assert asked
    assert [(sample.chunks, sample.looked_at) for sample in found] == [(8, 0), (8, 0)]
    assert next(sample_problems(found)).startswith("There was no time to look at level 0")
    silent.set()


@pytest.mark.parametrize("sharded", [False, True])
async def test_what_was_never_written_is_asked_for_by_the_same_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sharded: bool
) -> None:
    """Not by what the environment has: the source is read anonymously."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    shards = {"shards": (16, 16, 16)} if sharded else {}
    array = create_array(str(tmp_path / "lab/a"), shape=(32, 16, 16), chunks=(16, 16, 16), dtype="uint8", **shards)
    array[:16] = 1
    with door(tmp_path) as store:
        options = {**ANONYMOUS_S3, "endpoint": store.url, "aws_region": "us-east-1"}
        guard = Guard((), frozenset(), Credentials(otherwise={"s3": Access(options=options)}))
        opener = Opener(guard, Limits(), pool_bytes=1 << 20, deadline_s=20)
        volume = await open_with(Backends(opener), "zarr", {"source": "s3://lab/a"})
        (found,) = await sample_levels(volume[0], opener.context, 5)
        assert (found.with_data, found.absent) == (1, 1)
        assert {"Authorization" in headers for _, headers in store.seen} == {False}
