"""Scales whose chunks TensorStore does not find or cannot decode, as TensorStore arrays."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import tensorstore as ts

from wkdvid.backends.apart import Decoding, decoded_apart
from wkdvid.backends.chunk_functions import chunk_store
from wkdvid.backends.failures import translate
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.precomputed.chunks import chunk_index
from wkdvid.backends.precomputed.metadata import Info, ScaleMetadata
from wkdvid.backends.precomputed.stored import StoredScale
from wkdvid.core.geometry import Box
from wkdvid.core.volume import Array, LevelInfo


def decoded_scale(opener: Opener, info: Info, stored: StoredScale, level: LevelInfo) -> ts.TensorStore:
    """A scale as ``arrange`` returns it; ``level`` as ``chunk_store`` takes it.

    Raises:
        InvalidRequest: its declared chunks are over the limit.
    """
    scale = stored.scale
    decode = partial(_foreign if scale.index is None else _by_tensorstore, info, stored)

    async def read_chunk(box: Box) -> Array | None:
        data = await stored.read(chunk_index(scale, box.start))
        return None if data is None else await decode(data, box)

    store = chunk_store(
        read_chunk,
        level,
        dtype=info.document["data_type"],
        num_channels=info.num_channels,
        context=opener.context,
        deadline_s=opener.deadline_s,
    )
    opener.check_chunk(store, f"{stored.what} ({scale.key})")
    return store


async def _foreign(info: Info, stored: StoredScale, data: bytes, box: Box) -> Array:
    shape = (*box.size, info.num_channels)
    decoding = Decoding(decoder=stored.scale.encoding, shape=shape, dtype=np.dtype(info.document["data_type"]))
    return np.moveaxis(await decoded_apart(decoding, data, f"{stored.what}, chunk at {box.start}"), 3, 0)


async def _by_tensorstore(info: Info, stored: StoredScale, data: bytes, box: Box) -> Array:
    """As TensorStore decodes a volume of one chunk, in memory: it takes bytes from key-value stores alone."""
    document = _info_of_chunk(info, stored.scale, box)
    (scale,) = document["scales"]
    ranges = (f"{start}-{stop}" for start, stop in zip(box.start, box.stop, strict=True))
    memory = {"driver": "memory"}
    context = ts.Context()
    try:
        store = await finished(ts.KvStore.open(memory, context=context))
        await finished(store.write("info", json.dumps(document).encode()))
        await finished(store.write(f"{scale['key']}/{'_'.join(ranges)}", data))
        spec = {"driver": "neuroglancer_precomputed", "kvstore": memory}
        array = await finished(ts.open(spec, context=context, read=True, open=True))
        return np.moveaxis(await finished(array.read(order="F")), 3, 0)
    except FAILURES as error:
        raise translate(error, f"{stored.what}, chunk at {box.start}") from error


def _info_of_chunk(info: Info, scale: ScaleMetadata, box: Box) -> dict[str, Any]:
    own = info.document["scales"][scale.index]
    place = {"key": "chunk", "voxel_offset": box.start, "size": box.size, "chunk_sizes": [box.size]}
    return {**info.document, "scales": [{**own, **place}]}
