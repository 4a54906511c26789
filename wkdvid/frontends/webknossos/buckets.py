"""Reading buckets: each from the cache or from the volume, each failing alone.

A bucket is cut from the cube of 64 voxels a side that it lies in, where one chunk has that whole: the chunk has to be
decoded anyway, and the cube's other buckets are what the browser asks for next. They go into the cache with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from wkdvid.core.body_cache import Body, Key
from wkdvid.core.catalog import Layer
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3, divide_down, multiply
from wkdvid.core.pyramid import Scale
from wkdvid.core.services import Services
from wkdvid.core.volume import Array, has_data
from wkdvid.errors import BackendError, TooLarge
from wkdvid.frontends.webknossos import wire
from wkdvid.frontends.webknossos.parse import BUCKET, BucketRequest

log = logging.getLogger("wkdvid.webknossos")

CUBE = 2 * BUCKET
BUCKET_SIZE: Vec3 = (BUCKET, BUCKET, BUCKET)
CUBE_SIZE: Vec3 = (CUBE, CUBE, CUBE)


@dataclass(frozen=True, slots=True)
class Buckets:
    """What a batch came to."""

    bodies: Sequence[Body]
    """Of the buckets that hold data, in the order of the request."""
    empty: Sequence[int]
    failed: Sequence[int]


async def read_buckets(services: Services, layer: Layer, requests: Sequence[BucketRequest]) -> Buckets:
    """Read a batch. A bucket that is all zero, outside, or of an unknown mag is empty; one that cannot be read failed.

    Raises:
        TooLarge: the batch needs more voxels than a request may read.
    """
    bodies = [_from_cache(services, layer, request) for request in requests]
    if None in bodies:
        _check_size(services, layer, requests)
        missing = [request for request, body in zip(requests, bodies, strict=True) if body is None]
        with one_deadline():
            found = await _read(services, layer, missing)
        bodies = [found.get(request) if body is None else body for request, body in zip(requests, bodies, strict=True)]
    return Buckets(
        [body for body in bodies if body],
        [i for i, body in enumerate(bodies) if body is not None and not body],
        [i for i, body in enumerate(bodies) if body is None],
    )


def _from_cache(services: Services, layer: Layer, request: BucketRequest) -> Body | None:
    scale = layer.scale(request.mag)
    if scale is None:
        return b""
    return services.bodies.get(_key(scale, request))


def _key(scale: Scale, request: BucketRequest) -> Key:
    return (scale.id, "wk", request.position, request.size, request.four_bit)


def _check_size(services: Services, layer: Layer, requests: Sequence[BucketRequest]) -> None:
    voxels = length = 0
    for request in requests:
        scale = layer.scale(request.mag)
        if scale is not None:
            voxels += services.reader.source_voxels(scale, request.box)
            length += request.box.voxels * layer.info.voxel_bytes
            services.reader.check(scale, voxels)
    if length > services.limits.unstreamed_bytes:
        raise TooLarge(
            f"the buckets have {length} bytes, the limit is {services.limits.unstreamed_bytes} "
            "(limits.unstreamed_bytes)"
        )


async def _read(services: Services, layer: Layer, requests: Sequence[BucketRequest]) -> Mapping[BucketRequest, Body]:
    """The bodies of those that could be read; a body is empty if it is all zero."""
    sources: dict[Vec3, dict[Box, list[BucketRequest]]] = {}
    for request in requests:
        sources.setdefault(request.mag, {}).setdefault(_read_for(layer, request), []).append(request)
    bodies: dict[BucketRequest, Body] = {}
    for mag, members in sources.items():
        for boxes in _batches(services, layer, list(members)):
            arrays = await services.reader.read_all(layer, layer.scales[mag], boxes)
            for box, array in zip(boxes, arrays, strict=True):
                if isinstance(array, BackendError):
                    log.warning("%d buckets of layer %s failed: %s", len(members[box]), layer.info.name, array)
                else:
                    bodies |= _cut(services, layer.scales[mag], box, array, members[box])
    return bodies


def _read_for(layer: Layer, request: BucketRequest) -> Box:
    """What is read for a bucket: the cube around it, if one chunk holds that, else its own box."""
    scale = layer.scales[request.mag]
    level = layer.info.levels[scale.level]
    on_grid = all(n % CUBE == 0 for n in (*level.chunk_shape, *level.chunk_origin))
    cube = Box.at(multiply(divide_down(request.box.start, CUBE_SIZE), CUBE_SIZE), CUBE_SIZE)
    return cube if on_grid and scale.stored and cube.contains(request.box) else request.box


def _batches(services: Services, layer: Layer, boxes: Sequence[Box]) -> Iterator[Sequence[Box]]:
    count = services.reader.batch(max(box.voxels for box in boxes) * layer.info.voxel_bytes)
    for start in range(0, len(boxes), count):
        yield boxes[start : start + count]


def _cut(
    services: Services, scale: Scale, box: Box, array: Array, members: Sequence[BucketRequest]
) -> Mapping[BucketRequest, Body]:
    """Bodies of the buckets in a box that was read, those of the members and of all others that it holds."""
    bodies: dict[BucketRequest, Body] = {}
    for request in {**dict.fromkeys(members), **dict.fromkeys(_all_in(scale, box, members[0]))}:
        x, y, z = (slice(a - o, b - o) for a, b, o in zip(request.box.start, request.box.stop, box.start, strict=True))
        part = array[:, x, y, z]
        bodies[request] = wire.voxels(part, four_bit_wanted=request.four_bit) if has_data(part) else b""
        services.bodies.put(_key(scale, request), bodies[request])
    return bodies


def _all_in(scale: Scale, box: Box, like: BucketRequest) -> Iterator[BucketRequest]:
    if like.size == BUCKET_SIZE:
        for z, y, x in product(*(range(a, b, BUCKET) for a, b in zip(box.start[::-1], box.stop[::-1], strict=True))):
            yield BucketRequest(multiply((x, y, z), scale.mag), like.mag, BUCKET_SIZE, like.four_bit)
