"""Reading buckets: each from the cache or from the volume, each failing alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wkdvid.codecs import four_bit
from wkdvid.core.catalog import Layer
from wkdvid.core.concurrent import for_each
from wkdvid.core.services import Services
from wkdvid.core.volume import Array
from wkdvid.errors import BackendError, TooLarge
from wkdvid.frontends.webknossos.parse import BucketRequest

log = logging.getLogger("wkdvid.webknossos")


@dataclass(frozen=True, slots=True)
class Buckets:
    """What a batch came to."""

    bodies: Sequence[bytes]
    """Of the buckets that hold data, in the order of the request."""
    empty: Sequence[int]
    failed: Sequence[int]

    @property
    def length(self) -> int:
        return sum(map(len, self.bodies))


async def read_buckets(services: Services, layer: Layer, requests: Sequence[BucketRequest]) -> Buckets:
    """Read a batch. A bucket that is all zero, outside, or of an unknown mag is empty; one that cannot be read failed.

    Raises:
        TooLarge: the batch needs more voxels than a request may read.
    """
    bodies = [_from_cache(services, layer, request) for request in requests]
    missing = [i for i, body in enumerate(bodies) if body is None]
    if missing:
        _check_size(services, layer, requests)
        found = await for_each(lambda i: _read(services, layer, requests[i]), missing)
        for i, body in zip(missing, found, strict=True):
            bodies[i] = body
    return Buckets(
        [body for body in bodies if body],
        [i for i, body in enumerate(bodies) if body is not None and not body],
        [i for i, body in enumerate(bodies) if body is None],
    )


def _from_cache(services: Services, layer: Layer, request: BucketRequest) -> bytes | None:
    scale = layer.scales.get(request.mag)
    if scale is None:
        return b""
    return services.bodies.get((scale.id, "wk", request.position, request.size, request.four_bit))


def _check_size(services: Services, layer: Layer, requests: Sequence[BucketRequest]) -> None:
    voxels = length = 0
    for request in requests:
        scale = layer.scales.get(request.mag)
        if scale is not None:
            voxels += services.reader.source_voxels(scale, request.box)
            length += request.box.voxels * layer.info.voxel_bytes
            services.reader.check(scale, voxels)
    if length > services.limits.unstreamed_bytes:
        raise TooLarge(
            f"the buckets have {length} bytes, the limit is {services.limits.unstreamed_bytes} "
            "(limits.unstreamed_bytes)"
        )


async def _read(services: Services, layer: Layer, request: BucketRequest) -> bytes | None:
    """The bucket's body, empty if it is all zero; None if it could not be read."""
    scale = layer.scales[request.mag]
    try:
        array = await services.reader.read(layer, scale, request.box)
    except BackendError as error:
        log.warning("bucket %s of mag %s of layer %s: %s", request.position, request.mag, layer.info.name, error)
        return None
    body = bucket_body(array, four_bit_wanted=request.four_bit)
    services.bodies.put((scale.id, "wk", request.position, request.size, request.four_bit), body)
    return body


def bucket_body(array: Array, *, four_bit_wanted: bool) -> bytes:
    """A bucket as it is sent: x fastest, channels interleaved; empty if every voxel is zero.

    Args:
        array: (c, x, y, z), Fortran-contiguous.
        four_bit_wanted: Two voxels a byte; honoured for 8-bit channels, as the browser asks for no others.
    """
    if not np.any(array):
        return b""
    body = array.tobytes("F")
    return four_bit.pack(body) if four_bit_wanted and array.itemsize == 1 else body
