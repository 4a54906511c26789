"""Reads the meshes of a precomputed volume: with levels of detail, in files or in shards, and the legacy format."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wkdvid.backends.apart import Decoding, decoded_apart
from wkdvid.backends.opening import Opener, parse_document
from wkdvid.backends.precomputed.folder import Folder, open_folder
from wkdvid.backends.precomputed.manifest import (
    LEGACY,
    MULTI_LOD,
    MultiLodInfo,
    data_size,
    legacy_fragments,
    parse_manifest,
    parse_multi_lod,
)
from wkdvid.backends.precomputed.sharding import Sharding
from wkdvid.backends.quoting import plain
from wkdvid.codecs import surface
from wkdvid.core.concurrent import for_each
from wkdvid.core.geometry import Float3
from wkdvid.core.segments import Fragment, Meshes, MeshLevel, SegmentMesh, Soup
from wkdvid.core.source import Source
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk, UpstreamUnavailable
from wkdvid.extras import require

ENCODINGS = 4
"""Fragments of a legacy mesh that are read and encoded at a time."""
PLACE_BITS = 32
"""A fragment of the legacy format has its number in the manifest, shifted by these, for an offset."""


class MultiLodMeshes:
    """Meshes with levels of detail. Offsets begin at a segment's first fragment; ``place`` is the file that holds it,
    and where it begins there.
    """

    def __init__(self, name: str, folder: Folder, info: MultiLodInfo, stretch: Float3) -> None:
        self.name = name
        self._folder = folder
        self._info = info
        self._stretch = stretch
        self._limits = folder.opener.limits

    async def segments(self) -> Sequence[int]:
        return await self._folder.segments(".index") if self._info.sharding is None else ()

    async def find(self, segment: int) -> SegmentMesh | None:
        if self._info.sharding is not None:
            return await self._find_in_shard(self._info.sharding, segment)
        manifest = await self._folder.read(f"{segment}.index", self._limits.metadata_bytes)
        if manifest is None:
            return None
        return self._mesh(segment, await self._levels(segment, manifest), (str(segment), 0))

    async def read_draco(self, mesh: SegmentMesh, fragment: Fragment) -> bytes:
        key, start = mesh.place
        part = range(start + fragment.offset, start + fragment.offset + fragment.size)
        return await self._folder.read_there(key, part, self._limits.chunk_bytes)

    async def read_triangles(self, mesh: SegmentMesh, level: MeshLevel, fragment: Fragment) -> Soup:
        require("DracoPy", surface.EXTRA, surface.DRACO)
        data = await self.read_draco(mesh, fragment)
        what = f"{self._folder.where(str(mesh.segment))}, fragment at byte {fragment.offset}"
        decoding = Decoding(
            decoder="draco",
            shape=(-1, 3, 3),
            dtype=np.dtype("<f4"),
            order="C",
            most_bytes=self._limits.chunk_bytes,
        )
        triangles = await decoded_apart(decoding, data, what)
        return await asyncio.to_thread(_placed, triangles, mesh, level, fragment)

    async def _find_in_shard(self, sharding: Sharding, segment: int) -> SegmentMesh | None:
        """The fragments lie right before the manifest, and are not packed as that may be."""
        limit = self._limits.metadata_bytes
        found = await self._folder.find_in_shard(sharding, segment, limit)
        if found is None:
            return None
        file, value = found
        packed = await self._folder.read_there(file, value, limit)
        manifest = await asyncio.to_thread(sharding.unpacked, packed, limit)
        levels = await self._levels(segment, manifest)
        start = value.start - data_size(levels)
        if start < sharding.data_start:
            where = self._folder.where(file)
            raise CorruptChunk(f"{where}: the fragments of segment {segment} would begin before the shard's data")
        return self._mesh(segment, levels, (file, start))

    async def _levels(self, segment: int, manifest: bytes) -> tuple[MeshLevel, ...]:
        where = self._folder.where(f"manifest of {segment}")
        return await asyncio.to_thread(parse_manifest, manifest, self._info, self._stretch, where)

    def _mesh(self, segment: int, levels: tuple[MeshLevel, ...], place: tuple[str, int]) -> SegmentMesh:
        return SegmentMesh(segment, levels, self._info.vertex_scale, place)


class LegacyMeshes:
    """Fragments in a format of their own, in nanometres. How long they are as Draco is only known when they are.

    An offset is the number of a fragment in the manifest, shifted; ``place`` lists their names.
    """

    def __init__(self, name: str, folder: Folder, stretch: Float3) -> None:
        self.name = name
        self._folder = folder
        self._stretch = stretch

    async def segments(self) -> Sequence[int]:
        return await self._folder.segments(":0")

    async def find(self, segment: int) -> SegmentMesh | None:
        key = f"{segment}:0"
        manifest = await self._folder.read(key, self._folder.opener.limits.metadata_bytes)
        if manifest is None:
            return None
        where = self._folder.where(key)
        names = legacy_fragments(await asyncio.to_thread(parse_document, manifest, where), where)
        sizes = await for_each(self._draco_size, names, ENCODINGS)
        fragments = (Fragment((0, 0, 0), i << PLACE_BITS, size) for i, size in enumerate(sizes) if size)
        return SegmentMesh(segment, (MeshLevel(self._stretch, tuple(fragments)),), 1, names)

    async def read_draco(self, mesh: SegmentMesh, fragment: Fragment) -> bytes:
        name = mesh.place[fragment.offset >> PLACE_BITS]
        data = await self._draco(name)
        if len(data) != fragment.size:
            raise UpstreamUnavailable(f"{self._folder.where(name)}: the mesh has changed; ask for it again")
        return data

    async def read_triangles(self, mesh: SegmentMesh, level: MeshLevel, fragment: Fragment) -> Soup:
        vertices, faces = await self._read(mesh.place[fragment.offset >> PLACE_BITS])
        return await asyncio.to_thread(lambda: _placed(vertices[faces], mesh, level, fragment))

    async def _draco_size(self, name: str) -> int:
        return len(await self._draco(name))

    async def _draco(self, name: str) -> bytes:
        return await asyncio.to_thread(surface.draco, *await self._read(name))

    async def _read(self, name: str) -> tuple[Array, Array]:
        """Vertices (n, 3) and faces (m, 3). A fragment that a manifest lists has to be there."""
        found = await read_legacy_fragment(self._folder, name)
        if found is None:
            raise UpstreamUnavailable(f"{self._folder.where(name)}: this fragment of a mesh is not there")
        return found


async def read_legacy_fragment(folder: Folder, name: str) -> tuple[Array, Array] | None:
    """Vertices (n, 3) and faces (m, 3); None: there is no such file.

    Raises:
        BackendError: it cannot be read, or is no fragment.
    """
    data = await folder.read(name, folder.opener.limits.chunk_bytes)
    try:
        return None if data is None else await asyncio.to_thread(surface.legacy_fragment, data)
    except ValueError as error:
        raise CorruptChunk(f"{folder.where(name)}: {error}") from error


async def mesh_info(folder: Folder) -> Mapping[str, Any]:
    """The ``info`` of meshes, of a known ``@type``. Of the legacy format there need not be one.

    Raises:
        BackendError: it cannot be read, or says another type.
    """
    document: Mapping[str, Any] = await folder.opener.read_json(folder.source, "info") or {"@type": LEGACY}
    kind = document.get("@type")
    if kind not in (MULTI_LOD, LEGACY):
        raise CorruptChunk(f"{folder.where('info')}: @type {plain(kind)!r} is neither {MULTI_LOD} nor {LEGACY}")
    return document


def _placed(triangles: Soup, mesh: SegmentMesh, level: MeshLevel, fragment: Fragment) -> Soup:
    return surface.placed(triangles, mesh.vertex_scale, fragment.position, level.scale_nm)


async def open_meshes(opener: Opener, source: Source, key: str, stretch: Float3) -> Meshes:
    """
    Args:
        source: The volume's folder.
        key: Of the meshes' folder, as the volume's info says it.
        stretch: By what the dataset's nanometres are more than the source's, if its entry says another voxel size.
    Raises:
        BackendError: it cannot be read, or holds meshes of another kind.
    """
    folder = await open_folder(opener, source, key)
    document, name = await mesh_info(folder), plain(key.rstrip("/").rpartition("/")[2])
    if document["@type"] == LEGACY:
        return LegacyMeshes(name, folder, stretch)
    return MultiLodMeshes(name, folder, parse_multi_lod(document, folder.where("info")), stretch)
