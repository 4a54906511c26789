"""What a source holds of its segments beside voxels: meshes, skeletons and properties. Powers, asked for by type.

Meshes are cut into fragments. A position (x, y, z) that the Draco bytes of a fragment hold is, in nanometres of the
dataset's space, ``level.scale_nm * (fragment.position + vertex_scale * position)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from wkdvid.core.geometry import Float3
from wkdvid.core.volume import Array, ReadsFiles

Soup = Array
"""Triangles without shared vertices: float32 (n, 3, 3), a triangle's corners, counterclockwise from outside, and their
(x, y, z)."""


@dataclass(frozen=True, slots=True)
class Fragment:
    position: Float3
    """Of its first corner, in units of ``scale_nm``."""
    offset: int
    """With ``size`` it names the fragment among those of its segment."""
    size: int
    """Bytes as Draco."""


@dataclass(frozen=True, slots=True)
class MeshLevel:
    """A mesh in one level of detail."""

    scale_nm: Float3
    fragments: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class SegmentMesh:
    segment: int
    levels: tuple[MeshLevel, ...]
    """Finest first; at least one."""
    vertex_scale: float
    place: Any
    """Where the source has the fragments, in its own terms."""


class Meshes(Protocol):
    """The meshes of a layer's segments."""

    @property
    def name(self) -> str: ...

    async def segments(self) -> Sequence[int]:
        """Those that have a mesh, ascending; none at all where the source cannot list them.

        Raises:
            BackendError: it could, but not now.
        """
        ...

    async def find(self, segment: int) -> SegmentMesh | None:
        """
        Raises:
            BackendError: it could not be judged whether the segment has a mesh, or of what fragments.
        """
        ...

    async def read_draco(self, mesh: SegmentMesh, fragment: Fragment) -> bytes:
        """As many bytes as ``fragment.size`` says.

        Raises:
            BackendError: they cannot be read.
        """
        ...

    async def read_triangles(self, mesh: SegmentMesh, level: MeshLevel, fragment: Fragment) -> Soup:
        """The triangles of a fragment, in nanometres.

        Raises:
            BackendError: they cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """A graph of points. Whether it is a forest its writer knows."""

    positions: Array
    """float64 (n, 3), in nanometres of the dataset's space."""
    edges: Array
    """int64 (m, 2): indices of points."""
    radii: Array | None
    """float64 (n), in nanometres; None: not known."""
    types: Array | None
    """int64 (n): what SWC files call the type of a point; None: not known."""


class Skeletons(Protocol):
    """The skeletons of a layer's segments."""

    async def segments(self) -> Sequence[int]:
        """As ``Meshes.segments``."""
        ...

    async def find(self, segment: int) -> Skeleton | None:
        """
        Raises:
            BackendError: it could not be judged whether the segment has a skeleton, or which.
        """
        ...


@runtime_checkable
class StoresSegments(Protocol):
    @property
    def has_meshes(self) -> bool:
        """Whether the source says that it has some. No I/O, as for those that follow."""
        ...

    @property
    def has_skeletons(self) -> bool: ...

    @property
    def has_properties(self) -> bool: ...

    async def skeletons(self) -> Skeletons | None:
        """None: the source has none.

        Raises:
            BackendError: it could not be judged what they are.
        """
        ...

    async def meshes(self) -> Meshes | None:
        """None: the source has none.

        Raises:
            BackendError: it could not be judged what they are.
        """
        ...

    async def mesh_files(self) -> ReadsFiles | None:
        """The folder of the meshes as Neuroglancer's precomputed format has it, ``info`` and all, in nanometres of the
        dataset's space. None: the source has none.

        Raises:
            BackendError: it could not be judged what they are.
        """
        ...

    async def skeleton_files(self) -> ReadsFiles | None:
        """As ``mesh_files``, of the skeletons."""
        ...

    async def segment_properties(self) -> bytes | None:
        """A ``neuroglancer_segment_properties`` document, as it is stored; None: the source has none.

        Raises:
            BackendError: it cannot be read.
        """
        ...
