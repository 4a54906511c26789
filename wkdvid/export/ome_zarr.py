"""A dataset as webKnossos streams it: a tree of OME-Zarr with a group for each layer, and in it an array for each mag
(webknossos.md B.8 and B.9).

Zarr 2 with NGFF 0.4, or zarr 3 with NGFF 0.5. Arrays are (c, x, y, z) from the origin of the dataset's grid to the end
of the layer's box, in chunks of 32 voxels a side whose bytes are those of a webKnossos bucket: x fastest, channels
interleaved, little-endian. What lies at negative coordinates cannot be in such an array.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wkdvid.core.body_cache import Body
from wkdvid.core.buckets import BUCKET, BUCKET_SIZE, Bucket, read_buckets
from wkdvid.core.geometry import Float3, Vec3, ceil_div, divide_up, mag_text, multiply, parse_mag, volume_of
from wkdvid.core.layers import Layer
from wkdvid.core.services import Services
from wkdvid.errors import BackendError
from wkdvid.export.zarr_documents import ARRAY_NAMES, ArrayForm, Document, ZarrFormat, array, group, image, multiscale

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
        return group(zarr_format).get(name)
    if layer is None:
        return None
    if len(folders) == 1:
        return _described(layer, zarr_format).get(name)
    mag = parse_mag(folders[1])
    if len(folders) > 2 or mag is None or layer.scale(mag) is None:
        return None
    if name == ARRAY_NAMES[zarr_format]:
        return array(zarr_format, _form(layer, mag))
    return _chunk(layer, mag, name)


def _described(layer: Layer, zarr_format: ZarrFormat) -> Mapping[str, Document]:
    levels = {mag_text(mag): (_voxel_size(layer, mag), None) for mag in layer.mags}
    return image(zarr_format, multiscale(layer.info.name, "cxyz", levels))


def _voxel_size(layer: Layer, mag: Vec3) -> Float3:
    x, y, z = (size * factor for size, factor in zip(layer.info.voxel_size_nm, mag, strict=True))
    return (x, y, z)


def array_shape(layer: Layer, mag: Vec3) -> tuple[int, int, int, int]:
    """(c, x, y, z): voxels from the origin of the dataset's grid to the end of the layer's box, rounded up."""
    finest = layer.info.levels[0]
    x, y, z = divide_up(multiply(finest.extent.stop, finest.mag), mag)
    return (layer.info.num_channels, max(x, 0), max(y, 0), max(z, 0))


def _form(layer: Layer, mag: Vec3) -> ArrayForm:
    return ArrayForm(
        dtype=layer.info.dtype,
        axes="cxyz",
        shape=array_shape(layer, mag),
        chunk_shape=(layer.info.num_channels, *BUCKET_SIZE),
        fortran=True,
        separator=".",
        blosc=False,
    )


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
