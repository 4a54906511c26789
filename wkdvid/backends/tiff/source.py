"""Opens TIFF files: tiles become chunks, read one by one."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import tensorstore as ts

from wkdvid.backends.array_layer import SIZE_NOTE, UNKNOWN_SIZE
from wkdvid.backends.channels import split_channels
from wkdvid.backends.chunk_functions import chunk_store
from wkdvid.backends.failures import translate
from wkdvid.backends.numbers import is_size
from wkdvid.backends.opening import Opener
from wkdvid.backends.stored_objects import StoredFile, open_objects
from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.backends.tiff.directory import NEEDS
from wkdvid.backends.tiff.pyramid import TiffImage, TiffLevel, read_image
from wkdvid.backends.tiff.range_file import RangeFile
from wkdvid.backends.tiff.tiles import TileReader
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import ZERO, Box, Float3
from wkdvid.core.guard import check_name
from wkdvid.core.volume import Category, LayerInfo, LevelInfo, Volume
from wkdvid.errors import InvalidRequest, UpstreamUnavailable
from wkdvid.extras import require

OPTIONS = frozenset({"source", "path", "scale", "channel", "t"})
PATHS = re.compile(r".*\.tiff?/?", re.IGNORECASE)
FILE_NAME = re.compile(r"(?P<layer>.+?)(\.ome)?\.tiff?", re.IGNORECASE)
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""TIFF and BigTIFF, little-endian and big-endian."""
_OPENING = ThreadPoolExecutor(max_workers=4, thread_name_prefix="tiff")
"""tifffile waits in its thread for what it reads; a slow source must not keep the decoders' threads."""


async def find_layers(entry: LayerEntry, opener: Opener) -> Sequence[LayerEntry]:
    """A layer for each TIFF in the dataset's folder, named as the file; ``segmentation*`` are segmentations.

    Raises:
        InvalidRequest: the folder is not on disk, or has no TIFF, or one whose name is no layer's; or a wrong scale; or
            tifffile is not installed.
        BackendError: it cannot be read.
    """
    require("tifffile", "tiff", NEEDS, InvalidRequest)
    _voxel_size(entry)  # what is wrong with it is to be said once, not of each file
    folder = entry.options.get("path", entry.options.get("source", f"binary/{entry.dataset}"))
    source = await opener.source(folder)
    if source.scheme != "file":
        raise InvalidRequest(f"{source.name}: the files of a folder can be found on disk only; list the layers")
    try:
        names = sorted(await asyncio.to_thread(os.listdir, source.path))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    except OSError as error:
        raise translate(error, source.name) from error
    files = {name: found["layer"] for name in names if (found := FILE_NAME.fullmatch(name))}
    if not files:
        raise InvalidRequest(f"{source.name}: there is no folder of this name with *.tif or *.tiff files in it")
    if len(set(files.values())) < len(files):
        raise InvalidRequest(f"{source.name}: two files give their layers the same name")
    return [_layer_of(entry, f"{str(folder).rstrip('/')}/{name}", layer) for name, layer in files.items()]


def _layer_of(entry: LayerEntry, file: str, name: str) -> LayerEntry:
    category: Category = "segmentation" if name.startswith("segmentation") else "color"
    return replace(
        entry,
        name=check_name("layer", name),
        category=category,
        options={**entry.options, "source": file},
    )


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """Open the image of one file.

    Raises:
        InvalidRequest: it is none, or not one that can be read; with what would help.
        BackendError: it cannot be reached.
    """
    size = _voxel_size(entry)
    time = _time(entry.options.get("t"))
    folder, key = await opener.file(entry.options.get("source"))
    what = f"{folder.name}{key}"
    file = StoredFile(await open_objects(folder, opener.context), key)
    image = await _read_image(file, time, opener, what)
    opener.check_levels(len(image.levels), what)
    size, notes = (size, ()) if size is not None else _stored_voxel_size(image)
    category = entry.category or "color"
    infos = [_level_info(level) for level in image.levels]
    inverted = image.levels[0].layout.inverted and category == "color"
    readers = [_readers(level, file, inverted, what) for level in image.levels]

    def make(stores: Sequence[ts.TensorStore], name: str) -> Volume:
        info = LayerInfo(
            name=name,
            category=category,
            dtype=image.levels[0].layout.dtype,
            num_channels=stores[0].shape[0],
            voxel_size_nm=size,
            levels=tuple(infos),
            format="tiff",
            fill_value=readers[0][0].fill_value,
            notes=(*image.notes, *notes),
        )
        return TensorStoreVolume(info, stores, what, opener.deadline_s)

    stores = [_store(level, info, opener) for level, info in zip(readers, infos, strict=True)]
    return split_channels(stores, entry.options.get("channel"), make, entry.name)


