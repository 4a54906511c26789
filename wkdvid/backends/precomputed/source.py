"""Opens precomputed volumes, through TensorStore where it can read them, and hands stored chunks on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import tensorstore as ts

from wkdvid.backends.channels import split_channels
from wkdvid.backends.failures import translate
from wkdvid.backends.levels import level_mags
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import outcomes
from wkdvid.backends.precomputed.chunks import chunk_key
from wkdvid.backends.precomputed.decoding import decoded_scale
from wkdvid.backends.precomputed.metadata import Info, ScaleMetadata, parse_info
from wkdvid.backends.precomputed.segments import StoredSegments
from wkdvid.backends.precomputed.stored import UNPACK, StoredScale, open_stored
from wkdvid.backends.stored_files import LevelFiles
from wkdvid.backends.stored_objects import open_objects
from wkdvid.backends.tensorstore_volume import TensorStoreVolume, arrange, little_endian
from wkdvid.core.concurrent import for_each
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Vec3, divide_up
from wkdvid.core.source import Source
from wkdvid.core.volume import LayerInfo, LevelInfo, Volume
from wkdvid.errors import BackendError, InvalidRequest
from wkdvid.extras import is_installed

OPTIONS = frozenset({"source", "channel"})
MARKERS = ("info",)
PROBE_S = 2.0
"""For a look at how a web server's chunks are called."""


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """Open a precomputed volume.

    Raises:
        InvalidRequest: it is none, or not one that can be read; with what would help.
        BackendError: it cannot be reached.
    """
    return await open_source(entry, opener, await opener.source(entry.options.get("source"), "info"))


async def open_source(entry: LayerEntry, opener: Opener, source: Source) -> Sequence[Volume]:
    """Open all scales of the volume in an admitted folder; errors as ``open_layer``."""
    document = await opener.read_json(source, "info")
    if document is None:
        raise InvalidRequest(f"{source.name}: there is no info file; is this the folder of a precomputed volume?")
    info = parse_info(document, source.name, is_installed)
    opener.check_levels(len(info.scales), source.name)
    if any(scale.sharding is not None for scale in info.scales):
        await opener.check_ranges(source, "info")
    suffixes = await _suffixes(opener, source, info.scales)
    scales = [
        await open_stored(opener, source, scale, found) for scale, found in zip(info.scales, suffixes, strict=True)
    ]
    levels = _levels(info, source.name)
    # One odd scale would make TensorStore refuse them all: it is given an info without those that it cannot read.
    kvstore = await opener.overlay(source, "info", info.document)
    opened = await asyncio.gather(
        *(_open_scale(opener, info, kvstore, stored, level) for stored, level in zip(scales, levels, strict=True))
    )

    objects = await open_objects(source, opener.context)
    files = [LevelFiles("precomputed", scale.key, "xyzc", objects, opener) for scale in info.scales]
    plain = not any(stored.suffixes for stored in scales)  # else readers of the format would find nothing

    def make(stores: Sequence[ts.TensorStore], name: str) -> Volume:
        layer = _layer_info(entry, info, levels, stores[0], name, source.name)
        if layer.num_channels < info.num_channels:
            return TensorStoreVolume(layer, stores, source.name, opener.deadline_s)
        segments = StoredSegments(opener, source, info, layer.voxel_size_nm)
        return PrecomputedVolume(
            layer, stores, source.name, opener.deadline_s, scales, files if plain else (), segments
        )

    return split_channels(opened, entry.options.get("channel"), make, entry.name)


async def _suffixes(opener: Opener, source: Source, scales: Sequence[ScaleMetadata]) -> Sequence[Sequence[str]]:
    """For each scale the suffixes that names of its chunks have: TensorStore would read those chunks as empty.

    Raises:
        InvalidRequest: a scale whose key leads to where it may not.
        BackendError: its folder cannot be read.
    """
    folders = [opener.guard.child(source, scale.key) for scale in scales]
    places = list(zip(scales, folders, strict=True))
    if source.is_http:
        return await asyncio.gather(*(_suffixes_at(opener, folder, scale) for scale, folder in places))
    if source.scheme != "file":
        return [()] * len(scales)
    try:
        found = [
            await asyncio.to_thread(_suffixes_in, Path(folder.path)) if scale.sharding is None else set()
            for scale, folder in places
        ]
    except OSError as error:
        raise translate(error, source.name) from error
    return [[suffix for suffix in UNPACK if suffix in suffixes] for suffixes in found]


