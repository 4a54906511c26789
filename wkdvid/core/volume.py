"""The contract of a backend: what a volume is and how its voxels are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import Box, Float3, Vec3
from wkdvid.errors import AuthRejected, BackendError, SourceGone

Category: TypeAlias = Literal["color", "segmentation"]
FileFormat: TypeAlias = Literal["zarr2", "zarr3", "n5", "precomputed"]
Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelInfo:
    """One stored resolution of a layer."""

    mag: Vec3
    """Downsampling factors (x, y, z) relative to the finest voxel grid."""
    extent: Box
    """Where there may be data, in voxels of this level; ``extent.start`` is the format's voxel offset."""
    chunk_shape: Vec3
    """Storage unit (of reading, where shards hold many), in voxels of this level."""
    chunk_origin: Vec3
    """A corner of the chunk grid, in voxels of this level."""
    encoding: str
    """How a chunk's bytes are stored, in the format's own words: ``raw``, ``jpeg``, ``zstd``..."""
    label_block: Vec3 | None = None
    """Of ``compressed_segmentation``: the blocks that labels are packed in, in voxels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """What a layer is. An immutable value; nothing in it needs I/O after opening."""

    name: str
    category: Category
    dtype: np.dtype[Any]
    """Little-endian integer or float type of one channel."""
    num_channels: int
    """1, or 3 for RGB (uint8)."""
    voxel_size_nm: Float3
    """Physical size (x, y, z) of a voxel of mag (1, 1, 1), in nanometres."""
    levels: tuple[LevelInfo, ...]
    """Finest first. Mags differ and do not decrease on any axis."""
    format: str
    """Name of the backend: ``precomputed``, ``zarr``..."""
    fill_value: float | int = 0
    """Value of a voxel inside the extent that was never written."""
    largest_segment_id: int | None = None
    """Only where the source says so."""
    notes: tuple[str, ...] = ()
    """What is odd about the source, in plain words, one sentence each."""

    @property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel with all its channels."""
        return self.dtype.itemsize * self.num_channels


def has_data(array: Array) -> bool:
    """Whether any byte is not zero: else there is nothing to send. -0.0 is data."""
    voxels = array.view(f"u{array.itemsize}")
    return bool(voxels.item(0)) or bool(voxels.any())  # the first voxel mostly tells, and looking at all takes long


class Volume(Protocol):
    """An open layer of some format."""

    @property
    def info(self) -> LayerInfo: ...

    async def read(self, level: int, box: Box) -> Array:
        """Read one box of one stored level.

        Args:
            level: Index into ``info.levels``.
            box: In voxels of that level. Parts outside ``extent`` are zero; parts never written hold the fill value.
        Returns:
            Array (c, x, y, z), Fortran-contiguous, little-endian, of ``info.dtype``. May be shared: do not write to it.
        Raises:
            UpstreamUnavailable: a passing failure of the source.
            CorruptChunk: stored bytes do not fit their metadata.
            AuthRejected: the source refuses to be read.
        """
        ...

    async def read_all(self, level: int, boxes: Sequence[Box]) -> Sequence[Array | BackendError]:
        """Read many boxes of one level: for each what ``read`` returns or would raise. Cheaper than one by one."""
        ...

    async def aclose(self) -> None:
        """Called when the server stops. A volume that a reload replaces may still be read, so it is only let go."""
        ...


@runtime_checkable
class StoresChunks(Protocol):
    """The power to hand on a chunk's bytes as they are stored. Asked for by type."""

    async def stored_chunks(self, level: int, indices: Sequence[Vec3]) -> Sequence[bytes | BackendError | None]:
        """For each index the bytes of the chunk that begins at ``chunk_origin + index * chunk_shape``.

        The encoding is ``info.levels[level].encoding``; a chunk that the extent cuts is stored cut. None: it was
        never written. A BackendError, that ``Volume.read`` would raise: it cannot be read.
        """
        ...


@runtime_checkable
class TellsAbsence(Protocol):
    """The power to tell what was never written from what is zero. Asked for by type."""

    async def never_written(self, level: int, boxes: Sequence[Box]) -> Sequence[bool]:
        """
        Args:
            boxes: Inside the extent, each within one chunk.
        Raises:
            BackendError: as ``Volume.read``.
        """
        ...


@runtime_checkable
class TellsTrouble(Protocol):
    """The power to tell that the source cannot be read as it is open. Asked for by type."""

    @property
    def trouble(self) -> AuthRejected | SourceGone | None:
        """SourceGone from when it was met on; else the last AuthRejected since the volume was opened."""
        ...


class ReadsFiles(Protocol):
    """Files of a folder, wherever it is."""

    async def length(self, key: str) -> int | None:
        """Bytes of a file; None: there is none of this name, or none that is handed on.

        Raises:
            BackendError: it could not be judged whether it is there.
        """
        ...

    async def read(self, key: str, start: int, stop: int) -> bytes | None:
        """Bytes ``start`` to ``stop`` (exclusive) of a file that is no shorter; None and errors as ``length``."""
        ...

    async def read_whole(self, key: str, limit: int) -> bytes | None:
        """All bytes of a file; None and errors as ``length``.

        Raises:
            TooLarge: it has more than ``limit``.
        """
        ...


class StoredFiles(ReadsFiles, Protocol):
    """The files of one level as they are stored: metadata and chunks or shards of one array."""

    @property
    def format(self) -> FileFormat: ...

    @property
    def folder(self) -> str:
        """The array's, below the place that keys begin from: "", or the key of a precomputed scale."""
        ...

    @property
    def place(self) -> str:
        """Where keys begin, as anybody may see it: without secrets, and a file without its real path."""
        ...

    @property
    def axes(self) -> str:
        """One letter for each dimension of the array: x, y, z, c."""
        ...


@runtime_checkable
class StoresFiles(Protocol):
    """The power to hand on the files of a volume. Asked for by type."""

    @property
    def files(self) -> Sequence[StoredFiles]:
        """One for each level; none at all where the stored arrays are not what the layer shows of them."""
        ...
