"""Opens layers of webKnossos datasets: what ``datasource-properties.json`` describes, or a layer's folder lists."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace

import tensorstore as ts

from wkdvid.backends.channels import split_channels
from wkdvid.backends.chunk_functions import chunk_store
from wkdvid.backends.opening import Opener
from wkdvid.backends.quoting import plain
from wkdvid.backends.stored_objects import open_objects
from wkdvid.backends.tensorstore_volume import TensorStoreVolume, little_endian
from wkdvid.backends.wkw.files import KeptParts, LevelFiles
from wkdvid.backends.wkw.header import HEADER_FILE
from wkdvid.backends.wkw.layers import Layer, described, listed
from wkdvid.backends.wkw.mags import StoredMag
from wkdvid.backends.wkw.properties import PROPERTIES_FILE, LayerProperties, parse_properties
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import ZERO, Float3
from wkdvid.core.source import Source, quote_path
from wkdvid.core.volume import LayerInfo, LevelInfo, Volume
from wkdvid.errors import InvalidRequest

OPTIONS = frozenset({"source", "path", "layer", "channel"})
MARKERS = (PROPERTIES_FILE, HEADER_FILE, f"1/{HEADER_FILE}")


async def find_layers(entry: LayerEntry, opener: Opener) -> Sequence[LayerEntry]:
    """The layers of a dataset's folder, those stored as zarr under the backend of that name.

    Raises:
        InvalidRequest: it is no such folder, or none of its layers can be read.
        BackendError: it cannot be reached.
    """
    if "layer" in entry.options:
        raise InvalidRequest("layer: is an option of a layer; an entry that lists no layers has them all")
    folder = entry.options.get("path", entry.options.get("source", f"binary/{entry.dataset}"))
    source = await opener.source(folder, PROPERTIES_FILE)
    document = await opener.read_json(source, PROPERTIES_FILE)
    if document is None:
        raise InvalidRequest(
            f"{source.name}: there is no {PROPERTIES_FILE}; name a dataset's folder, or list its layers"
        )
    dataset = parse_properties(document, source.name)
    if not dataset.layers:
        raise InvalidRequest("; ".join(dataset.left_out.values()))
    whole = replace(entry, options={**entry.options, "source": folder})
    return [_entry(whole, opener, source, layer) for layer in dataset.layers.values()]


def _entry(whole: LayerEntry, opener: Opener, source: Source, layer: LayerProperties) -> LayerEntry:
    named = replace(
        whole,
        name=_layer_name(layer.name),
        backend=layer.backend,
        category=layer.category,
        path=f"{whole.path} (layer {plain(layer.name)})",
    )
    if layer.backend == "wkw":
        return replace(named, options={**whole.options, "layer": layer.name})
    folder = posixpath.dirname(layer.mags[0].folders[0])
    opener.guard.child(source, folder)
    finest = min(mag.mag for mag in layer.mags)
    box = layer.box.scaled_down(finest)
    options = {"source": _joined(str(whole.options["source"]), folder), "box": [[*box.start], [*box.stop]]}
    return replace(named, options=options)


def _layer_name(text: str) -> str:
    """A name as layers have it here (``core.guard.check_name``): that of a webKnossos layer may hold anything."""
    return re.sub(r"[^A-Za-z0-9_.$@-]|^\.|\.(?=\.)", "_", text[:128]) or "_"


def _joined(text: str, folder: str) -> str:
    """What a user would write for a folder below a source, of which the guard has seen that it stays in its store."""
    is_url = "://" in text
    address, mark, query = text.partition("?") if is_url else (text, "", "")
    scheme, colon, path = address.rpartition("://")
    below = posixpath.normpath(f"{path}/{quote_path(folder) if is_url else folder}")
    return f"{scheme}{colon}{below}{mark}{query}"


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """Open one layer of a dataset's folder, or a layer's own folder.

    Raises:
        InvalidRequest: it is neither, or one that cannot be read; with what would help.
        BackendError: it cannot be reached.
    """
    source = await opener.source(entry.options.get("source", entry.options.get("path")), PROPERTIES_FILE)
    layer = await described(entry, opener, source) or await listed(entry, opener, source)
    kept = KeptParts(opener.deadline_s)
    stores = await asyncio.gather(*(_open(opener, mag, kept) for mag in layer.mags))
    return split_channels(
        stores,
        entry.options.get("channel"),
        lambda channels, name: _volume(entry, opener, layer, channels, name),
        entry.name,
    )


async def _open(opener: Opener, mag: StoredMag, kept: KeptParts) -> ts.TensorStore:
    grid = mag.header.grid
    files = LevelFiles(await open_objects(mag.source, opener.context), grid, kept)
    return chunk_store(
        files.read_chunk,
        _level(mag),
        dtype=grid.dtype,
        num_channels=grid.num_channels,
        context=opener.context,
        deadline_s=opener.deadline_s,
    )


def _level(mag: StoredMag) -> LevelInfo:
    side = mag.header.grid.block_side
    return LevelInfo(
        mag=mag.mag,
        extent=mag.extent,
        chunk_shape=(side, side, side),
        chunk_origin=ZERO,
        encoding=mag.header.encoding,
    )


def _volume(entry: LayerEntry, opener: Opener, layer: Layer, stores: Sequence[ts.TensorStore], name: str) -> Volume:
    info = LayerInfo(
        name=name,
        category=entry.category or layer.category,
        dtype=little_endian(stores[0], layer.what),
        num_channels=stores[0].shape[0],
        voxel_size_nm=_voxel_size(entry, layer),
        levels=tuple(_level(mag) for mag in layer.mags),
        format="wkw",
        largest_segment_id=layer.largest_segment_id,
        notes=layer.notes,
    )
    return TensorStoreVolume(info, stores, layer.what, opener.deadline_s)


def _voxel_size(entry: LayerEntry, layer: Layer) -> Float3:
    """Of mag 1, where the entry means the finest level."""
    if entry.voxel_size_nm is None:
        return layer.voxel_size_nm
    (x, y, z), mag = entry.voxel_size_nm, layer.mags[0].mag
    return (x / mag[0], y / mag[1], z / mag[2])
