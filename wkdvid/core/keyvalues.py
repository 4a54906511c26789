"""Values by their keys, and what a segmentation's source has of its segments in the form that DVID's clients expect.

Neuroglancer, NeuTu and dvid_tools look for the meshes of a labelmap ``NAME`` in a key-value instance ``NAME_meshes``,
under ``ID.ngmesh`` (nanometres), and for skeletons in ``NAME_skeletons``, under ``ID_swc`` (voxels).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Protocol

from wkdvid.codecs.skeleton import swc
from wkdvid.codecs.surface import merged, ngmesh
from wkdvid.core.concurrent import for_each
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Float3
from wkdvid.core.limits import Limits
from wkdvid.core.segments import Fragment, Meshes, MeshLevel, SegmentMesh, Skeleton, StoresSegments
from wkdvid.core.volume import Array
from wkdvid.errors import TooLarge

DECODED_AT_A_TIME = 2
"""Fragments of a mesh that become triangles: as many as there are processes that decode."""
PACKED = 16
"""How many bytes of a mesh one of its bytes as Draco makes, at the most to be expected."""
MOST_POINTS = 1_000_000
"""Of a skeleton that is made a text, and as many edges."""
_ID = "(0|[1-9][0-9]{0,19})"


class KeyValues(Protocol):
    """Values of bytes by keys of text."""

    async def get(self, key: str) -> bytes | None:
        """
        Returns:
            None: there is none.
        Raises:
            BackendError: it could not be judged whether there is one.
            TooLarge: it has more bytes than an answer may.
        """
        ...

    async def keys(self, first: str, last: str | None) -> Sequence[str]:
        """Keys from ``first`` to ``last`` (inclusive; None: to the end), ascending by their bytes.

        Where a source cannot list what it has there are none.

        Raises:
            BackendError: it could, but not now.
        """
        ...


class MeshValues:
    """The meshes of a layer's segments, each as one ``ID.ngmesh``."""

    def __init__(self, source: StoresSegments, limits: Limits) -> None:
        self._source = source
        self._limits = limits

    async def get(self, key: str) -> bytes | None:
        segment = _segment(key, ".ngmesh")
        meshes = await self._source.meshes() if segment is not None else None
        if segment is None or meshes is None:
            return None
        with one_deadline():
            mesh = await meshes.find(segment)
            return None if mesh is None else await self._whole(meshes, mesh)

    async def _whole(self, meshes: Meshes, mesh: SegmentMesh) -> bytes:
        level, limit = fitting_level(mesh, self._limits.working_bytes), self._limits.unstreamed_bytes
        size = 0

        async def read(fragment: Fragment) -> tuple[Array, Array]:
            nonlocal size
            vertices, faces = await asyncio.to_thread(merged, await meshes.read_triangles(mesh, level, fragment))
            size += vertices.nbytes + faces.nbytes
            if size > limit:
                raise TooLarge(f"the mesh of segment {mesh.segment} has over {limit} bytes (limits.unstreamed_bytes)")
            return vertices, faces

        return await asyncio.to_thread(ngmesh, await for_each(read, level.fragments, DECODED_AT_A_TIME))

    async def keys(self, first: str, last: str | None) -> Sequence[str]:
        meshes = await self._source.meshes()
        return _between([f"{segment}.ngmesh" for segment in await meshes.segments()] if meshes else [], first, last)


class SkeletonValues:
    """The skeletons of a layer's segments, each as one ``ID_swc``, in voxels."""

    def __init__(self, source: StoresSegments, voxel_size_nm: Float3) -> None:
        self._source = source
        self._voxel_size_nm = voxel_size_nm

    async def get(self, key: str) -> bytes | None:
        segment = _segment(key, "_swc")
        skeletons = await self._source.skeletons() if segment is not None else None
        if segment is None or skeletons is None:
            return None
        with one_deadline():
            skeleton = await skeletons.find(segment)
        if skeleton is not None and max(len(skeleton.positions), len(skeleton.edges)) > MOST_POINTS:
            raise TooLarge(f"the skeleton of segment {segment} has more than {MOST_POINTS} points or edges")
        return None if skeleton is None else await asyncio.to_thread(self._text, skeleton)

    def _text(self, one: Skeleton) -> bytes:
        radii = None if one.radii is None else one.radii / self._voxel_size_nm[0]
        return swc(one.positions / self._voxel_size_nm, one.edges, radii, one.types)

    async def keys(self, first: str, last: str | None) -> Sequence[str]:
        skeletons = await self._source.skeletons()
        found = [f"{segment}_swc" for segment in await skeletons.segments()] if skeletons else []
        return _between(found, first, last)


def fitting_level(mesh: SegmentMesh, limit: int) -> MeshLevel:
    """The finest level of detail that is expected to have no more bytes than ``limit``, else the coarsest."""
    sizes = ((level, sum(one.size for one in level.fragments)) for level in mesh.levels)
    return next((level for level, size in sizes if size * PACKED <= limit), mesh.levels[-1])


def _segment(key: str, ending: str) -> int | None:
    found = re.fullmatch(_ID + re.escape(ending), key, re.ASCII)
    return int(found[1]) if found and int(found[1]) < 1 << 64 else None


def _between(keys: Sequence[str], first: str, last: str | None) -> Sequence[str]:
    return sorted(key for key in keys if key >= first and (last is None or key <= last))
