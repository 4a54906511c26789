"""Data instances that clients have made, as they are seen from a node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from wkdvid.core.repositories import DataInstance
from wkdvid.core.services import Services
from wkdvid.frontends.dvid import documents
from wkdvid.frontends.dvid.calls import Answer, Call, Endpoints, json_answer
from wkdvid.frontends.dvid.instance_settings import post_tags, tags
from wkdvid.frontends.dvid.instances import VALUE_TYPES, VOXEL_BYTES, Instance, StoredInstance, Version
from wkdvid.frontends.dvid.made_voxels import voxel_instance

Make: TypeAlias = Callable[[Services, Version, DataInstance], Awaitable[Instance]]


async def made_instance(services: Services, at: Version, data: DataInstance) -> Instance:
    """
    Raises:
        BackendError: where it is stored cannot be read now.
    """
    return await MAKERS[data.typename](services, at, data)


async def _info(call: Call[Instance]) -> Answer:
    return json_answer(documents.instance(call.instance))


COMMON = Endpoints(handlers={"info": _info, "tags": tags}, changing={"POST": {"tags": post_tags}})
"""What any instance answers to."""


async def _stored(services: Services, at: Version, data: DataInstance) -> StoredInstance:
    return StoredInstance(
        name=data.name,
        typename=data.typename,
        owner=at.owner,
        repository=at.repository,
        node=at.node,
        data=data,
        stored=services.values.at(at.repository, at.node, data),
    )


MAKERS: Mapping[str, Make] = {**dict.fromkeys(VOXEL_BYTES, voxel_instance), **dict.fromkeys(VALUE_TYPES, _stored)}
"""By typename; others are not made."""
