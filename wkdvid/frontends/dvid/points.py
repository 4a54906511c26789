"""The labels of single voxels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wkdvid.core.concurrent import for_each
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3, divide_down
from wkdvid.core.pyramid import Scale
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import Answer, Call, json_answer
from wkdvid.frontends.dvid.instances import VoxelInstance


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
    together = await asyncio.to_thread(_by_block, points, instance.block)
    parse.check_count(len(together), services.limits)
    boxes = [_bounds([points[i] for i in members]) for members in together]
    services.reader.check(scale, sum(services.reader.source_voxels(scale, box) for box in boxes))
    found = [0] * len(points)

    async def read(group: tuple[Box, Sequence[int]]) -> None:
        box, members = group
        array = await services.reader.read(instance.layer, scale, box)
        for i in members:
            x, y, z = (a - b for a, b in zip(points[i], box.start, strict=True))
            found[i] = int(array[0, x, y, z])

    with one_deadline():
        await for_each(read, list(zip(boxes, together, strict=True)))
    return found


def _by_block(points: Sequence[Vec3], block: int) -> Sequence[Sequence[int]]:
    """Positions in ``points`` of those that lie in one block."""
    together: dict[Vec3, list[int]] = {}
    for i, point in enumerate(points):
        together.setdefault(divide_down(point, (block, block, block)), []).append(i)
    return list(together.values())


def _bounds(points: Sequence[Vec3]) -> Box:
    xs, ys, zs = zip(*points, strict=True)
    return Box((min(xs), min(ys), min(zs)), (max(xs) + 1, max(ys) + 1, max(zs) + 1))
