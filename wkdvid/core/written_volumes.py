"""The contract of the volumes that clients write: one for each data instance of voxels and node of a repository."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wkdvid.core.geometry import Box, Float3, Vec3
from wkdvid.core.layers import Layer
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.volume import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelSettings:
    """``DataInstance.settings`` of an instance of voxels."""

    dtype: str
    """As numpy names it: ``uint8``..."""
    num_channels: int
    block: int
    """Side of a block in voxels: the unit of storage, and of alignment."""
    voxel_size: Float3
    """Nanometres."""
    compression: str
    """``none``, ``lz4``, ``jpeg``...: what clients are told. What is stored is exact, and compressed in its own way."""
    background: int = 0
    max_scale: int = 0
    """Of labels: the coarsest scale that is kept; 0 for images."""
    indexed: bool = False
    """Of labels: whether sizes and sparse volumes are offered."""
    relaxed: bool = False
    """Whether a POST need not be aligned to blocks: pydvid's are not, which no DVID takes any more."""

    @classmethod
    def of(cls, instance: DataInstance) -> VoxelSettings:
        given = dict(instance.settings)
        x, y, z = given.pop("voxel_size")
        return cls(**given, voxel_size=(x, y, z))

    @property
    def voxel_bytes(self) -> int:
        """Of one voxel with all its channels."""
        return np.dtype(self.dtype).itemsize * self.num_channels


class WrittenVolumes(Protocol):
    """Reading and writing of voxels, whichever worker is asked.

    A read sees every write that was acknowledged before it began. What a committed node shows never changes.
    """

    def layer(self, repository: Repository, node: Node, instance: DataInstance) -> Layer:
        """What the node sees: its own blocks, else its nearest ancestor's. ``halvings`` are the scales that are kept.

        Nothing is read for it.
        """
        ...

    async def write(self, repository: Repository, node: Node, instance: DataInstance, box: Box, array: Array) -> None:
        """Store a box of scale 0 in an open node, durably, and whatever follows from it: lower scales, extent.

        Args:
            box: Any; of blocks that it cuts the rest stays as the node sees it.
            array: (c, x, y, z), of the instance's type. Not to be changed until this returns.
        Raises:
            InvalidRequest: outside the coordinates that there are.
            UnsupportedRequest: the node is committed.
            BackendError, DatabaseUnavailable: it could not be stored. Each block is old or new, never half.
        """
        ...

    async def write_blocks(
        self,
        repository: Repository,
        node: Node,
        instance: DataInstance,
        scale: int,
        blocks: Mapping[Vec3, Array],
        *,
        lower: bool,
        extend: bool,
    ) -> None:
        """As ``write``, of whole blocks of any scale by their indices.

        Args:
            lower: Whether the scales below follow; of scale 0 alone.
            extend: Whether the extent grows.
        """
        ...

    def committing(self, node: Node) -> AbstractAsyncContextManager[None]:
        """Alone with an open node: all writes to it are complete, with what follows from them, and none begins.

        Raises:
            BackendError, DatabaseUnavailable: what a process that was killed has left undone cannot be done now.
        """
        ...

    async def mend(self) -> None:
        """Do what processes that were killed have left undone of their writes; what cannot be done now is logged."""
        ...
