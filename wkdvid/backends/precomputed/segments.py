"""What lies beside a segmentation: meshes, skeletons and properties of its segments, looked for when asked for."""

from __future__ import annotations

import asyncio

from wkdvid.backends.opening import Opener, parse_document
from wkdvid.backends.precomputed.folder import open_folder
from wkdvid.backends.precomputed.kept_meshes import KeptMeshes
from wkdvid.backends.precomputed.meshes import open_meshes
from wkdvid.backends.precomputed.metadata import Info
from wkdvid.backends.precomputed.segment_files import open_mesh_files, open_skeleton_files
from wkdvid.backends.precomputed.skeletons import open_skeletons
from wkdvid.core.geometry import Float3
from wkdvid.core.segments import Meshes, Skeletons
from wkdvid.core.source import Source
from wkdvid.core.volume import ReadsFiles
from wkdvid.errors import CorruptChunk

PROPERTIES = "neuroglancer_segment_properties"


class StoredSegments:
    """As ``core.segments.StoresSegments`` has it. What fails is asked for again, what is there is kept."""

    def __init__(self, opener: Opener, source: Source, info: Info, voxel_size_nm: Float3) -> None:
        """
        Args:
            voxel_size_nm: Of the layer, which its entry may have chosen.
        """
        x, y, z = (a / b for a, b in zip(voxel_size_nm, info.scales[0].resolution_nm, strict=True))
        self._opener = opener
        self._source = source
        self._info = info
        self._stretch: Float3 = (x, y, z)
        self.has_meshes = info.mesh is not None
        self.has_skeletons = info.skeletons is not None
        self.has_properties = info.segment_properties is not None
        self._meshes: Meshes | None = None
        self._skeletons: Skeletons | None = None
        self._mesh_files: ReadsFiles | None = None
        self._skeleton_files: ReadsFiles | None = None

    async def meshes(self) -> Meshes | None:
        if self._meshes is None and self._info.mesh is not None:
            self._meshes = KeptMeshes(await open_meshes(self._opener, self._source, self._info.mesh, self._stretch))
        return self._meshes

    async def skeletons(self) -> Skeletons | None:
        if self._skeletons is None and self._info.skeletons is not None:
            self._skeletons = await open_skeletons(self._opener, self._source, self._info.skeletons, self._stretch)
        return self._skeletons

    async def mesh_files(self) -> ReadsFiles | None:
        if self._mesh_files is None and self._info.mesh is not None:
            self._mesh_files = await open_mesh_files(self._opener, self._source, self._info.mesh, self._stretch)
        return self._mesh_files

    async def skeleton_files(self) -> ReadsFiles | None:
        key = self._info.skeletons
        if self._skeleton_files is None and key is not None:
            self._skeleton_files = await open_skeleton_files(self._opener, self._source, key, self._stretch)
        return self._skeleton_files

    async def properties(self) -> bytes | None:
        if self._info.segment_properties is None:
            return None
        folder = await open_folder(self._opener, self._source, self._info.segment_properties)
        text = await folder.read("info", self._opener.limits.chunk_bytes)
        if text is not None:
            document = await asyncio.to_thread(parse_document, text, folder.where("info"))
            if document.get("@type") != PROPERTIES:
                raise CorruptChunk(f"{folder.where('info')}: @type is not {PROPERTIES}")
        return text
