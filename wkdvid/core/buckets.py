"""Reading buckets, small boxes of one mag: each from the cache or from the volume, each failing alone.

A bucket is cut from the cube of 64 voxels a side that it lies in, where one chunk has that whole: the chunk has to be
decoded anyway, and the cube's other buckets are what a browser asks for next. They go into the cache with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from wkdvid.codecs import four_bit
from wkdvid.core.body_cache import Body, Key
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3, divide_down, multiply
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.services import Services
from wkdvid.core.volume import Array, has_data
from wkdvid.errors import BackendError, TooLarge

log = logging.getLogger("wkdvid.buckets")

BUCKET = 32
"""Voxels along one axis, as webKnossos divides its volumes."""
CUBE = 2 * BUCKET
BUCKET_SIZE: Vec3 = (BUCKET, BUCKET, BUCKET)
CUBE_SIZE: Vec3 = (CUBE, CUBE, CUBE)


@dataclass(frozen=True, slots=True)
class Bucket:
    position: Vec3
    """In voxels of mag 1."""
    mag: Vec3
    size: Vec3
    """In voxels of ``mag``."""
    four_bit: bool = False

    @property
    def box(self) -> Box:
        """In voxels of ``mag``."""
        return Box.at(divide_down(self.position, self.mag), self.size)


async def read_buckets(services: Services, layer: Layer, wanted: Sequence[Bucket]) -> Sequence[Body | BackendError]:
    """For each bucket its voxels, as ``voxel_body`` makes them, or why they cannot be read.

    The body of a bucket that is all zero, outside, or of an unknown mag is empty.

    Raises:
        TooLarge: the buckets need more voxels than a request may read.
    """
    bodies = [_from_cache(services, layer, bucket) for bucket in wanted]
    missing = [bucket for bucket, body in zip(wanted, bodies, strict=True) if body is None]
    services.bodies.looked_up(len(wanted) - len(missing), len(missing))
    if not missing:
        return [body for body in bodies if body is not None]
    _check_size(services, layer, wanted)
    with one_deadline():
        found = await _read(services, layer, missing)
    return [found[bucket] if body is None else body for bucket, body in zip(wanted, bodies, strict=True)]


def voxel_body(array: Array, *, four_bit_wanted: bool = False) -> Body:
    """Voxels as they are sent: x fastest, channels interleaved.

    Args:
        array: (c, x, y, z). If it is contiguous in Fortran's order what is returned is a view of it.
        four_bit_wanted: Two voxels a byte; honoured for uint8, as the browser asks for no others.
    """
    body = array.T.data.cast("B") if array.flags.f_contiguous else array.tobytes("F")
    return four_bit.pack(body) if four_bit_wanted and array.dtype == np.uint8 else body


def _from_cache(services: Services, layer: Layer, bucket: Bucket) -> Body | None:
    scale = layer.scale(bucket.mag)
    if scale is None:
        return b""
    return services.bodies.get(_key(scale, bucket))


def _key(scale: Scale, bucket: Bucket) -> Key:
    return (scale.id, "wk", bucket.position, bucket.size, bucket.four_bit)


def _check_size(services: Services, layer: Layer, wanted: Sequence[Bucket]) -> None:
    voxels = length = 0
    for bucket in wanted:
        scale = layer.scale(bucket.mag)
        if scale is not None:
            voxels += services.reader.source_voxels(scale, bucket.box)
            length += bucket.box.voxels * layer.info.voxel_bytes
            services.reader.check(scale, voxels)
    if length > services.limits.unstreamed_bytes:
        raise TooLarge(
            f"the buckets have {length} bytes, the limit is {services.limits.unstreamed_bytes} "
            "(limits.unstreamed_bytes)"
        )


async def _read(services: Services, layer: Layer, wanted: Sequence[Bucket]) -> Mapping[Bucket, Body | BackendError]:
    sources: dict[Vec3, dict[Box, list[Bucket]]] = {}
    for bucket in wanted:
        sources.setdefault(bucket.mag, {}).setdefault(_read_for(layer, bucket), []).append(bucket)
    bodies: dict[Bucket, Body | BackendError] = {}
    for mag, members in sources.items():
        for boxes in _batches(services, layer, list(members)):
            arrays = await services.reader.read_all(layer, layer.scales[mag], boxes)
            for box, array in zip(boxes, arrays, strict=True):
                if isinstance(array, BackendError):
                    log.warning("%d buckets of layer %s failed: %s", len(members[box]), layer.info.name, array)
                    bodies |= dict.fromkeys(members[box], array)
                else:
                    bodies |= _cut(services, layer.scales[mag], box, array, members[box])
    return bodies


def _read_for(layer: Layer, bucket: Bucket) -> Box:
    """What is read for a bucket: the cube around it, if one chunk holds that, else its own box.

    What lies outside of the volume does not fail with a chunk at its edge.
    """
    scale = layer.scales[bucket.mag]
    level = layer.info.levels[scale.level]
    on_grid = all(n % CUBE == 0 for n in (*level.chunk_shape, *level.chunk_origin))
    cube = Box.at(multiply(divide_down(bucket.box.start, CUBE_SIZE), CUBE_SIZE), CUBE_SIZE)
    shared = on_grid and scale.stored and cube.contains(bucket.box) and bucket.box.intersect(scale.extent) is not None
    return cube if shared else bucket.box


def _batches(services: Services, layer: Layer, boxes: Sequence[Box]) -> Iterator[Sequence[Box]]:
    count = services.reader.batch(max(box.voxels for box in boxes) * layer.info.voxel_bytes)
    for start in range(0, len(boxes), count):
        yield boxes[start : start + count]


def _cut(services: Services, scale: Scale, box: Box, array: Array, members: Sequence[Bucket]) -> Mapping[Bucket, Body]:
    """Bodies of the buckets in a box that was read, those of the members and of all others that it holds."""
    bodies: dict[Bucket, Body] = {}
    for bucket in {**dict.fromkeys(members), **dict.fromkeys(_all_in(scale, box, members[0]))}:
        x, y, z = (slice(a - o, b - o) for a, b, o in zip(bucket.box.start, bucket.box.stop, box.start, strict=True))
        part = array[:, x, y, z]
        bodies[bucket] = voxel_body(part, four_bit_wanted=bucket.four_bit) if has_data(part) else b""
        services.bodies.put(_key(scale, bucket), bodies[bucket])
    return bodies


def _all_in(scale: Scale, box: Box, like: Bucket) -> Iterator[Bucket]:
    if like.size == BUCKET_SIZE:
        for z, y, x in product(*(range(a, b, BUCKET) for a, b in zip(box.start[::-1], box.stop[::-1], strict=True))):
            yield Bucket(multiply((x, y, z), scale.mag), like.mag, BUCKET_SIZE, like.four_bit)
