"""Paths below a layer -> what they name, as something that is read when it has to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import orjson

from wkdvid.core.body_cache import Body
from wkdvid.core.layers import Layer
from wkdvid.core.sampling import display_windows
from wkdvid.core.segments import StoresSegments
from wkdvid.core.services import Services
from wkdvid.errors import NotFound
from wkdvid.export import precomputed, zarr_layer
from wkdvid.export.zarr_documents import ZarrFormat

Make: TypeAlias = Callable[[], Awaitable[Body]]
"""Raises RequestError, BackendError."""
Find: TypeAlias = Callable[[Services, Layer, str], Make]
"""Raises NotFound, UnsupportedRequest."""


def in_precomputed(services: Services, layer: Layer, path: str) -> Make:
    if path == "info":
        return _written(precomputed.info_document(layer))
    if path == f"{precomputed.PROPERTIES}/info":
        return partial(_properties, layer)
    chunk = precomputed.find_chunk(layer, path)
    if chunk is None:
        raise NotFound(f"layer {layer.info.name!r} as precomputed has no {path[:200]!r}")
    return partial(precomputed.read_chunk, services, chunk)


def in_zarr(zarr_format: ZarrFormat, services: Services, layer: Layer, path: str) -> Make:
    if path in zarr_layer.GROUP_NAMES[zarr_format]:
        return partial(_group, zarr_format, services, layer, path)
    chunk = zarr_layer.find_chunk(layer, zarr_format, path)
    if chunk is not None:
        return partial(zarr_layer.read_chunk, services, chunk)
    document = zarr_layer.array_documents(layer, zarr_format).get(path)
    if document is None:
        raise NotFound(f"layer {layer.info.name!r} as zarr {zarr_format} has no {path[:200]!r}")
    return _written(document)


async def _properties(layer: Layer) -> Body:
    source = layer.volume
    found = await source.segment_properties() if isinstance(source, StoresSegments) else None
    if found is None:
        raise NotFound(f"layer {layer.info.name!r} has no properties of segments")
    return found


def _written(document: Mapping[str, Any]) -> Make:
    async def make() -> Body:
        return orjson.dumps(document)

    return make


async def _group(zarr_format: ZarrFormat, services: Services, layer: Layer, name: str) -> Body:
    windows = await display_windows(services, layer) if layer.info.category == "color" else ()
    return orjson.dumps(zarr_layer.group_documents(layer, zarr_format, windows)[name])
