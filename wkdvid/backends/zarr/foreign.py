"""Arrays with codecs that TensorStore lacks, as TensorStore arrays: it reads the bytes, zarr-python decodes them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import tensorstore as ts

from wkdvid.backends.apart import Decoding, decoded_apart
from wkdvid.backends.chunk_functions import Index, array_store
from wkdvid.backends.failures import translate
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.stored_objects import open_objects
from wkdvid.backends.zarr.metadata import configuration, extension_name, sharding_of
from wkdvid.backends.zarr.nodes import Node
from wkdvid.core.source import Source
from wkdvid.core.volume import Array

Document = Mapping[str, Any]
Key = Callable[[Index], str]
ReadStored = Callable[[Index], Awaitable[bytes | None]]
"""From a chunk's index to its stored bytes, or None if it was never written."""


async def open_foreign(opener: Opener, node: Node) -> tuple[ts.TensorStore, float | int]:
    """The array of a node, its dimensions in zarr's order, and its fill value.

    Raises:
        InvalidRequest: its declared chunks are over the limit.
        BackendError: its metadata are wrong, or the store cannot be opened.
    """
    array, what = node.array or {}, node.source.name
    plain = await replace(node, array=_plain(array, node.version)).open(opener)
    chunk_shape = tuple(n or 1 for n in plain.chunk_layout.read_chunk.shape or plain.shape)
    fill_value = 0 if plain.fill_value is None else plain.fill_value.item()
    decoding = Decoding(
        decoder="zarr",
        shape=chunk_shape,
        dtype=plain.dtype.numpy_dtype,
        order="C",
        parameters={"array": _of_one_chunk(array, node.version, chunk_shape)},
    )
    read_stored = await _reader(opener, node.source, array, node.version, chunk_shape)

    async def read_part(start: Index, stop: Index) -> Array | None:
        index = tuple(a // n for a, n in zip(start, chunk_shape, strict=True))
        data = await read_stored(index)
        if data is None:
            return None
        voxels = await decoded_apart(decoding, data, f"{what}, chunk {index}")
        return voxels[tuple(slice(b - a) for a, b in zip(start, stop, strict=True))]  # stored whole at the edge too

    store = array_store(
        read_part,
        domain=ts.IndexDomain(shape=plain.shape),
        chunk_layout=ts.ChunkLayout(read_chunk_shape=chunk_shape),
        dtype=decoding.dtype,
        context=opener.context,
        deadline_s=opener.deadline_s,
        fill_value=fill_value,
    )
    return store, fill_value


def _plain(array: Document, version: int) -> Document:
    """The array as if its chunks were not encoded: TensorStore checks its metadata and says what they mean."""
    if version == 2:
        return {**array, "compressor": None, "filters": None}
    codecs: Sequence[Document] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    sharding = sharding_of(array)
    if sharding is not None:
        codecs = [{"name": "sharding_indexed", "configuration": {**sharding, "codecs": codecs}}]
    return {**array, "codecs": codecs}


def _of_one_chunk(array: Document, version: int, chunk_shape: Index) -> Document:
    """The metadata of an array that is one (inner) chunk of this one."""
    if version == 2:
        kept = {name: array.get(name) or None for name in ("compressor", "filters")}
        same = {name: array[name] for name in ("zarr_format", "dtype", "order", "fill_value")}
        return {**same, **kept, "shape": chunk_shape, "chunks": chunk_shape, "dimension_separator": "."}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": chunk_shape,
        "data_type": array["data_type"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": (sharding_of(array) or array)["codecs"],
        "fill_value": array["fill_value"],
    }


async def _reader(opener: Opener, source: Source, array: Document, version: int, chunk_shape: Index) -> ReadStored:
    key = _key(array, version)
    sharding = sharding_of(array) if version == 3 else None
    if sharding is None:
        objects = await open_objects(source, opener.context)
        return lambda index: objects.read(key(index))
    shard_shape = configuration(array["chunk_grid"])["chunk_shape"]
    shard = {
        "driver": "zarr3_sharding_indexed",
        "grid_shape": [a // b for a, b in zip(shard_shape, chunk_shape, strict=True)],
        "index_codecs": sharding["index_codecs"],
        "index_location": sharding.get("index_location", "end"),
    }
    return partial(_read_from_shard, opener, source, key, shard, time.time())


def _key(array: Document, version: int) -> Key:
    """Where the chunk (or shard) of an index is stored: ``c/0/0`` or ``0.0``, unless another separator is given."""
    if version == 2:
        separator = array.get("dimension_separator") or "."
        return lambda index: separator.join(map(str, index))
    encoding = array["chunk_key_encoding"]
    begin, usual = (["c"], "/") if extension_name(encoding) == "default" else ([], ".")
    separator = configuration(encoding).get("separator", usual)
    return lambda index: separator.join([*begin, *map(str, index)])


async def _read_from_shard(
    opener: Opener, source: Source, key: Key, shard: Document, opened: float, index: Index
) -> bytes | None:
    """A shard's index is read once for as long as the array is open."""
    grid = shard["grid_shape"]
    name = key(tuple(i // n for i, n in zip(index, grid, strict=True)))
    base = {**source.kvstore, "path": f"{source.kvstore.get('path', '')}{name}"}
    entry = b"".join((i % n).to_bytes(4, "big") for i, n in zip(index, grid, strict=True))
    try:
        store = await finished(ts.KvStore.open({**shard, "base": base}, context=opener.context))
        found = await finished(store.read(entry, staleness_bound=opened))
    except FAILURES as error:
        raise translate(error, f"{source.name} ({name})") from error
    return found.value if found.state == "value" else None
