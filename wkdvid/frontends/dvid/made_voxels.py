"""Voxels that clients write, as they are seen from a node."""

from __future__ import annotations

from wkdvid.core.geometry import ZERO, Box
from wkdvid.core.repositories import DataInstance
from wkdvid.core.services import Services
from wkdvid.core.written_volumes import VoxelSettings
from wkdvid.frontends.dvid.instances import Compression, Version, VoxelInstance

NOWHERE = Box(ZERO, ZERO)


async def voxel_instance(services: Services, at: Version, data: DataInstance) -> VoxelInstance:
    settings = VoxelSettings.of(data)
    return VoxelInstance(
        name=data.name,
        typename=data.typename,
        owner=at.owner,
        repository=at.repository,
        node=at.node,
        data=data,
        layer=services.volumes.layer(at.repository, at.node, data),
        index=services.labels.at(at.repository, at.node, data) if settings.indexed else None,
        level=0,
        block=settings.block,
        compression=_told(settings.compression),
        extent=at.repository.extent(at.node.uuid, data) or NOWHERE,
        background=settings.background,
    )


def _told(wanted: str) -> Compression:
    """What blocks are sent as where the client does not say: LZ4 in the place of what is not offered."""
    if wanted == "none":
        return "none"
    return "jpeg" if wanted == "jpeg" else "lz4"
