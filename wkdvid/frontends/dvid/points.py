"""The labels of single voxels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.core.concurrent import for_each
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.limits import Limits
from wkdvid.core.pyramid import Scale
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import Answer, Call, json_answer
from wkdvid.frontends.dvid.instances import VoxelInstance

Numbers: TypeAlias = npt.NDArray[np.int64]


async def label(call: Call[VoxelInstance]) -> Answer:
    if not call.parts:
        raise InvalidRequest("DVID requires coord to follow 'label' command")
    scale = parse.scale_of(call.query, call.instance.layer.halvings)
    found = await labels_at(call.services, call.instance, scale, [parse.voxel(call.parts[0])])
    return json_answer({"Label": found[0]})


async def labels(call: Call[VoxelInstance]) -> Answer:
    scale = parse.scale_of(call.query, call.instance.layer.halvings)
    points = await asyncio.to_thread(parse.points, call.body, call.query)
    return json_answer(await labels_at(call.services, call.instance, scale, points))


async def labels_at(services: Services, instance: VoxelInstance, scale: Scale, points: Sequence[Vec3]) -> list[int]:
    """The label of each voxel; those of one block are read together.

    Raises:
        TooLarge: the points lie in more blocks, or need more voxels, than one request may read.
        BackendError: one of them could not be read.
    """
    places = await asyncio.to_thread(lambda: np.array(points, np.int64).reshape(-1, 3))
    groups = await asyncio.to_thread(_by_block, places, instance.block, services.limits)
    services.reader.check(scale, sum(services.reader.source_voxels(scale, box) for box, _ in groups))
    found = np.zeros(len(points), np.uint64)

    async def read(group: tuple[Box, Numbers]) -> None:
        box, members = group
        array = await services.reader.read(instance.layer, scale, box)
        x, y, z = (places[members] - box.start).T
        found[members] = array[0, x, y, z]

    with one_deadline():
        await for_each(read, groups)
    labels: list[int] = found.tolist()
    return labels


def _by_block(places: Numbers, block: int, limits: Limits) -> Sequence[tuple[Box, Numbers]]:
    """The points that lie in one block: a box around them, and their positions in ``places``."""
    blocks = places // block
    order = np.lexsort(blocks.T)
    begins = np.flatnonzero((np.diff(blocks[order], axis=0, prepend=blocks[order][:1] - 1) != 0).any(axis=1))
    parse.check_count(len(begins), limits)
    return [(_box_around(places[members]), members) for members in np.split(order, begins[1:]) if len(members)]


def _box_around(places: Numbers) -> Box:
    (x0, y0, z0), (x1, y1, z1) = places.min(axis=0).tolist(), (places.max(axis=0) + 1).tolist()
    return Box((x0, y0, z0), (x1, y1, z1))
