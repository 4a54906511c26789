"""Meshes whose fragments are remembered: after their list come the requests for them, each in some of them."""

from __future__ import annotations

from collections.abc import Sequence

from cachebox import LRUCache

from wkdvid.core.segments import Fragment, Meshes, MeshLevel, SegmentMesh, Soup

MOST_FRAGMENTS = 50_000
"""Remembered for a layer, about 12 MB."""


class KeptMeshes:
    """As those it is given, for as long as the layer is open."""

    def __init__(self, meshes: Meshes) -> None:
        self.name = meshes.name
        self._meshes = meshes
        self._found: LRUCache[int, SegmentMesh] = LRUCache(MOST_FRAGMENTS, getsizeof=_weigh)

    async def segments(self) -> Sequence[int]:
        return await self._meshes.segments()

    async def find(self, segment: int) -> SegmentMesh | None:
        mesh: SegmentMesh | None = self._found.get(segment)
        if mesh is None:
            mesh = await self._meshes.find(segment)
            if mesh is not None and _weigh(segment, mesh) < MOST_FRAGMENTS:
                self._found[segment] = mesh
        return mesh

    async def read_draco(self, mesh: SegmentMesh, fragment: Fragment) -> bytes:
        return await self._meshes.read_draco(mesh, fragment)

    async def read_triangles(self, mesh: SegmentMesh, level: MeshLevel, fragment: Fragment) -> Soup:
        return await self._meshes.read_triangles(mesh, level, fragment)


def _weigh(_segment: int, mesh: SegmentMesh) -> int:
    return 1 + sum(len(level.fragments) for level in mesh.levels)