async def _read_image(file: StoredFile, time: int, opener: Opener, what: str) -> TiffImage:
    loop = asyncio.get_running_loop()

    def read_ahead(start: int, stop: int) -> bytes:
        part = asyncio.run_coroutine_threadsafe(file.read_ahead(start, stop), loop)
        try:
            return part.result(opener.deadline_s)
        except TimeoutError as error:
            part.cancel()
            raise UpstreamUnavailable(f"{what}: no answer within {opener.deadline_s:g} s") from error

    def read() -> TiffImage:
        ranges = RangeFile(read_ahead, opener.limits.metadata_bytes, opener.deadline_s, what)
        return read_image(ranges, time, opener.limits, what)

    try:
        async with asyncio.timeout(opener.deadline_s):
            head = await file.read_head(len(SIGNATURES[0]))
    except TimeoutError as error:
        raise UpstreamUnavailable(f"{what}: no answer within {opener.deadline_s:g} s") from error
    if head not in SIGNATURES:
        raise InvalidRequest(f"{what}: {'there is no such file' if head is None else 'this is no TIFF'}")
    return await loop.run_in_executor(_OPENING, read)


def _level_info(level: TiffLevel) -> LevelInfo:
    layout = level.layout
    return LevelInfo(
        mag=(level.factor, level.factor, 1),
        extent=Box(ZERO, (layout.width, layout.height, len(level.pages[0]))),
        chunk_shape=(*layout.tile, 1),
        chunk_origin=ZERO,
        encoding=layout.encoding,
    )


def _readers(level: TiffLevel, file: StoredFile, inverted: bool, what: str) -> list[TileReader]:
    """One for each channel that is stored by itself: pages of several channels hold them all in each tile."""
    samples = range(level.layout.channels if level.layout.separate else 1)
    places = [(pages, sample) for pages in level.pages for sample in samples]
    return [TileReader(file, level.layout, pages, sample, inverted, what) for pages, sample in places]


def _store(readers: Sequence[TileReader], info: LevelInfo, opener: Opener) -> ts.TensorStore:
    stores = [
        chunk_store(
            reader.read,
            info,
            dtype=reader.layout.dtype,
            num_channels=reader.channels,
            context=opener.context,
            deadline_s=opener.deadline_s,
            fill_value=reader.fill_value,
        )
        for reader in readers
    ]
    return stores[0] if len(stores) == 1 else ts.concat(stores, axis=0)


def _voxel_size(entry: LayerEntry) -> Float3 | None:
    """What the entry says: ``voxel_size``, else webknossos-connect's ``scale``, whose z is 1 where it has none."""
    if entry.voxel_size_nm is not None or entry.options.get("scale") is None:
        return entry.voxel_size_nm
    scale = entry.options["scale"]
    if not isinstance(scale, list) or len(scale) not in (2, 3) or not all(is_size(length) for length in scale):
        raise InvalidRequest(f"scale: expected positive numbers [x, y] or [x, y, z], in nm, got {scale!r}")
    x, y, z = map(float, (*scale, 1)[:3])
    return (x, y, z)


def _stored_voxel_size(image: TiffImage) -> tuple[Float3, tuple[str, ...]]:
    x, y, z = image.voxel_size_nm
    if x is None or y is None:
        return UNKNOWN_SIZE, (SIZE_NOTE,)
    if z is None and len(image.levels[0].pages[0]) > 1:
        return (x, y, x), ("The source does not say how far apart its planes are; as far as its pixels is assumed.",)
    return (x, y, z or x), ()


def _time(option: object) -> int:
    if option is None:
        return 0
    if isinstance(option, int) and not isinstance(option, bool) and option >= 0:
        return option
    raise InvalidRequest(f"t: expected a whole number that is not negative, got {option!r}")
