"""Levels of a layer that are stored apart from its source: a folder of zarr 3 arrays and what they were made from.

``pyramid.json`` says what the source was. If it is something else now the levels are not served: they would show
something that is not there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorstore as ts

from wkdvid.backends.opening import Opener
from wkdvid.backends.tensorstore_volume import TensorStoreVolume, arrange
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Vec3
from wkdvid.core.joined_volume import join
from wkdvid.core.missing_levels import CHUNK, MissingLevel, grid_box, missing_levels
from wkdvid.core.source import Source
from wkdvid.core.volume import LayerInfo, Volume
from wkdvid.errors import CorruptChunk, InvalidRequest

MANIFEST = "pyramid.json"
CODECS: Sequence[Mapping[str, Any]] = (
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
    {"name": "crc32c"},
)
"""Of a chunk. The checksum tells of flipped bits, which would else be shown."""
INDEX_CODECS: Sequence[Mapping[str, Any]] = (CODECS[0], CODECS[2])


def manifest(layer: LayerEntry, info: LayerInfo) -> dict[str, Any]:
    """What identifies a pyramid, as JSON has it: the source, and the levels that are made from it."""
    document = {
        "version": 1,
        "backend": layer.backend,
        "options": layer.options,
        "category": info.category,
        "dtype": info.dtype.name,
        "channels": info.num_channels,
        "voxel_size_nm": info.voxel_size_nm,
        "source_levels": [[level.mag, level.extent.start, level.extent.stop] for level in info.levels],
        "levels": [[one.level.mag, grid_box(one.level).start, one.task_shape] for one in missing_levels(info)],
    }
    kept: dict[str, Any] = json.loads(json.dumps(document))
    return kept


async def with_pyramid(volume: Volume, layer: LayerEntry, folder: str, opener: Opener) -> Volume:
    """The volume with the levels that a folder holds; alone, with a note, where they are not its.

    Raises:
        BackendError: it cannot be judged now.
    """
    try:
        return join([volume, await _open(volume.info, layer, folder, opener)])
    except (InvalidRequest, CorruptChunk) as error:
        note = f"Its stored pyramid is not served: {error}; 'wkdvid pyramid' makes another."
        return join([volume], [note])


async def _open(info: LayerInfo, layer: LayerEntry, folder: str, opener: Opener) -> Volume:
    source = await opener.source(folder, MANIFEST)
    found = await opener.read_json(source, MANIFEST)
    if found is None:
        raise InvalidRequest(f"{source.name}: there is no {MANIFEST}")
    if found != manifest(layer, info):
        raise InvalidRequest(f"{source.name}: the source is not what it was when this was made")
    levels = missing_levels(info)
    opener.check_levels(len(info.levels) + len(levels), source.name)
    opened = await asyncio.gather(*(_open_level(opener, source, info, one) for one in levels))
    volume = made_volume(info, levels, opened, source.name, opener.deadline_s)
    volume.presence = opener.presence
    return volume


async def _open_level(opener: Opener, source: Source, info: LayerInfo, one: MissingLevel) -> ts.TensorStore:
    name = mag_name(one.level.mag)
    place = opener.guard.child(source, name)
    store = await opener.open({"driver": "zarr3", "kvstore": place.kvstore}, place.name)
    if list(store.shape) != _shape(info, one) or store.dtype.name != info.dtype.name:
        raise CorruptChunk(f"{place.name}: not the level that {MANIFEST} says")
    return placed(store, one)


def made_volume(
    info: LayerInfo, levels: Sequence[MissingLevel], stores: Sequence[ts.TensorStore], what: str, deadline_s: float
) -> TensorStoreVolume:
    """The levels alone, as a volume whose mags are those of the layer's own.

    Args:
        stores: As ``placed`` returns them.
    """
    made = replace(info, levels=tuple(one.level for one in levels), notes=())
    return TensorStoreVolume(made, stores, what, deadline_s)


def placed(store: ts.TensorStore, one: MissingLevel) -> ts.TensorStore:
    """A level's array with dimensions (c, x, y, z) and the level's voxels as coordinates."""
    return arrange(store, "czyx", fixed={}, translation=grid_box(one.level).start)


def mag_name(mag: Vec3) -> str:
    """Name of a level's folder: ``4-4-2``."""
    return "-".join(map(str, mag))


def array_metadata(info: LayerInfo, one: MissingLevel) -> dict[str, Any]:
    """Zarr 3 metadata of a level: shards of one task each, of chunks of 64 voxels a side; zeros are not stored."""
    chunk = [info.num_channels, CHUNK, CHUNK, CHUNK]
    sharding = {"chunk_shape": chunk, "codecs": CODECS, "index_codecs": INDEX_CODECS}
    shard = [info.num_channels, *reversed(one.task_shape)]
    return {
        "shape": _shape(info, one),
        "data_type": info.dtype.name,
        "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": ["c", "z", "y", "x"],
    }


def _shape(info: LayerInfo, one: MissingLevel) -> list[int]:
    return [info.num_channels, *reversed(grid_box(one.level).size)]
