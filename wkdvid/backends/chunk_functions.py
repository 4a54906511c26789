"""Formats that TensorStore does not know: a function that reads one chunk, as a TensorStore array.

So there is one cache of decoded chunks, one coalescing of concurrent misses and one way to read, whatever the format.
TensorStore calls the function for each chunk that it does not have; what the function raises, the reader gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import tensorstore as ts

from wkdvid.core.geometry import Box
from wkdvid.core.volume import Array, LevelInfo
from wkdvid.errors import BackendError, CorruptChunk, UpstreamUnavailable

ReadChunk: TypeAlias = Callable[[Box], Awaitable[Array | None]]
"""From a chunk's box, cut at the extent, to its voxels (c, x, y, z), or None if it was never written."""


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

    async def read(domain: ts.IndexDomain, out: Array, _: object) -> None:
        (_, *start), (_, *stop) = domain.inclusive_min, domain.exclusive_max
        box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        try:
            async with asyncio.timeout(deadline_s):
                voxels = await read_chunk(box)
        except TimeoutError as error:
            raise UpstreamUnavailable(f"chunk at {box.start}: no answer within {deadline_s:g} s") from error
        if voxels is None:
            out[...] = fill_value
            return
        if voxels.shape != out.shape or voxels.dtype != out.dtype:
            raise CorruptChunk(
                f"chunk at {box.start} has {voxels.shape} voxels of {voxels.dtype}, expected {out.shape} of {out.dtype}"
            )
        out[...] = voxels

    return ts.virtual_chunked(
        read,
        dtype=np.dtype(dtype),
        domain=ts.IndexDomain(inclusive_min=(0, *level.extent.start), exclusive_max=(num_channels, *level.extent.stop)),
        chunk_layout=ts.ChunkLayout(
            read_chunk_shape=(num_channels, *level.chunk_shape),
            grid_origin=(0, *level.chunk_origin),
            inner_order=(3, 2, 1, 0),
        ),
        context=context,
        loop=asyncio.get_running_loop(),
    )


async def decoded(decode: Callable[[], Array], what: str) -> Array:
    """What ``decode`` makes of stored bytes, off the event loop. Whatever a decoder raises, the bytes are to blame.

    Raises:
        CorruptChunk: the bytes of ``what`` cannot be decoded.
    """
    try:
        return await asyncio.to_thread(decode)
    except BackendError:
        raise
    except Exception as error:
        raise CorruptChunk(f"{what}: the stored bytes cannot be decoded") from error
