"""A layer's own levels and such as are stored elsewhere, as one volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.segments import Meshes, Skeletons, StoresSegments
from wkdvid.core.volume import Array, ReadsFiles, StoresChunks, TellsTrouble, Volume
from wkdvid.errors import AuthRejected, BackendError, SourceGone


class JoinedVolume:
    """Levels of several volumes of one layer, finest first."""

    def __init__(self, volumes: Sequence[Volume], notes: Sequence[str] = ()) -> None:
        """
        Args:
            volumes: The layer's own first: name, type and all else are its. Their levels' mags have one grid.
            notes: What is odd about the others, added to the layer's own.
        """
        own = volumes[0].info
        levels = sorted(
            ((level, volume, i) for volume in volumes for i, level in enumerate(volume.info.levels)),
            key=lambda one: one[0].mag,
        )
        self.info = replace(own, levels=tuple(level for level, _, _ in levels), notes=(*own.notes, *notes))
        self._volumes = volumes
        self._places = [(volume, i) for _, volume, i in levels]

    @property
    def trouble(self) -> AuthRejected | SourceGone | None:
        """As ``TellsTrouble`` has it."""
        told = [volume.trouble for volume in self._volumes if isinstance(volume, TellsTrouble)]
        return next((trouble for trouble in told if trouble is not None), None)

    async def read(self, level: int, box: Box) -> Array:
        volume, own_level = self._places[level]
        return await volume.read(own_level, box)

    async def read_all(self, level: int, boxes: Sequence[Box]) -> Sequence[Array | BackendError]:
        volume, own_level = self._places[level]
        return await volume.read_all(own_level, boxes)

    @property
    def _segments(self) -> StoresSegments | None:
        own = self._volumes[0]
        return own if isinstance(own, StoresSegments) else None

    @property
    def has_meshes(self) -> bool:
        return self._segments is not None and self._segments.has_meshes

    @property
    def has_skeletons(self) -> bool:
        return self._segments is not None and self._segments.has_skeletons

    @property
    def has_properties(self) -> bool:
        return self._segments is not None and self._segments.has_properties

    async def meshes(self) -> Meshes | None:
        return await self._segments.meshes() if self._segments is not None else None

    async def skeletons(self) -> Skeletons | None:
        return await self._segments.skeletons() if self._segments is not None else None

    async def mesh_files(self) -> ReadsFiles | None:
        return await self._segments.mesh_files() if self._segments is not None else None

    async def skeleton_files(self) -> ReadsFiles | None:
        return await self._segments.skeleton_files() if self._segments is not None else None

    async def segment_properties(self) -> bytes | None:
        return await self._segments.segment_properties() if self._segments is not None else None

    async def aclose(self) -> None:
        for volume in self._volumes:
            await volume.aclose()


class JoinedChunks(JoinedVolume):
    """Where the layer's own chunks can be handed on. Those of the other levels are in none of DVID's encodings."""

    async def stored_chunks(self, level: int, indices: Sequence[Vec3]) -> Sequence[bytes | BackendError | None]:
        volume, own_level = self._places[level]
        if not isinstance(volume, StoresChunks):
            raise TypeError(f"level {level} has no chunks to be handed on")
        return await volume.stored_chunks(own_level, indices)


def join(volumes: Sequence[Volume], notes: Sequence[str] = ()) -> JoinedVolume:
    """A volume with the powers of the first."""
    kind = JoinedChunks if isinstance(volumes[0], StoresChunks) else JoinedVolume
    return kind(volumes, notes)
