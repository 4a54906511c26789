"""A data instance as a node sees it: its arrays, blocks and boxes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from wkdvid.backends.written.arrays import Place, extent
from wkdvid.core.geometry import Box, Vec3, multiply, volume_of
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.volume import LayerInfo, LevelInfo
from wkdvid.core.written_volumes import VoxelSettings


@dataclass(frozen=True, slots=True)
class Target:
    repository: Repository
    node: Node
    instance: DataInstance
    settings: VoxelSettings

    @classmethod
    def of(cls, repository: Repository, node: Node, instance: DataInstance) -> Target:
        return cls(repository, node, instance, VoxelSettings.of(instance))

    @property
    def version(self) -> int:
        """Whose arrays are written to; 0 for all nodes together."""
        return self.node.version if self.instance.versioned else 0

    @property
    def versions(self) -> Sequence[int]:
        """Whose arrays may hold its blocks, nearest first."""
        if not self.instance.versioned:
            return [0]
        return [node.version for node in self.repository.lineage(self.node.uuid)]

    @property
    def lasting(self) -> bool:
        """Whether nothing is written any more."""
        return self.node.locked and self.instance.versioned

    def instance_of(self, repository: Repository) -> DataInstance:
        """The same instance as a newer state of the repository has it."""
        return repository.instances[self.instance.name]

    def place(self, scale: int) -> Place:
        return Place(self.instance.data_uuid, self.version, scale)

    @property
    def sides(self) -> Vec3:
        block = self.settings.block
        return (block, block, block)

    def box(self, index: Vec3) -> Box:
        """Of a block, in voxels of its scale."""
        return Box.at(multiply(index, self.sides), self.sides)

    def blocks(self, box: Box) -> Iterator[Vec3]:
        """Indices of all that a box touches, x fastest."""
        touched = box.scaled_down(self.sides)
        ranges = [range(a, b) for a, b in zip(touched.start, touched.stop, strict=True)]
        return ((x, y, z) for z, y, x in itertools.product(*reversed(ranges)))

    def batches(self, indices: Iterable[Vec3], size: int) -> Iterator[tuple[Vec3, ...]]:
        """Cut into batches whose voxels have so many bytes at most."""
        count = max(size // (volume_of(self.sides) * self.settings.voxel_bytes), 1)
        rest = iter(indices)
        while batch := tuple(itertools.islice(rest, count)):
            yield batch

    def hull(self, indices: Iterable[Vec3]) -> Box:
        """The smallest box that holds so many blocks, one at least."""
        return reduce(Box.join, map(self.box, indices))


def layer_info(target: Target) -> LayerInfo:
    """Voxels can be anywhere: the extent of its levels is the whole of their arrays."""
    settings = target.settings
    whole = extent(settings.block)
    return LayerInfo(
        name=target.instance.name,
        category="segmentation" if target.instance.typename == "labelmap" else "color",
        dtype=np.dtype(settings.dtype),
        num_channels=settings.num_channels,
        voxel_size_nm=settings.voxel_size,
        levels=tuple(
            LevelInfo(
                mag=(2**scale, 2**scale, 2**scale),
                extent=whole,
                chunk_shape=target.sides,
                chunk_origin=whole.start,
                encoding="blosc",
            )
            for scale in range(settings.max_scale + 1)
        ),
        format="written",
    )
