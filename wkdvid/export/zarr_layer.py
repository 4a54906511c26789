"""A layer as other programs write OME-Zarr: a group of arrays, one for each mag, finest first.

Arrays are (z, y, x), or (c, z, y, x) of RGB, in C order, and hold the layer's box alone: where it lies is told by the
translation of each, which is that of the centre of its first voxel, as OME-Zarr means it. Level k of a pyramid whose
boxes have one corner is so moved by half of what its voxels are larger. Chunks are Blosc frames, all of them are there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wkdvid.codecs import blosc_frame
from wkdvid.core.body_cache import Body
from wkdvid.core.geometry import Box, Float3, Vec3, divide_up, mag_text, multiply
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.sampling import Window
from wkdvid.core.services import Services
from wkdvid.core.volume import Array
from wkdvid.export.grid import chunk_shape
from wkdvid.export.zarr_documents import ARRAY_NAMES, ArrayForm, Document, ZarrFormat, array, image, multiscale

GROUP_NAMES: Mapping[ZarrFormat, frozenset[str]] = {
    2: frozenset({".zgroup", ".zattrs", ".zmetadata"}),
    3: frozenset({"zarr.json"}),
}
COLORS: Mapping[int, Sequence[str]] = {1: ("FFFFFF",), 3: ("FF0000", "00FF00", "0000FF")}
"""Of channels, by their number."""
_NUMBER = "(0|[1-9][0-9]{0,9})"
_KEY = re.compile(rf"([0-9-]+)/(c/)?(0/)?{_NUMBER}/{_NUMBER}/{_NUMBER}")


@dataclass(frozen=True, slots=True)
class Chunk:
    layer: Layer
    scale: Scale
    box: Box
    """In voxels of the scale. It may go beyond the layer's."""


def axes(layer: Layer) -> str:
    return "czyx" if layer.info.num_channels > 1 else "zyx"


def offered(layer: Layer) -> Mapping[str, Scale]:
    """What is exported, finest first, by what it is called."""
    return {mag_text(mag): layer.scales[mag] for mag in layer.mags}


# ---- documents ------------------------------------------------------------------------------------------------------


def array_documents(layer: Layer, zarr_format: ZarrFormat) -> Mapping[str, Document]:
    """By path below the layer. Readers of zarr 2 look for the names of dimensions among the attributes."""
    found: dict[str, Document] = {}
    for name, scale in offered(layer).items():
        found[f"{name}/{ARRAY_NAMES[zarr_format]}"] = array(zarr_format, _form(layer, scale))
        if zarr_format == 2:
            found[f"{name}/.zattrs"] = {"_ARRAY_DIMENSIONS": list(axes(layer))}
    return found


def group_documents(layer: Layer, zarr_format: ZarrFormat, windows: Sequence[Window]) -> Mapping[str, Document]:
    """By name: ``GROUP_NAMES``. One of them has all others too, as readers of web servers cannot list a folder.

    Args:
        windows: Of each channel of an image.
    """
    own = image(zarr_format, _multiscale(layer), **_shown(layer, zarr_format, windows))
    arrays = array_documents(layer, zarr_format)
    if zarr_format == 2:
        return {**own, ".zmetadata": {"zarr_consolidated_format": 1, "metadata": {**own, **arrays}}}
    by_folder = {path.removesuffix("/zarr.json"): document for path, document in arrays.items()}
    told = {"kind": "inline", "must_understand": False, "metadata": by_folder}
    return {"zarr.json": {**own["zarr.json"], "consolidated_metadata": told}}


def _form(layer: Layer, scale: Scale) -> ArrayForm:
    channels = [layer.info.num_channels] if layer.info.num_channels > 1 else []
    size = scale.extent.size
    return ArrayForm(
        dtype=layer.info.dtype,
        axes=axes(layer),
        shape=[*channels, *size[::-1]],
        chunk_shape=[*channels, *chunk_shape(size)[::-1]],
    )


def _multiscale(layer: Layer) -> Document:
    levels = {name: _placed(layer, scale) for name, scale in offered(layer).items()}
    return multiscale(layer.info.name, axes(layer), levels)


def _placed(layer: Layer, scale: Scale) -> tuple[Float3, Float3]:
    """The size of a voxel and the centre of the first one, in nanometres from the centre of the dataset's first."""
    sizes = layer.info.voxel_size_nm
    x, y, z = (size * mag for size, mag in zip(sizes, scale.mag, strict=True))
    first = zip(sizes, scale.mag, scale.extent.start, strict=True)
    a, b, c = (size * (start * mag + (mag - 1) / 2) for size, mag, start in first)
    return (x, y, z), (a, b, c)


def _shown(layer: Layer, zarr_format: ZarrFormat, windows: Sequence[Window]) -> Document:
    if layer.info.category == "segmentation":
        return {"image-label": {"version": "0.4"} if zarr_format == 2 else {}}
    names = ["red", "green", "blue"] if layer.info.num_channels > 1 else [layer.info.name]
    colors = COLORS[layer.info.num_channels]
    channels = [
        {
            "label": name,
            "color": color,
            "active": True,
            "window": {"min": window.least, "max": window.most, "start": window.start, "end": window.end},
        }
        for name, color, window in zip(names, colors, windows, strict=True)
    ]
    return {"omero": {"channels": channels}}


# ---- chunks ---------------------------------------------------------------------------------------------------------


def find_chunk(layer: Layer, zarr_format: ZarrFormat, path: str) -> Chunk | None:
    """The chunk that a path below the layer names, if there is one."""
    found = _KEY.fullmatch(path)
    scale = offered(layer).get(found[1]) if found is not None else None
    if found is None or scale is None:
        return None
    if (found[2] is not None) != (zarr_format == 3) or (found[3] is not None) != (layer.info.num_channels > 1):
        return None
    z, y, x = map(int, found.groups()[3:])
    shape = chunk_shape(scale.extent.size)
    if not all(i < n for i, n in zip((x, y, z), divide_up(scale.extent.size, shape), strict=True)):
        return None
    return Chunk(layer, scale, _box(scale, shape, (x, y, z)))


def _box(scale: Scale, shape: Vec3, index: Vec3) -> Box:
    offset, start = multiply(index, shape), scale.extent.start
    return Box.at((start[0] + offset[0], start[1] + offset[1], start[2] + offset[2]), shape)


async def read_chunk(services: Services, chunk: Chunk) -> Body:
    """
    Raises:
        TooLarge: it is computed from more voxels than one request may read.
        BackendError: it cannot be read. A reader must not be told that it is absent: it would take it for zeros.
    """
    services.reader.check(chunk.scale, services.reader.source_voxels(chunk.scale, chunk.box))
    return await services.apart(_encoded, await services.reader.read(chunk.layer, chunk.scale, chunk.box))


def _encoded(voxels: Array) -> bytes:
    """
    Args:
        voxels: (c, x, y, z) in Fortran order; of one channel no byte is moved.
    """
    return blosc_frame.encode(np.ascontiguousarray(voxels.transpose(0, 3, 2, 1)))
