"""Functions that read chunks, as volumes."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import tensorstore as ts

from wkdvid.backends.chunk_functions import ReadChunk, chunk_store, decoded
from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.core.geometry import Box
from wkdvid.core.volume import Array, LayerInfo, LevelInfo
from wkdvid.errors import BackendError, CorruptChunk, UpstreamUnavailable

LEVEL = LevelInfo(
    mag=(1, 1, 1),
    extent=Box((5, -3, 0), (70, 64, 33)),
    chunk_shape=(32, 32, 16),
    chunk_origin=(0, 0, 0),
    encoding="made",
)
START, STOP = LEVEL.extent.start, LEVEL.extent.stop
VOXELS = np.asfortranarray(np.random.default_rng(1).integers(1, 1 << 16, (2, *LEVEL.extent.size), dtype=np.uint16))
FILL = 7
DEADLINE_S = 20.0


class Chunks:
    """Cuts chunks out of an array and counts them."""

    def __init__(self) -> None:
        self.asked: list[Box] = []
        self.instead: Callable[[Box], Awaitable[Array | None]] | None = None

    async def read(self, box: Box) -> Array | None:
        self.asked.append(box)
        await asyncio.sleep(0.001)
        return cut(box) if self.instead is None else await self.instead(box)


def cut(box: Box) -> Array:
    return VOXELS[(slice(None), *(slice(a - o, b - o) for a, b, o in zip(box.start, box.stop, START, strict=True)))]


def make_volume(read: ReadChunk, deadline_s: float = DEADLINE_S) -> TensorStoreVolume:
    context = ts.Context({"cache_pool": {"total_bytes_limit": 1 << 26}})
    store = chunk_store(
        read, LEVEL, dtype=np.uint16, num_channels=2, context=context, deadline_s=deadline_s, fill_value=FILL
    )
    info = LayerInfo(
        name="layer",
        category="color",
        dtype=np.dtype("<u2"),
        num_channels=2,
        voxel_size_nm=(1, 1, 1),
        levels=(LEVEL,),
        format="made",
    )
    return TensorStoreVolume(info, [store], "made", deadline_s=deadline_s)


async def test_every_voxel_from_chunks_cut_at_the_extent() -> None:
    chunks = Chunks()
    found = await make_volume(chunks.read).read(0, LEVEL.extent)
    assert found.flags.f_contiguous
    np.testing.assert_array_equal(found, VOXELS)
    assert len(chunks.asked) == len(set(chunks.asked)) == 3 * 3 * 3
    assert all(LEVEL.extent.contains(box) for box in chunks.asked)
    assert min(box.start for box in chunks.asked) == START
    assert {(box.start[0] % 32, box.start[1] % 32, box.start[2] % 16) for box in chunks.asked} == {
        (x, y, 0) for x in (0, 5) for y in (0, 29)
    }


async def test_concurrent_reads_share_chunks_and_later_ones_take_them_from_the_cache() -> None:
    chunks = Chunks()
    volume = make_volume(chunks.read)
    box = Box((20, 20, 3), (50, 50, 20))
    await asyncio.gather(*(volume.read(0, box) for _ in range(64)))
    assert len(chunks.asked) == 2 * 2 * 2
    np.testing.assert_array_equal(await volume.read(0, box), cut(box))
    assert len(chunks.asked) == 2 * 2 * 2


async def test_absent_is_the_fill_value() -> None:
    chunks = Chunks()

    async def absent(_: Box) -> None:
        return None

    chunks.instead = absent
    assert (await make_volume(chunks.read).read(0, LEVEL.extent) == FILL).all()


@pytest.mark.parametrize("error", [CorruptChunk("this block is bad"), UpstreamUnavailable("no answer")])
async def test_what_the_function_raises_is_raised_and_not_cached(error: BackendError) -> None:
    chunks = Chunks()

    async def fail(_: Box) -> Array:
        raise error

    chunks.instead = fail
    volume = make_volume(chunks.read)
    with pytest.raises(type(error), match=str(error)):
        await volume.read(0, LEVEL.extent)
    good, bad = await volume.read_all(0, [Box((200, 0, 0), (201, 1, 1)), LEVEL.extent])
    assert isinstance(good, np.ndarray)
    assert isinstance(bad, type(error))
    chunks.instead = None
    np.testing.assert_array_equal(await volume.read(0, LEVEL.extent), VOXELS)


class CannotBePickled(Exception):
    def __reduce__(self) -> str:
        raise TypeError("cannot be pickled")


async def test_a_failure_stays_what_it_is_whatever_its_cause() -> None:
    """Dask, once imported, has exceptions pickled with their causes, and TensorStore pickles what functions raise."""
    importlib.import_module("distributed")
    chunks = Chunks()

    async def fail(_: Box) -> Array:
        try:
            raise CannotBePickled
        except CannotBePickled as error:
            raise CorruptChunk("this block is bad") from error

    chunks.instead = fail
    with pytest.raises(CorruptChunk, match="this block is bad"):
        await make_volume(chunks.read).read(0, LEVEL.extent)


@pytest.mark.parametrize("wrong", [VOXELS[:, :1, :1, :1], cut(LEVEL.extent).astype(np.uint8)])
async def test_chunk_of_another_shape_or_type_is_corrupt(wrong: Array) -> None:
    chunks = Chunks()

    async def other(_: Box) -> Array:
        return wrong

    chunks.instead = other
    with pytest.raises(CorruptChunk, match="expected"):
        await make_volume(chunks.read).read(0, LEVEL.extent)


async def test_silence_ends_at_the_deadline_and_stops_the_function() -> None:
    chunks = Chunks()
    stopped: list[Box] = []

    async def silent(box: Box) -> Array:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(box)
        return cut(box)

    chunks.instead = silent
    with pytest.raises(UpstreamUnavailable, match="no answer within"):
        await make_volume(chunks.read, deadline_s=0.5).read(0, Box((5, 0, 0), (32, 32, 16)))
    for _ in range(100):
        await asyncio.sleep(0.01)
        if stopped:
            break
    assert len(stopped) == 1


async def test_decoder_that_fails() -> None:
    def decode() -> Array:
        raise IndexError

    with pytest.raises(CorruptChunk, match="block 3: the stored bytes cannot be decoded"):
        await decoded(decode, "block 3")
