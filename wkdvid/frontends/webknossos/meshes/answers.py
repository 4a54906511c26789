"""What is answered where webKnossos asks for meshes (webknossos.md A9 to A11 and B.11)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson

from wkdvid.codecs.surface import stl_header, stl_triangles
from wkdvid.core.body_cache import Body
from wkdvid.core.concurrent import for_each
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Float3, Vec3, divide_down, mag_text
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.segments import Fragment, Meshes, MeshLevel, SegmentMesh, Soup, StoresSegments
from wkdvid.core.services import Services
from wkdvid.core.surfaces import Surface, read_surface, whole_surface
from wkdvid.errors import InvalidRequest, NotFound, TooLarge
from wkdvid.frontends.webknossos.documents import segment_id
from wkdvid.frontends.webknossos.meshes.requests import CubeRequest, GrownMeshRequest, StoredMeshRequest

FORMAT_VERSION = 7
"""Of upstream's mesh files: the browser takes fragments as Draco, by offset and size."""
OLD_LEVEL = 2
"""Or the coarsest there is: what servers of 2019 are given, as webknossos-connect did."""
AT_A_TIME = 8
"""Fragments that are read for one answer."""
DECODED_AT_A_TIME = 2
"""Of those that become triangles: as many as there are processes that decode."""


# ---- stored meshes --------------------------------------------------------------------------------------------------


async def meshes_of(layer: Layer) -> Meshes | None:
    return await layer.volume.meshes() if isinstance(layer.volume, StoresSegments) else None


async def find(layer: Layer, file: str, segment: int) -> tuple[Meshes, SegmentMesh]:
    """
    Raises:
        NotFound: the layer has no such mesh file, or that no mesh of the segment.
        BackendError: it could not be judged whether it has.
    """
    meshes = await meshes_of(layer)
    if meshes is None or meshes.name != file:
        raise NotFound(f"layer {layer.info.name!r} has no mesh file {file[:80]!r}")
    mesh = await meshes.find(segment)
    if mesh is None:
        raise NotFound(f"mesh file {file!r} has no mesh of segment {segment}")
    return meshes, mesh


async def properties(layer: Layer) -> bytes:
    """
    Raises:
        NotFound: the source has none.
        BackendError: they cannot be read.
    """
    found = await layer.volume.segment_properties() if isinstance(layer.volume, StoresSegments) else None
    if found is None:
        raise NotFound(f"layer {layer.info.name!r} has no segment properties")
    return found


def listed(meshes: Meshes | None) -> list[dict[str, Any]]:
    """The mesh files of a layer, for servers of 2019 (``meshFileName``) and of today."""
    names = () if meshes is None else (meshes.name,)
    return [
        {"name": name, "meshFileName": name, "mappingName": None, "formatVersion": FORMAT_VERSION} for name in names
    ]


def fragments_document(mesh: SegmentMesh, version: int) -> bytes:
    """The JSON from which the browser loads a mesh: it places positions at ``scale * (position + chunkScale * x)``."""
    owner = {"unmappedSegmentId": segment_id(mesh.segment, version)}
    levels = [
        {
            "chunks": [
                {"position": one.position, "byteOffset": one.offset, "byteSize": one.size, **owner}
                for one in level.fragments
            ],
            "transform": np.diag([*level.scale_nm, 1])[:3].tolist(),
        }
        for level in mesh.levels
    ]
    return orjson.dumps({"meshFormat": "draco", "lods": levels, "chunkScale": [mesh.vertex_scale] * 3})


async def read_fragments(
    services: Services, meshes: Meshes, mesh: SegmentMesh, wanted: Sequence[tuple[int, int]]
) -> list[bytes]:
    """The bytes of fragments, in the order in which they are asked for.

    Raises:
        InvalidRequest: the segment has no such fragment.
        TooLarge: they have more bytes than an answer may.
        BackendError: one of them cannot be read.
    """
    if len(wanted) > services.limits.buckets:
        raise TooLarge(
            f"{len(wanted)} fragments in one request, the limit is {services.limits.buckets} (limits.buckets)"
        )
    known = {(one.offset, one.size): one for level in mesh.levels for one in level.fragments}
    unknown = next((pair for pair in wanted if pair not in known), None)
    if unknown is not None:
        raise InvalidRequest(f"requests: segment {mesh.segment} has no fragment of {unknown[1]} bytes at {unknown[0]}")
    _check_size(services, sum(size for _, size in wanted))
    with one_deadline():
        return await for_each(partial(meshes.read_draco, mesh), [known[pair] for pair in wanted], AT_A_TIME)


def old_level(mesh: SegmentMesh) -> MeshLevel:
    return mesh.levels[min(OLD_LEVEL, len(mesh.levels) - 1)]


