"""Opens precomputed volumes through TensorStore, and hands stored chunks on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import tensorstore as ts

from wkdvid.backends.channels import split_channels
from wkdvid.backends.failures import translate
from wkdvid.backends.levels import level_mags
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished, outcomes
from wkdvid.backends.precomputed.chunks import chunk_key, shard_key
from wkdvid.backends.precomputed.metadata import Info, ScaleMetadata, parse_info
from wkdvid.backends.tensorstore_volume import TensorStoreVolume, arrange, little_endian, spatial_extent
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Vec3
from wkdvid.core.source import Source
from wkdvid.core.volume import LayerInfo, LevelInfo, Volume
from wkdvid.errors import BackendError, InvalidRequest

OPTIONS = frozenset({"source", "channel"})
MARKERS = ("info",)


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
    info = parse_info(document, source.name)
    opener.check_levels(len(info.scales), source.name)
    await _refuse_suffixes(opener, source, info.scales)
    # One odd scale would make TensorStore refuse them all: it is given an info without those that it cannot read.
    kvstore = await opener.overlay(source, "info", info.document)
    opened = await asyncio.gather(
        *(opener.open(_spec(kvstore, scale), f"{source.name} ({scale.key})") for scale in info.scales)
    )
    return split_channels(
        [arrange(store, "xyzc", fixed={}) for store in opened],
        entry.options.get("channel"),
        lambda stores, name: _volume(entry, opener, source, info, stores, name),
        entry.name,
    )


async def _refuse_suffixes(opener: Opener, source: Source, scales: Sequence[ScaleMetadata]) -> None:
    """
    Raises:
        InvalidRequest: a scale whose chunks would be read as empty, or whose key leads to where it may not.
    """
    folders = [(scale, opener.guard.child(source, scale.key).path) for scale in scales]
    if source.scheme != "file":
        return
    plain = [(scale, Path(path)) for scale, path in folders if scale.sharding is None]
    try:
        suffixes = await asyncio.to_thread(lambda: [_suffix_of_chunks(path) for _, path in plain])
    except OSError as error:
        raise translate(error, source.name) from error
    for (scale, _), suffix in zip(plain, suffixes, strict=True):
        if suffix is not None:
            raise InvalidRequest(
                f"{source.name}: the chunks of scale {scale.key} have the suffix {suffix}: they would be read as empty;"
                " write the volume with compress=False, or serve it over HTTP with Content-Encoding"
            )


def _suffix_of_chunks(folder: Path) -> str | None:
    """``.gz``, ``.br``... where local chunks carry the suffix of cloud-volume's compression."""
    if not folder.is_dir():
        return None
    for path in itertools.islice(folder.iterdir(), 64):
        if path.suffix in {".gz", ".br", ".zstd"} and path.name[0] in "-0123456789":
            return path.suffix
    return None


def _spec(kvstore: Mapping[str, Any], scale: ScaleMetadata) -> dict[str, Any]:
    return {"driver": "neuroglancer_precomputed", "kvstore": kvstore, "scale_index": scale.index}


def _volume(
    entry: LayerEntry, opener: Opener, source: Source, info: Info, stores: Sequence[ts.TensorStore], name: str
) -> Volume:
    mags = level_mags([scale.resolution_nm for scale in info.scales], source.name)
    layer = LayerInfo(
        name=name,
        category=entry.category or info.category,
        dtype=little_endian(stores[0], source.name),
        num_channels=stores[0].shape[0],
        voxel_size_nm=entry.voxel_size_nm or info.scales[0].resolution_nm,
        levels=tuple(
            LevelInfo(
                mag=mag,
                extent=spatial_extent(store),
                chunk_shape=scale.chunk_size,
                chunk_origin=scale.extent.start,
                encoding=scale.encoding,
            )
            for mag, store, scale in zip(mags, stores, info.scales, strict=True)
        ),
        format="precomputed",
        notes=info.notes,
    )
    if info.num_channels > 1:
        return TensorStoreVolume(layer, stores, source.name, opener.deadline_s)
    return PrecomputedVolume(layer, stores, source, info.scales, opener)


class PrecomputedVolume(TensorStoreVolume):
    """A volume of one channel, whose stored chunks can be handed on."""

    def __init__(
        self,
        info: LayerInfo,
        stores: Sequence[ts.TensorStore],
        source: Source,
        scales: Sequence[ScaleMetadata],
        opener: Opener,
    ) -> None:
        super().__init__(info, stores, source.name, opener.deadline_s)
        self._source = source
        self._scales = scales
        self._opener = opener
        self._chunks: dict[int, ts.KvStore] = {}
        self._reading: WeakValueDictionary[tuple[int, Vec3], ts.Future[ts.KvStore.ReadResult]] = WeakValueDictionary()
        """Stored chunks on their way, for all who ask for them meanwhile."""

    async def stored_chunks(self, level: int, indices: Sequence[Vec3]) -> Sequence[bytes | BackendError | None]:
        scale = self._scales[level]
        key = chunk_key if scale.sharding is None else shard_key
        try:
            store = self._chunks.get(level) or await self._open_chunks(level)
        except FAILURES as error:
            return [translate(error, f"{self._what}, level {level}")] * len(indices)

        def begin(index: Vec3) -> ts.Future[ts.KvStore.ReadResult]:
            future = self._reading.get((level, index))
            if future is None:
                future = self._reading[level, index] = store.read(key(scale, index))
            return future

        found = await outcomes(begin, indices, self._deadline_s)
        return [self._chunk(level, index, result) for index, result in zip(indices, found, strict=True)]

    def _chunk(self, level: int, index: Vec3, result: ts.KvStore.ReadResult | Exception) -> bytes | BackendError | None:
        if isinstance(result, Exception):
            return self._failure(result, f"level {level}, chunk {index}")
        return result.value if result.state == "value" else None

    async def _open_chunks(self, level: int) -> ts.KvStore:
        scale = self._scales[level]
        spec = self._source.kvstore
        if scale.sharding is not None:
            folder = self._opener.guard.child(self._source, scale.key)
            spec = {"driver": "neuroglancer_uint64_sharded", "metadata": dict(scale.sharding), "base": folder.kvstore}
        self._chunks[level] = await finished(ts.KvStore.open(spec, context=self._opener.context))
        return self._chunks[level]
