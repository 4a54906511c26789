"""Layers whose levels are one array each: zarr, N5 and TensorStore's own specs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

from wkdvid.backends.axes import fixed_indices
from wkdvid.backends.channels import split_channels
from wkdvid.backends.levels import level_mags, mags_of_shapes
from wkdvid.backends.numbers import is_number
from wkdvid.backends.opening import Opener
from wkdvid.backends.tensorstore_volume import TensorStoreVolume, arrange, little_endian, spatial_extent
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import ZERO, Box, Float3, Vec3
from wkdvid.core.volume import Category, LayerInfo, LevelInfo, StoredFiles, Volume
from wkdvid.errors import InvalidRequest

UNKNOWN_SIZE: Float3 = (1.0, 1.0, 1.0)
"""Nanometres, where the source does not say."""
SIZE_NOTE = "The source does not say its voxel size; 1 nm is assumed: give it as voxel_size in the entry."
UNIT_NOTE = "{which}; nanometres are assumed: if it is another, give voxel_size and voxel_unit in the entry."
"""``which``: what the source says of the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLevel:
    store: ts.TensorStore
    """As it was opened."""
    axes: str
    voxel_size_nm: Float3
    voxel_offset: Vec3 = ZERO
    """Where the array's first voxel lies, in voxels of the level."""
    files: StoredFiles | None = None
    encoding: str | None = None
    """Of its chunks, where the store does not say it."""
    fill_value: float | int | None = None
    """Of voxels that were never written, where the store does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLayer:
    what: str
    """The source, for messages."""
    format: str
    levels: Sequence[ArrayLevel]
    category: Category = "color"
    """Where the entry does not say."""
    notes: tuple[str, ...] = ()
    largest_segment_id: int | None = None


def make_volumes(entry: LayerEntry, opener: Opener, layer: ArrayLayer) -> Sequence[Volume]:
    """The layers of an entry, finest level first: one, or one per channel.

    Raises:
        InvalidRequest: levels that do not make a pyramid, or an option that the arrays do not fit.
    """
    opener.check_levels(len(layer.levels), layer.what)
    levels = sorted(layer.levels, key=lambda level: level.voxel_size_nm)
    stores = [_arranged(level, entry.options, layer.what) for level in levels]
    _check_alike(stores, layer.what)
    mags, notes = _mags(levels, stores, layer.what)
    box = _box(entry.options.get("box"))
    if box is not None:
        stores = [_cut(store, box.scaled_down(mag), layer.what) for store, mag in zip(stores, mags, strict=True)]
    infos = tuple(_level(mag, store, level) for mag, store, level in zip(mags, stores, levels, strict=True))
    notes = (*layer.notes, *notes, *_time_notes(levels[0], entry.options))

    def make(channels: Sequence[ts.TensorStore], name: str) -> Volume:
        info = LayerInfo(
            name=name,
            category=entry.category or layer.category,
            dtype=little_endian(channels[0], layer.what),
            num_channels=channels[0].shape[0],
            voxel_size_nm=entry.voxel_size_nm or levels[0].voxel_size_nm,
            levels=infos,
            format=layer.format,
            fill_value=_fill_value(levels[0]),
            largest_segment_id=layer.largest_segment_id,
            notes=notes,
        )
        files = _files(levels) if info.num_channels == stores[0].shape[0] else ()
        return TensorStoreVolume(info, channels, layer.what, opener.deadline_s, files)

    return split_channels(stores, entry.options.get("channel"), make, entry.name)


def _files(levels: Sequence[ArrayLevel]) -> Sequence[StoredFiles]:
    """Where the layer is the whole of each array, voxel by voxel."""
    whole = all(set("xyz") <= set(level.axes) <= set("cxyz") and level.voxel_offset == ZERO for level in levels)
    files = [level.files for level in levels if level.files is not None and whole]
    return files if len(files) == len(levels) else ()


def _arranged(level: ArrayLevel, options: Mapping[str, Any], what: str) -> ts.TensorStore:
    if 0 in level.store.shape:
        raise InvalidRequest(f"{what}: an array of shape {list(level.store.shape)} has no voxels")
    fixed = fixed_indices(level.store, level.axes, options, what)
    return arrange(level.store, level.axes, fixed=fixed, translation=level.voxel_offset)


def _box(option: object) -> Box | None:
    """The part that is shown, in voxels of the finest level; None for all."""
    if option is None:
        return None
    corners = [_place(corner) for corner in option] if isinstance(option, list) else []
    match corners:
        case [(_, _, _) as start, (_, _, _) as stop]:
            return Box(start, stop)
    raise InvalidRequest(
        f"box: expected [[x, y, z], [x, y, z]], the first voxel and the one behind the last, got {option!r}"
    )


def _place(corner: object) -> Vec3 | None:
    match corner:
        case [int(x), int(y), int(z)] if all(is_number(n) for n in (x, y, z)):
            return (x, y, z)
    return None


def _cut(store: ts.TensorStore, box: Box, what: str) -> ts.TensorStore:
    """An arranged array within a box of its level."""
    extent = spatial_extent(store)
    inside = extent.intersect(box)
    if inside is None:
        raise InvalidRequest(f"{what}: box: no voxel is in it; the voxels go from {extent.start} to {extent.stop}")
    (x0, y0, z0), (x1, y1, z1) = inside.start, inside.stop
    return store[:, x0:x1, y0:y1, z0:z1]


def _check_alike(stores: Iterable[ts.TensorStore], what: str) -> None:
    kinds = {(store.dtype.name, store.shape[0]) for store in stores}
    if len(kinds) > 1:
        text = " and ".join(f"{count} of {dtype}" for dtype, count in sorted(kinds))
        raise InvalidRequest(f"{what}: the levels differ in their channels: {text}")


def _mags(
    levels: Sequence[ArrayLevel], stores: Sequence[ts.TensorStore], what: str
) -> tuple[list[Vec3], tuple[str, ...]]:
    sizes = [level.voxel_size_nm for level in levels]
    if len(sizes) > 1 and len(set(sizes)) == 1:
        note = (
            "The source gives all levels one voxel size, and their mags are those of the arrays' sizes: if they are not"
            " right, correct the metadata."
        )
        return mags_of_shapes([spatial_extent(store).size for store in stores], what), (note,)
    return level_mags(sizes, what), ()


def _level(mag: Vec3, store: ts.TensorStore, level: ArrayLevel) -> LevelInfo:
    extent = spatial_extent(store)
    shape = _spatial(store.chunk_layout.read_chunk.shape, extent.size)
    return LevelInfo(
        mag=mag,
        extent=extent,
        chunk_shape=shape,
        chunk_origin=_spatial(store.chunk_layout.grid_origin, extent.start),
        encoding=level.encoding or stored_encoding(level.store),
    )


def _spatial(of_array: Sequence[int | None] | None, otherwise: Vec3) -> Vec3:
    """x, y, z of what an arranged array has per dimension; a dimension that is not in the file has none."""
    _, *spatial = of_array or (None,) * 4
    x, y, z = (b if a is None else a for a, b in zip(spatial, otherwise, strict=True))
    return (x, y, z)


def stored_encoding(store: ts.TensorStore) -> str:
    """The encoding (precomputed) or compressor of an array's chunks, in the format's own words; ``raw`` for none."""
    codec: Mapping[str, Any] = store.codec.to_json() if store.codec is not None else {}
    compressor = codec.get("compressor") or codec.get("compression") or {}
    name = codec.get("encoding") or compressor.get("id") or compressor.get("type")
    return str(name or _compressor(codec.get("codecs", ())))


def _compressor(codecs: Iterable[Mapping[str, Any]]) -> str:
    """Of a zarr 3 codec chain: the last but for checksums, inside shards."""
    found = "raw"
    for codec in codecs:
        if codec["name"] == "sharding_indexed":
            found = _compressor(codec["configuration"]["codecs"])
        elif codec["name"] not in {"bytes", "transpose", "crc32c"}:
            found = codec["name"]
    return found


def _fill_value(level: ArrayLevel) -> int | float:
    told = level.store.fill_value if level.fill_value is None else level.fill_value
    value: int | float = 0 if told is None else np.asarray(told).flat[0].item()
    return value


def _time_notes(level: ArrayLevel, options: Mapping[str, Any]) -> tuple[str, ...]:
    count = level.store.shape[level.axes.index("t")] if "t" in level.axes else 1
    if count == 1:
        return ()
    return (
        f"The source has {count} time points; t = {options.get('t') or 0} is served: choose one by t in the entry.",
    )
