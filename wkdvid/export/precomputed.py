"""A layer as a precomputed volume of Neuroglancer: its ``info``, and chunks, stored ones as they are where that can be.

Chunks of a stored level are handed on where the source is precomputed itself, in an encoding that all readers know;
else they are made, in chunks of ``export.grid`` that begin at the corner of the level's box. Every chunk is there,
though it may be zero throughout: cloud-volume takes one that is not for a failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wkdvid.codecs import jpeg
from wkdvid.codecs.precomputed_chunk import ENCODINGS, encode, seems
from wkdvid.core.body_cache import Body
from wkdvid.core.geometry import Box, Float3, Vec3, divide_down, mag_text, multiply
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.segments import StoresSegments
from wkdvid.core.services import Services
from wkdvid.core.volume import LayerInfo, LevelInfo, StoresChunks
from wkdvid.errors import BackendError, UnsupportedRequest
from wkdvid.export.grid import chunk_shape

DATA_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")
LABEL_BLOCK: Vec3 = (8, 8, 8)
MESHES, SKELETONS, PROPERTIES = "mesh", "skeletons", "segment_properties"
"""The folders beside the scales."""
_RANGE = r"(0|-?[1-9][0-9]{0,18})-(0|-?[1-9][0-9]{0,18})"
_CHUNK = re.compile(rf"([0-9-]+)/{_RANGE}_{_RANGE}_{_RANGE}")


@dataclass(frozen=True, slots=True)
class ExportedScale:
    """One scale, in the chunks that it is exported in."""

    scale: Scale
    chunk_shape: Vec3
    encoding: str
    stored: StoresChunks | None
    """Who has its chunks as they are; None: they are made."""

    def index(self, box: Box) -> Vec3 | None:
        """Of the chunk that is this box; None: none is."""
        extent, (x, y, z) = self.scale.extent, box.start
        a, b, c = extent.start
        index = divide_down((x - a, y - b, z - c), self.chunk_shape)
        is_there = min(index) >= 0 and extent.intersect(self._whole(index)) == box
        return index if is_there else None

    def _whole(self, index: Vec3) -> Box:
        (a, b, c), (x, y, z) = self.scale.extent.start, multiply(index, self.chunk_shape)
        return Box.at((a + x, b + y, c + z), self.chunk_shape)


@dataclass(frozen=True, slots=True)
class Chunk:
    layer: Layer
    of: ExportedScale
    index: Vec3
    box: Box
    """In voxels of the scale, cut at its end."""


def can_hold(info: LayerInfo) -> bool:
    return info.dtype.name in DATA_TYPES


def exported(layer: Layer) -> Mapping[str, ExportedScale]:
    """Finest first, by key.

    Raises:
        UnsupportedRequest: the format has no such voxels.
    """
    if not can_hold(layer.info):
        raise UnsupportedRequest(
            f"layer {layer.info.name!r}: precomputed volumes have no voxels of type {layer.info.dtype.name}, only "
            f"{', '.join(DATA_TYPES)}; read it as zarr"
        )
    return {mag_text(mag): _exported(layer, layer.scales[mag]) for mag in layer.mags}


def _exported(layer: Layer, scale: Scale) -> ExportedScale:
    level = layer.info.levels[scale.level]
    if scale.stored and layer.chunks is not None and _is_known(layer.info, level):
        return ExportedScale(scale, level.chunk_shape, level.encoding, layer.chunks)
    return ExportedScale(scale, chunk_shape(scale.extent.size), _encoding(layer, level), None)


def _is_known(info: LayerInfo, level: LevelInfo) -> bool:
    """Whether every reader of the format can make voxels of the level's chunks."""
    in_place = info.format == "precomputed" and level.chunk_origin == level.extent.start
    return in_place and level.encoding in ENCODINGS and level.label_block in (None, LABEL_BLOCK)


