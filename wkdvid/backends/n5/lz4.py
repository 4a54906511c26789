"""N5 arrays compressed with LZ4, which TensorStore lacks, as TensorStore arrays."""

from __future__ import annotations

import math
import struct
from functools import partial

import numpy as np
import tensorstore as ts

from wkdvid.backends.chunk_functions import Index, array_store, decoded
from wkdvid.backends.n5.metadata import ArrayMetadata
from wkdvid.backends.opening import Opener
from wkdvid.backends.stored_objects import open_objects
from wkdvid.codecs.lz4_stream import unlz4_stream
from wkdvid.core.source import Source
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk

_BEGINNING = struct.Struct(">HH")
"""Mode and number of dimensions; then an uint32 for the size of each (N5 specification)."""


async def open_lz4(opener: Opener, source: Source, array: ArrayMetadata) -> ts.TensorStore:
    """The array in a folder, its dimensions in N5's order.

    Raises:
        InvalidRequest: its declared blocks are over the limit.
        BackendError: the store cannot be opened.
    """
    objects = await open_objects(source, opener.context)
    dimensions, block_size = array.document["dimensions"], array.document["blockSize"]
    dtype = np.dtype(array.document["dataType"])

    async def read_part(start: Index, stop: Index) -> Array | None:
        key = "/".join(str(a // n) for a, n in zip(start, block_size, strict=True))
        data = await objects.read(key)
        if data is None:
            return None
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        what = f"{source.name}, block {key}"
        return await decoded(partial(decode_block, data, shape, tuple(block_size), dtype, what), what)

    store = array_store(
        read_part,
        domain=ts.IndexDomain(shape=dimensions),
        chunk_layout=ts.ChunkLayout(read_chunk_shape=block_size, inner_order=tuple(range(array.rank))[::-1]),
        dtype=dtype,
        context=opener.context,
        deadline_s=opener.deadline_s,
    )
    opener.check_chunk(store, source.name)
    return store


def decode_block(data: bytes, shape: Index, block_size: Index, dtype: np.dtype[np.generic], what: str) -> Array:
    """The voxels of a block; 0 where it stores fewer than the array has there.

    Args:
        shape: Of the block, cut at the array's end.
        block_size: Of a whole block. It may be stored whole where the array ends within it.
    Raises:
        CorruptChunk: it is no such block.
    """
    size, start = _stored_size(data, len(shape), what)
    if any(n > most for n, most in zip(size, block_size, strict=True)):
        raise CorruptChunk(f"{what}: has {size} voxels, the array's blocks have {block_size}")
    try:
        voxels = unlz4_stream(data[start:], math.prod(size) * dtype.itemsize)
    except CorruptChunk as error:
        raise CorruptChunk(f"{what}: {error}") from error
    stored = np.frombuffer(voxels, dtype.newbyteorder(">")).reshape(size, order="F")
    block = np.zeros(shape, dtype, order="F")
    inside = tuple(slice(min(a, b)) for a, b in zip(size, shape, strict=True))
    block[inside] = stored[inside]
    return block


def _stored_size(data: bytes, rank: int, what: str) -> tuple[Index, int]:
    """How many voxels a block says that it has, and where they begin."""
    start = _BEGINNING.size + 4 * rank
    if len(data) < start:
        raise CorruptChunk(f"{what}: {len(data)} bytes are no block")
    mode, dimensions = _BEGINNING.unpack_from(data)
    if mode != 0:
        raise CorruptChunk(f"{what}: is of mode {mode} (varlength or an object); plain blocks can be read")
    if dimensions != rank:
        raise CorruptChunk(f"{what}: has {dimensions} dimensions, the array has {rank}")
    return struct.unpack_from(f">{rank}I", data, _BEGINNING.size), start
