"""A dataset as a tree of OME-Zarr: a group for each layer, with an array for each mag (webknossos.md B.8 and B.9).

Zarr 2 with NGFF 0.4, or zarr 3 with NGFF 0.5. Arrays are (c, x, y, z) from the origin of the dataset's grid to the end
of the layer's box, in chunks of 32 voxels a side whose bytes are those of a webKnossos bucket: x fastest, channels
interleaved, little-endian. What lies at negative coordinates cannot be in such an array.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from wkdvid.core.body_cache import Body
from wkdvid.core.buckets import BUCKET, BUCKET_SIZE, Bucket, read_buckets
from wkdvid.core.geometry import Vec3, ceil_div, divide_up, mag_text, multiply, parse_mag, volume_of
from wkdvid.core.layers import Layer
from wkdvid.core.services import Services
from wkdvid.errors import BackendError

ZarrFormat: TypeAlias = Literal[2, 3]
Document: TypeAlias = dict[str, Any]

UNIT = "nanometer"
_CHUNK_KEY = re.compile(r"0\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})")
"""One chunk holds all channels."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of one array."""

    layer: Layer
    mag: Vec3
    index: Vec3
    """Along x, y, z; within the array."""


def find_node(layers: Mapping[str, Layer], path: Sequence[str], zarr_format: ZarrFormat) -> Document | Chunk | None:
    """What a path below the dataset names: a metadata document, a chunk, or nothing."""
    *folders, name = path
    layer = layers.get(folders[0]) if folders else None
    if not folders:
        return _group(zarr_format) if name in _GROUP_NAMES[zarr_format] else None
    if layer is None:
        return None
    if len(folders) == 1:
        return _image(layer, name, zarr_format)
    mag = parse_mag(folders[1])
    if len(folders) > 2 or mag is None or layer.scale(mag) is None:
        return None
    if name == _ARRAY_NAMES[zarr_format]:
        return zarr2_array(layer, mag) if zarr_format == 2 else zarr3_array(layer, mag)
    return _chunk(layer, mag, name)


_GROUP_NAMES: Mapping[ZarrFormat, frozenset[str]] = {2: frozenset({".zgroup"}), 3: frozenset({"zarr.json"})}
_ARRAY_NAMES: Mapping[ZarrFormat, str] = {2: ".zarray", 3: "zarr.json"}


def _group(zarr_format: ZarrFormat) -> Document:
    return {"zarr_format": 2} if zarr_format == 2 else {"zarr_format": 3, "node_type": "group", "attributes": {}}


def _image(layer: Layer, name: str, zarr_format: ZarrFormat) -> Document | None:
    if name == "zarr.json" and zarr_format == 3:
        ome = {"version": "0.5", "multiscales": [multiscale(layer)]}
        return {**_group(3), "attributes": {"ome": ome}}
    if name == ".zattrs" and zarr_format == 2:
        return {"multiscales": [{"version": "0.4", **multiscale(layer)}]}
    return _group(2) if name in _GROUP_NAMES[2] and zarr_format == 2 else None


def multiscale(layer: Layer) -> Document:
    """The member of NGFF's ``multiscales`` that describes a layer's mags, finest first."""
    size = layer.info.voxel_size_nm
    return {
        "name": layer.info.name,
        "axes": [
            {"name": "c", "type": "channel"},
            *({"name": axis, "type": "space", "unit": UNIT} for axis in "xyz"),
        ],
        "datasets": [
            {
                "path": mag_text(mag),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0, *(s * m for s, m in zip(size, mag, strict=True))]}
                ],
            }
            for mag in layer.mags
        ],
    }


def array_shape(layer: Layer, mag: Vec3) -> tuple[int, int, int, int]:
    """(c, x, y, z): voxels from the origin of the dataset's grid to the end of the layer's box, rounded up."""
    finest = layer.info.levels[0]
    x, y, z = divide_up(multiply(finest.extent.stop, finest.mag), mag)
    return (layer.info.num_channels, max(x, 0), max(y, 0), max(z, 0))


def zarr2_array(layer: Layer, mag: Vec3) -> Document:
    """``.zarray`` (zarr 2 specification)."""
    return {
        "zarr_format": 2,
        "dtype": layer.info.dtype.str,
        "order": "F",
        "shape": array_shape(layer, mag),
        "chunks": (layer.info.num_channels, *BUCKET_SIZE),
        "compressor": None,
        "filters": None,
        "fill_value": 0,
        "dimension_separator": ".",
    }


def zarr3_array(layer: Layer, mag: Vec3) -> Document:
    """``zarr.json`` (zarr 3 specification): keys as in zarr 2, and bytes too, by the transposition."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "data_type": layer.info.dtype.name,
        "shape": array_shape(layer, mag),
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": (layer.info.num_channels, *BUCKET_SIZE)},
        },
        "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
        "fill_value": 0,
        "codecs": [
            {"name": "transpose", "configuration": {"order": [3, 2, 1, 0]}},
            {"name": "bytes", "configuration": {"endian": "little"}},
        ],
        "dimension_names": ["c", "x", "y", "z"],
        "attributes": {},
    }


def _chunk(layer: Layer, mag: Vec3, key: str) -> Chunk | None:
    found = _CHUNK_KEY.fullmatch(key)
    if found is None:
        return None
    x, y, z = (int(text) for text in found.groups())
    _, *shape = array_shape(layer, mag)
    inside = all(i < ceil_div(n, BUCKET) for i, n in zip((x, y, z), shape, strict=True))
    return Chunk(layer, mag, (x, y, z)) if inside else None


async def read_chunk(services: Services, chunk: Chunk) -> Body:
    """The bytes of a chunk, always whole: zeros where there is nothing.

    Raises:
        BackendError: it cannot be read. A reader must not be told that it is absent: it would take it for zeros.
    """
    start = multiply(chunk.index, BUCKET_SIZE)
    (body,) = await read_buckets(services, chunk.layer, [Bucket(multiply(start, chunk.mag), chunk.mag, BUCKET_SIZE)])
    if isinstance(body, BackendError):
        raise body
    return body or bytes(volume_of(BUCKET_SIZE) * chunk.layer.info.voxel_bytes)