def _encoding(layer: Layer, level: LevelInfo) -> str:
    """Of chunks that are made. What is computed from JPEG is JPEG too; nothing else is to lose what that does."""
    info = layer.info
    if info.category == "segmentation":
        return "compressed_segmentation" if info.dtype.name in ("uint32", "uint64") else "raw"
    is_jpeg = info.format == "precomputed" and level.encoding == "jpeg"
    return "jpeg" if info.dtype.name == "uint8" and is_jpeg else "raw"


# ---- documents ------------------------------------------------------------------------------------------------------


def info_document(layer: Layer) -> dict[str, Any]:
    """
    Raises:
        UnsupportedRequest: as ``exported``.
    """
    info = layer.info
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation" if info.category == "segmentation" else "image",
        "data_type": info.dtype.name,
        "num_channels": info.num_channels,
        "scales": [_scale_document(key, one, info.voxel_size_nm) for key, one in exported(layer).items()],
        **_of_segments(layer),
    }


def _scale_document(key: str, one: ExportedScale, voxel_size_nm: Float3) -> dict[str, Any]:
    extent = one.scale.extent
    document: dict[str, Any] = {
        "key": key,
        "size": extent.size,
        "voxel_offset": extent.start,
        "resolution": [size * mag for size, mag in zip(voxel_size_nm, one.scale.mag, strict=True)],
        "chunk_sizes": [one.chunk_shape],
        "encoding": one.encoding,
    }
    if one.encoding == "compressed_segmentation":
        document["compressed_segmentation_block_size"] = LABEL_BLOCK
    if one.encoding == "jpeg":
        document["jpeg_quality"] = jpeg.QUALITY
    return document


def _of_segments(layer: Layer) -> dict[str, str]:
    """Where what the source holds of segments is, as far as it says that it does."""
    source = layer.volume
    if layer.info.category != "segmentation" or not isinstance(source, StoresSegments):
        return {}
    told = {MESHES: source.has_meshes, SKELETONS: source.has_skeletons, PROPERTIES: source.has_properties}
    return {name: name for name, has in told.items() if has}


# ---- chunks ---------------------------------------------------------------------------------------------------------


def find_chunk(layer: Layer, path: str) -> Chunk | None:
    """The chunk that a path below the layer names, if there is one.

    Raises:
        UnsupportedRequest: as ``exported``.
    """
    found = _CHUNK.fullmatch(path)
    of = exported(layer).get(found[1]) if found is not None else None
    if found is None or of is None:
        return None
    x0, x1, y0, y1, z0, z1 = map(int, found.groups()[1:])
    if x1 <= x0 or y1 <= y0 or z1 <= z0:
        return None
    box = Box((x0, y0, z0), (x1, y1, z1))
    index = of.index(box)
    return None if index is None else Chunk(layer, of, index, box)


async def read_chunk(services: Services, chunk: Chunk) -> Body:
    """
    Raises:
        TooLarge: it is computed from more voxels than one request may read.
        BackendError: it cannot be read. A reader must not be told that it is absent: it would take it for zeros.
    """
    layer, of = chunk.layer, chunk.of
    if of.stored is not None:
        (found,) = await of.stored.stored_chunks(of.scale.level, [chunk.index])
        if isinstance(found, BackendError):
            raise found
        # What only does not look like a chunk is read as any other: that tells whether it can be decoded.
        if found is not None and _seems(found, chunk):
            return found
    services.reader.check(of.scale, services.reader.source_voxels(of.scale, chunk.box))
    voxels = await services.reader.read(layer, of.scale, chunk.box)
    if of.encoding == "raw" and layer.info.num_channels == 1:
        return encode(voxels, "raw")  # no byte is moved: a hop to another thread would cost more
    return await services.apart(encode, voxels, of.encoding)


def _seems(data: bytes, chunk: Chunk) -> bool:
    info = chunk.layer.info
    return seems(data, chunk.of.encoding, chunk.box.size, channels=info.num_channels, itemsize=info.dtype.itemsize)
