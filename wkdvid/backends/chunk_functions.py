"""Formats that TensorStore does not know: a function that reads one chunk, as a TensorStore array.

So there is one cache of decoded chunks, one coalescing of concurrent misses and one way to read, whatever the format.
TensorStore calls the function for each chunk that it does not have; what the function raises, the reader gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorstore as ts

from wkdvid.core.geometry import Box
from wkdvid.core.limits import KIB
from wkdvid.core.volume import Array, LevelInfo
from wkdvid.errors import BackendError, CorruptChunk, UpstreamUnavailable

QUICK_BYTES = 64 * KIB
"""What LZ4 unpacks in 30 us; a thread has its answer back in 100 to 150."""

ReadChunk: TypeAlias = Callable[[Box], Awaitable[Array | None]]
"""From a chunk's box, cut at the extent, to its voxels (c, x, y, z), or None if it was never written."""
Index: TypeAlias = tuple[int, ...]
ReadPart: TypeAlias = Callable[[Index, Index], Awaitable[Array | None]]
"""From a chunk's first index and the one behind its last, cut at the array's end, to its voxels, in the order of the
array's dimensions; None if it was never written."""


def chunk_store(
    read_chunk: ReadChunk,
    level: LevelInfo,
    *,
    dtype: npt.DTypeLike,
    num_channels: int,
    context: ts.Context,
    deadline_s: float,
    fill_value: float = 0,
) -> ts.TensorStore:
    """A level as ``TensorStoreVolume`` takes it: dimensions (c, x, y, z), the level's voxels as coordinates.

    What was read stays in the cache for as long as the store lives: opening the layer again reads afresh. To be called
    on the loop that ``read_chunk`` is to run on.

    Args:
        read_chunk: May be called for many chunks at a time. What takes the CPU long belongs into ``decoded``. Raises
            BackendError where a chunk cannot be read.
        level: Its ``extent``, ``chunk_shape`` and ``chunk_origin`` count.
        deadline_s: For one chunk. TensorStore lets a function run on whose readers are gone.
        fill_value: Of chunks that were never written.
    """

    async def read_part(start: Index, stop: Index) -> Array | None:
        return await read_chunk(Box((start[1], start[2], start[3]), (stop[1], stop[2], stop[3])))

    return array_store(
        read_part,
        domain=ts.IndexDomain(inclusive_min=(0, *level.extent.start), exclusive_max=(num_channels, *level.extent.stop)),
        chunk_layout=ts.ChunkLayout(
            read_chunk_shape=(num_channels, *level.chunk_shape),
            grid_origin=(0, *level.chunk_origin),
            inner_order=(3, 2, 1, 0),
        ),
        dtype=dtype,
        context=context,
        deadline_s=deadline_s,
        fill_value=fill_value,
    )


def array_store(
    read_part: ReadPart,
    *,
    domain: ts.IndexDomain,
    chunk_layout: ts.ChunkLayout,
    dtype: npt.DTypeLike,
    context: ts.Context,
    deadline_s: float,
    fill_value: float = 0,
) -> ts.TensorStore:
    """An array of any dimensions, as ``ArrayLevel`` takes it; otherwise as ``chunk_store``."""

    async def fill(part: ts.IndexDomain, out: Array) -> None:
        start = tuple(part.inclusive_min)
        try:
            async with asyncio.timeout(deadline_s):
                voxels = await read_part(start, tuple(part.exclusive_max))
        except TimeoutError as error:
            raise UpstreamUnavailable(f"chunk at {start}: no answer within {deadline_s:g} s") from error
        if voxels is None:
            out[...] = fill_value
            return
        if voxels.shape != out.shape or voxels.dtype != out.dtype:
            raise CorruptChunk(
                f"chunk at {start} has {voxels.shape} voxels of {voxels.dtype}, expected {out.shape} of {out.dtype}"
            )
        out[...] = voxels

    async def read(part: ts.IndexDomain, out: Array, _: object) -> None:
        try:
            await fill(part, out)
        except BackendError as error:
            bare = type(error)(*error.args)
        else:
            return
        raise bare  # TensorStore pickles it; where Dask is imported, that takes its cause too, which may not let itself

    return ts.virtual_chunked(
        lambda part, out, parameters: _Unbegun(lambda: read(part, out, parameters)),
        dtype=np.dtype(dtype),
        domain=domain,
        chunk_layout=chunk_layout,
        context=context,
        loop=asyncio.get_running_loop(),
    )


class _Unbegun(Coroutine[Any, Any, None]):
    """A coroutine that is made when the loop comes to it. Those that a loop which ends never comes to would warn."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._begin = begin
        self._running: Coroutine[Any, Any, None] | None = None

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        return self._begun().throw(*error)

    def close(self) -> None:
        if self._running is not None:
            self._running.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._begun().__await__()

    def _begun(self) -> Coroutine[Any, Any, None]:
        if self._running is None:
            self._running = self._begin()
        return self._running


async def decoded(decode: Callable[[], Array], what: str, quick_bytes: int | None = None) -> Array:
    """What ``decode`` makes of stored bytes, off the event loop. Whatever a decoder raises, the bytes are to blame.

    Args:
        quick_bytes: Decoded, where that is little more than copying: few of them are decoded here and now.
    Raises:
        CorruptChunk: the bytes of ``what`` cannot be decoded.
    """
    try:
        if quick_bytes is not None and quick_bytes <= QUICK_BYTES:
            return decode()
        return await asyncio.to_thread(decode)
    except BackendError:
        raise
    except Exception as error:
        raise CorruptChunk(f"{what}: the stored bytes cannot be decoded") from error
