"""``raw``, ``isotropic`` and ``pseudocolor``: boxes and slices of any scale, for images and labels alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeAlias

from wkdvid.codecs import images
from wkdvid.core.body_cache import Body
from wkdvid.core.geometry import Box
from wkdvid.core.pyramid import Scale
from wkdvid.core.reading import slabs
from wkdvid.core.regions import Spans, mask
from wkdvid.core.volume import Array
from wkdvid.errors import TooLarge, UnsupportedRequest
from wkdvid.frontends.dvid import parse, wire
from wkdvid.frontends.dvid.calls import OCTETS, Answer, Call, keep, ready
from wkdvid.frontends.dvid.instances import VoxelInstance
from wkdvid.frontends.dvid.parse import Region
from wkdvid.frontends.dvid.roi import region_of

ReadBox: TypeAlias = Callable[[Box], Awaitable[Array]]

CACHED_BYTES = 1 << 20
"""Bodies up to this size are kept ready; larger ones come from the pool of decoded chunks as fast as they are sent."""
SLAB_BYTES = 2 << 20
"""Boxes above this size are sent in pieces: a piece is sent while it is still in the processor's caches."""
SLAB_DEPTH = 32
"""Pieces end at multiples of this many voxels along z where they can, so that few chunks are read twice."""
LARGEST_JPEG_SIDE = 65500
"""Pixels, of libjpeg."""


async def raw(call: Call[VoxelInstance], scale: Scale, region: Region, compression: str = "") -> Answer:
    """
    Args:
        compression: A name in ``wire.LABEL_VOLUMES``, or nothing.
    Raises:
        InvalidRequest, UnsupportedRequest: in DVID's words.
        TooLarge: more bytes or voxels than one request may have.
        BackendError: it could not be read.
    """
    _refuse(call, scale, region)
    spans = await region_of(call) if "roi" in call.query else None
    media_type = _media_type(region)
    way = call.endpoint if region.is_slice else "raw"
    key = (scale.id, way, region.axes, region.box.start, region.box.stop, region.format, compression)
    headers = {"Content-Encoding": "gzip"} if compression == "googlegzip" else None
    body = ready(call.services, call.instance.layer, key) if spans is None else None
    call.services.bodies.looked_up(body is not None, body is None)
    if body is not None:
        return Answer(body, media_type, headers=headers)
    _check(call, scale, region, compression)
    length = region.box.voxels * call.instance.voxel_bytes
    whole_bytes = min(SLAB_BYTES, call.services.limits.working_bytes // 2)
    read = partial(_read, call, scale, spans)
    if media_type == OCTETS and not compression and length > whole_bytes:
        return Answer(parts=_slabs(call, read, scale, region), length=length)
    body = await _whole(call, read, scale, region, compression)
    if len(body) <= CACHED_BYTES and spans is None:
        keep(call.services, call.instance.layer, key, body)
    return Answer(body, media_type, headers=headers)


def _media_type(region: Region) -> str:
    if region.is_slice:
        return images.parse_format(region.format).media_type
    return "image/jpeg" if region.format else OCTETS


def _refuse(call: Call[VoxelInstance], scale: Scale, region: Region) -> None:
    """What is not offered, whatever is in the cache."""
    if call.query.get("roi") and scale.mag != call.instance.layer.halvings[call.instance.level].mag:
        raise UnsupportedRequest("roi= is offered at scale 0 only")


def _check(call: Call[VoxelInstance], scale: Scale, region: Region, compression: str) -> None:
    services, box = call.services, region.box
    length = box.voxels * call.instance.voxel_bytes
    parse.check_payload(length, services.limits)
    if _media_type(region) == "image/jpeg" and max(_image_size(region)) > LARGEST_JPEG_SIDE:
        raise UnsupportedRequest("jpeg: image is too large to encode")
    is_encoded = compression or _media_type(region) != OCTETS
    if is_encoded and length > services.limits.unstreamed_bytes:
        raise TooLarge(
            f"the box has {length} bytes, images and compressed answers may have {services.limits.unstreamed_bytes} "
            "(limits.unstreamed_bytes)"
        )
    services.reader.check(scale, services.reader.source_voxels(scale, box))


def _image_size(region: Region) -> tuple[int, int]:
    """Width and height; slices of a volume lie below each other."""
    size = region.box.size
    return (size[region.axes[0]], size[region.axes[1]]) if region.is_slice else (size[0], size[1] * size[2])


def _box_to_read(call: Call[VoxelInstance], scale: Scale, region: Region) -> Box:
    """Of an isotropic slice across voxels of unequal sides fewer along the longer one: its image is stretched."""
    box = region.box
    if call.endpoint != "isotropic" or not region.is_slice:
        return box
    sides, size = call.instance.voxel_sides(scale), list(box.size)
    finest = min(sides[axis] for axis in region.axes)
    for axis in region.axes:
        size[axis] = max(round(size[axis] * finest / sides[axis]), 1)
    return Box.at(box.start, (size[0], size[1], size[2]))


async def _read(call: Call[VoxelInstance], scale: Scale, spans: Spans | None, box: Box) -> Array:
    """What is not inside the region of interest, if there is one, is 0."""
    array = await call.services.reader.read(call.instance.layer, scale, box)
    if spans is None:
        return array
    return await call.services.apart(_masked, array, spans, call.instance.block, box)


def _masked(array: Array, spans: Spans, block: int, box: Box) -> Array:
    """By whole blocks in the grid of the image itself, whatever the region's block size is, as DVID does."""
    out = array.copy(order="F")
    out[:, ~mask(spans, (block, block, block), box)] = 0
    return out


async def _whole(call: Call[VoxelInstance], read: ReadBox, scale: Scale, region: Region, compression: str) -> Body:
    box = _box_to_read(call, scale, region)
    array = await _as_sent(call, scale, box, await read(box))
    if region.is_slice:
        return await call.services.apart(_drawn, array, region, call.endpoint == "pseudocolor")
    if compression or region.format:
        return await call.services.apart(_encoded, array, compression)
    return wire.buffer(array)


async def _as_sent(call: Call[VoxelInstance], scale: Scale, box: Box, array: Array) -> Array:
    if call.instance.voxel_bytes == call.instance.layer.info.voxel_bytes:
        return array
    return await call.services.apart(wire.as_sent, array, call.instance.typename, box, scale.extent)


def _drawn(sent: Array, region: Region, colored: bool) -> bytes:
    return wire.slice_image(sent, region.axes, _image_size(region), images.parse_format(region.format), colored=colored)


def _encoded(sent: Array, compression: str) -> bytes:
    return bytes(wire.LABEL_VOLUMES[compression](sent)) if compression else wire.tall_jpeg(sent)


async def _slabs(call: Call[VoxelInstance], read: ReadBox, scale: Scale, region: Region) -> AsyncIterator[Body]:
    """The body in pieces that follow each other along z."""
    instance, (width, height, _) = call.instance, region.box.size
    wanted = max(SLAB_BYTES, width * height * instance.voxel_bytes * SLAB_DEPTH)
    slab_bytes = min(wanted, call.services.limits.working_bytes // 4)
    for slab in slabs(region.box, instance.voxel_bytes, slab_bytes, SLAB_DEPTH):
        yield wire.buffer(await _as_sent(call, scale, slab, await read(slab)))