def old_positions(level: MeshLevel) -> list[Vec3]:
    """Of fragments, in whole nanometres: by these they are asked for."""
    return list(dict.fromkeys(_nanometres(level, one) for one in level.fragments))


def old_fragments(level: MeshLevel, position: Vec3) -> MeshLevel:
    """
    Raises:
        NotFound: there is none at this place.
    """
    found = tuple(one for one in level.fragments if _nanometres(level, one) == position)
    if not found:
        raise NotFound(f"position: there is no part of the mesh at {list(position)}")
    return MeshLevel(level.scale_nm, found)


def _nanometres(level: MeshLevel, fragment: Fragment) -> Vec3:
    x, y, z = (round(a * b) for a, b in zip(level.scale_nm, fragment.position, strict=True))
    return (x, y, z)


# ---- surfaces of voxels ---------------------------------------------------------------------------------------------


async def read_cube(services: Services, layer: Layer, wanted: CubeRequest) -> Surface:
    """Errors as ``read_surface``; NotFound, where the layer has no such mag."""
    scale = _scale(layer, wanted.mag)
    box = Box.at(divide_down(wanted.position, wanted.mag), wanted.size)
    return await read_surface(services, layer, scale, box, wanted.segment, _scaled(wanted.voxel_size, wanted.mag))


def neighbor_headers(surface: Surface, wanted: CubeRequest) -> dict[str, str]:
    neighbors = surface.neighbors if wanted.neighbors_wanted else []
    return {"NEIGHBORS": str(neighbors), "Access-Control-Expose-Headers": "NEIGHBORS"}


async def cube_body(services: Services, surface: Surface) -> AsyncIterator[Body]:
    """Nine float32 for each triangle."""
    async for piece in surface.triangles(services):
        yield piece.tobytes()


def _scale(layer: Layer, mag: Vec3) -> Scale:
    scale = layer.scale(mag)
    if scale is None:
        raise NotFound(f"mag: layer {layer.info.name!r} has {', '.join(map(mag_text, layer.mags))}")
    return scale


def _scaled(voxel_size: Float3, mag: Vec3) -> Float3:
    x, y, z = (size * factor for size, factor in zip(voxel_size, mag, strict=True))
    return (x, y, z)


# ---- STL ------------------------------------------------------------------------------------------------------------


async def whole_mesh(
    services: Services, layer: Layer, wanted: StoredMeshRequest | GrownMeshRequest
) -> AsyncIterator[Soup]:
    """The triangles of a whole segment, in nanometres. Making them may raise BackendError or TooLarge.

    Raises:
        NotFound: there is no such mesh, level of detail or mag, or no voxel of the segment near the seed.
    """
    if isinstance(wanted, GrownMeshRequest):
        scale, seed = _scale(layer, wanted.mag), divide_down(wanted.seed, wanted.mag)
        voxel_size = _scaled(layer.info.voxel_size_nm, wanted.mag)
        return whole_surface(services, layer, scale, seed, wanted.segment, voxel_size)
    meshes, mesh = await find(layer, wanted.file, wanted.segment)
    if wanted.level >= len(mesh.levels):
        raise NotFound(f"lod: this mesh has 0 to {len(mesh.levels) - 1}")
    return stored_triangles(meshes, mesh, mesh.levels[wanted.level])


async def stored_triangles(meshes: Meshes, mesh: SegmentMesh, level: MeshLevel) -> AsyncIterator[Soup]:
    for part in _parts(level.fragments):
        for piece in await for_each(partial(meshes.read_triangles, mesh, level), part):
            yield piece


def _parts(fragments: Sequence[Fragment]) -> Iterator[Sequence[Fragment]]:
    for start in range(0, len(fragments), DECODED_AT_A_TIME):
        yield fragments[start : start + DECODED_AT_A_TIME]


async def stl(services: Services, pieces: AsyncIterable[Soup]) -> list[bytes]:
    """A binary STL file, in pieces. The number of triangles stands at its begin, so none is sent before all are made.

    Raises:
        TooLarge: the file is larger than an answer that is built whole may be.
    """
    parts = [b""]
    size = 0
    async for piece in pieces:
        parts.append(await services.apart(stl_triangles, piece))
        size += len(parts[-1])
        _check_size(services, size)
    parts[0] = stl_header(size // 50)
    return parts


def _check_size(services: Services, size: int) -> None:
    limit = services.limits.unstreamed_bytes
    if size > limit:
        raise TooLarge(
            f"the mesh has more than {limit} bytes, the limit (limits.unstreamed_bytes); ask for a coarser mag or lod"
        )
