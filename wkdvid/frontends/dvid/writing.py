"""POST of voxels: boxes, blocks along x, and streams of label blocks (dvid.md D1). The texts are DVID's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from wkdvid.codecs import block_stream, label_block, payload
from wkdvid.codecs.payload import Buffer
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.repositories import DataInstance
from wkdvid.core.volume import Array
from wkdvid.core.written_volumes import VoxelSettings
from wkdvid.errors import CorruptChunk, InvalidRequest, TooLarge
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import Answer, Call
from wkdvid.frontends.dvid.instances import VoxelInstance

BATCH_BYTES = 32 << 20
"""So many bytes of decoded label blocks are held at a time."""
LABEL_BLOCK_HEAD = 1024
LABEL_BLOCK_VOXEL_BYTES = 16
"""A label block has fewer bytes a voxel even if no two of its labels are equal."""


async def post_image(call: Call[VoxelInstance]) -> Answer:
    """``raw/0_1_2/<size>/<offset>``."""
    box = _box(call, "Illegal", "store voxels")
    length = box.voxels * call.instance.voxel_bytes
    if len(call.body) != length:
        raise InvalidRequest(
            f"voxels data was {len(call.body)} bytes, expected {length} bytes for 3d volume {parse.shown(box.size)}"
            f" at offset {parse.shown(box.start)}"
        )
    return await _write(call, box, call.body)


async def post_labels(call: Call[VoxelInstance]) -> Answer:
    """As ``post_image``, with ``compression=lz4`` or ``gzip``. Labels are replaced with or without ``mutate=true``."""
    name = call.instance.name
    box = _box(call, "illegal", f'store labels for data "{name}"')
    length = box.voxels * call.instance.voxel_bytes
    if length > call.services.limits.unstreamed_bytes:
        limit = call.services.limits.unstreamed_bytes
        raise TooLarge(f"the box has {length} bytes, the limit is {limit} (limits.unstreamed_bytes)")
    voxels = await call.services.apart(_inflated, call.body, call.query.get("compression", ""), length)
    if len(voxels) != length:
        raise InvalidRequest(
            f'expected {length} bytes for data "{name}" label PUT but only received {len(voxels)} bytes'
        )
    return await _write(call, box, voxels)


def _box(call: Call[VoxelInstance], illegal: str, store: str) -> Box:
    """
    Args:
        store: What is to be done, as DVID's text has it.
    """
    region = parse.region(call.endpoint, call.parts, illegal)
    if region.is_slice:
        raise InvalidRequest("DVID does not permit 2d mutations, only 3d block-aligned stores")
    parse.refuse_roi(call.query)
    box, settings = region.box, VoxelSettings.of(_data(call))
    if not settings.relaxed and not parse.is_aligned(box, settings.block):
        last = (box.stop[0] - 1, box.stop[1] - 1, box.stop[2] - 1)
        raise InvalidRequest(
            f"cannot {store} in non-block aligned geometry {parse.shown(box.start)} -> {parse.shown(last)}"
        )
    sides = (settings.block,) * 3
    parse.check_count(box.scaled_down((sides[0], sides[1], sides[2])).voxels, call.services.limits)
    return box


def _inflated(body: bytes, compression: str, length: int) -> Buffer:
    """
    Args:
        length: More is not inflated.
    """
    try:
        if compression == "lz4":
            return payload.unlz4(body, length)
        if compression == "gzip":
            return payload.gunzip(body, length)
    except CorruptChunk as error:
        raise InvalidRequest(str(error)) from error
    if compression:
        raise InvalidRequest(f'unknown compression type "{compression[:80]}"')
    return body


async def _write(call: Call[VoxelInstance], box: Box, voxels: Buffer) -> Answer:
    data = _data(call)
    await call.services.volumes.write(
        call.instance.repository, call.instance.node, data, box, _array(voxels, VoxelSettings.of(data), box.size)
    )
    return Answer()


def _array(voxels: Buffer, settings: VoxelSettings, size: Vec3) -> Array:
    """Bytes as they are sent, x fastest and channels interleaved, as an array (c, x, y, z)."""
    return np.frombuffer(voxels, settings.dtype).reshape((settings.num_channels, *size), order="F")


async def post_span(call: Call[VoxelInstance]) -> Answer:
    """``blocks/<bx_by_bz>/<spanX>``: voxels of blocks that follow each other along x. The extent stays, as in DVID."""
    data, indices = _data(call), parse.span(call.parts, call.services.limits)
    settings = VoxelSettings.of(data)
    sides = (settings.block, settings.block, settings.block)
    length = settings.block**3 * settings.voxel_bytes
    if len(call.body) != len(indices) * length:
        raise InvalidRequest(
            f"voxels data was {len(call.body)} bytes, expected {len(indices) * length} bytes for {len(indices)} blocks"
        )
    body = memoryview(call.body)
    blocks = {index: _array(body[i * length : (i + 1) * length], settings, sides) for i, index in enumerate(indices)}
    await call.services.volumes.write_blocks(
        call.instance.repository, call.instance.node, data, 0, blocks, lower=False, extend=False
    )
    return Answer()


async def post_label_blocks(call: Call[VoxelInstance]) -> Answer:
    """``blocks?scale=&downres=``: a stream of gzipped label blocks, stored batch by batch."""
    scale = call.instance.layer.halvings.index(parse.scale_of(call.query, call.instance.layer.halvings))
    lower = call.query.get("downres") == "true"
    if lower and scale:
        raise InvalidRequest("cannot downscale blocks of scale > 0")
    if call.query.get("compression") not in {None, "", "blocks"}:
        raise InvalidRequest('compression must be "blocks" (default) at this time')
    records = list(block_stream.iter_records(call.body))
    parse.check_count(len(records), call.services.limits)
    block, data = call.instance.block, _data(call)
    count = max(BATCH_BYTES // (block**3 * call.instance.voxel_bytes), 1)
    for start in range(0, len(records), count):
        blocks = await _decoded(call, records[start : start + count])
        await call.services.volumes.write_blocks(
            call.instance.repository, call.instance.node, data, scale, blocks, lower=lower, extend=scale == 0
        )
    return Answer()


async def _decoded(call: Call[VoxelInstance], records: Sequence[tuple[Vec3, memoryview]]) -> dict[Vec3, Array]:
    """Label blocks (1, x, y, z) by their indices; of those that come twice the last."""
    apart = call.services.apart
    arrays = await asyncio.gather(*(apart(_label_array, index, data, call.instance.block) for index, data in records))
    return {index: array for (index, _), array in zip(records, arrays, strict=True)}


def _label_array(index: Vec3, data: memoryview, block: int) -> Array:
    try:
        inflated = payload.gunzip(data, block**3 * LABEL_BLOCK_VOXEL_BYTES + LABEL_BLOCK_HEAD)
        return label_block.decode(inflated, (block, block, block))[None]
    except CorruptChunk as error:
        raise InvalidRequest(f"block {parse.shown(index)}: {error}") from error


def _data(call: Call[VoxelInstance]) -> DataInstance:
    data = call.instance.data
    if data is None:
        raise TypeError("the node of a registered dataset is locked, so no voxels are written to it")
    return data