async def _suffixes_at(opener: Opener, folder: Source, scale: ScaleMetadata) -> Sequence[str]:
    """Those of the chunk in the middle, if it is not there without: a web server lists no folder."""
    if scale.sharding is not None:
        return ()
    x, y, z = divide_up(scale.extent.size, scale.chunk_size)
    name = chunk_key(scale, (x // 2, y // 2, z // 2)).removeprefix(f"{scale.key}/")
    try:
        async with asyncio.timeout(PROBE_S):
            if await opener.read_start(folder, name, 1) is not None:
                return ()
            tries = [opener.read_start(folder, name + suffix, 1) for suffix in UNPACK]
            found = await asyncio.gather(*tries)
    except (BackendError, TimeoutError):  # each read will tell
        return ()
    return [suffix for suffix, start in zip(UNPACK, found, strict=True) if start is not None]


def _suffixes_in(folder: Path) -> set[str]:
    """``.gz``, ``.br``... that names of chunks end in. All names are looked at: any may be the only one."""
    try:
        with os.scandir(folder) as files:
            names = (file.name for file in files)
            return {name[name.rindex(".") :] for name in names if "." in name and name[0] in "-0123456789"}
    except (FileNotFoundError, NotADirectoryError):
        return set()


async def _open_scale(
    opener: Opener, info: Info, kvstore: Mapping[str, Any], stored: StoredScale, level: LevelInfo
) -> ts.TensorStore:
    scale = stored.scale
    if scale.index is None or stored.suffixes:
        return decoded_scale(opener, info, stored, level)
    spec = {"driver": "neuroglancer_precomputed", "kvstore": kvstore, "scale_index": scale.index}
    return arrange(await opener.open(spec, f"{stored.what} ({scale.key})"), "xyzc", fixed={})


def _levels(info: Info, what: str) -> tuple[LevelInfo, ...]:
    mags = level_mags([scale.resolution_nm for scale in info.scales], what)
    return tuple(
        LevelInfo(
            mag=mag,
            extent=scale.extent,
            chunk_shape=scale.chunk_size,
            chunk_origin=scale.extent.start,
            encoding=scale.encoding,
            label_block=scale.label_block,
        )
        for mag, scale in zip(mags, info.scales, strict=True)
    )


def _layer_info(
    entry: LayerEntry, info: Info, levels: tuple[LevelInfo, ...], store: ts.TensorStore, name: str, what: str
) -> LayerInfo:
    return LayerInfo(
        name=name,
        category=entry.category or info.category,
        dtype=little_endian(store, what),
        num_channels=store.shape[0],
        voxel_size_nm=entry.voxel_size_nm or info.scales[0].resolution_nm,
        levels=levels,
        format="precomputed",
        notes=info.notes,
    )


class PrecomputedVolume(TensorStoreVolume):
    """A volume with all its channels, whose stored chunks can be handed on, and what is stored of its segments."""

    def __init__(
        self,
        info: LayerInfo,
        stores: Sequence[ts.TensorStore],
        what: str,
        deadline_s: float,
        scales: Sequence[StoredScale],
        files: Sequence[LevelFiles],
        segments: StoredSegments,
    ) -> None:
        super().__init__(info, stores, what, deadline_s, files)
        self.has_meshes = segments.has_meshes
        self.has_skeletons = segments.has_skeletons
        self.has_properties = segments.has_properties
        self.meshes = segments.meshes
        self.skeletons = segments.skeletons
        self.mesh_files = segments.mesh_files
        self.skeleton_files = segments.skeleton_files
        self.segment_properties = segments.properties
        self._scales = scales
        self._reading: WeakValueDictionary[tuple[int, Vec3], ts.Future[ts.KvStore.ReadResult]] = WeakValueDictionary()
        """Stored chunks on their way, for all who ask for them meanwhile."""

    async def stored_chunks(self, level: int, indices: Sequence[Vec3]) -> Sequence[bytes | BackendError | None]:
        stored = self._scales[level]
        if stored.suffixes:
            chunks = await for_each(partial(self._unpacked, stored), indices)
        else:
            found = await outcomes(partial(self._join, level), indices, self._deadline_s)
            chunks = [self._chunk(level, index, result) for index, result in zip(indices, found, strict=True)]
        gone = await self._gone() if None in chunks else None
        return chunks if gone is None else [gone if chunk is None else chunk for chunk in chunks]

    def _join(self, level: int, index: Vec3) -> ts.Future[ts.KvStore.ReadResult]:
        future = self._reading.get((level, index))
        if future is None:
            future = self._reading[level, index] = self._scales[level].begin(index)
        return future

    @staticmethod
    async def _unpacked(stored: StoredScale, index: Vec3) -> bytes | BackendError | None:
        try:
            return await stored.read(index)
        except BackendError as error:
            return error

    def _chunk(self, level: int, index: Vec3, result: ts.KvStore.ReadResult | Exception) -> bytes | BackendError | None:
        if isinstance(result, Exception):
            return self._failure(result, f"level {level}, chunk {index}")
        return result.value if result.state == "value" else None
