"""The voxels of one label: ``sparsevol`` and its relatives."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import IO

from wkdvid.codecs import payload
from wkdvid.codecs import sparse_volume as codec
from wkdvid.codecs.payload import Buffer
from wkdvid.codecs.sparse_volume import Mask
from wkdvid.core.geometry import Box
from wkdvid.core.label_index import pages
from wkdvid.core.limits import Limits
from wkdvid.core.sparse_volume import SparseVolume, within
from wkdvid.errors import InvalidRequest, TooLarge
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import Answer, Call, Handler, json_answer
from wkdvid.frontends.dvid.instances import VoxelInstance
from wkdvid.frontends.dvid.label_queries import ABSENT, EVERY, OF_VOXELS, gathered, index_of, label_of
from wkdvid.frontends.dvid.points import labels_at

COMPRESSIONS: Mapping[str, Callable[[Buffer], bytes]] = {"lz4": payload.lz4, "gzip": payload.gzip}
RUN_BYTES = 16
PIECE = 1 << 20
"""Bytes of runs that are sent at a time."""


async def sparsevol(call: Call[VoxelInstance]) -> Answer:
    scale, label = parse.scale_number(call.query), label_of(call, OF_VOXELS)
    if call.method == "HEAD":
        (voxels,) = (await index_of(call).sizes([label])).tolist()
        return Answer(status=200 if voxels else 204)
    return await _sparsevol(call, scale, label)


async def sparsevol_by_point(call: Call[VoxelInstance]) -> Answer:
    if not call.parts:
        raise InvalidRequest("ERROR: DVID requires coord to follow 'sparsevol-by-point' command")
    scale = parse.scale_number(call.query)
    index_of(call)
    source = parse.scale_of(call.query, call.instance.layer.halvings)
    (label,) = await labels_at(call.services, call.instance, source, [parse.voxel(call.parts[0])])
    if label == 0:
        raise InvalidRequest(OF_VOXELS)
    return await _sparsevol(call, scale, label)


async def _sparsevol(call: Call[VoxelInstance], scale: int, label: int) -> Answer:
    bounds, exact = parse.bounds(call.query), call.query.get("exact") != "false"
    index, layer, reader = index_of(call), call.instance.layer, call.services.reader
    if not 0 <= scale < len(layer.halvings):
        (voxels,) = (await index.sizes([label])).tolist()
        return Answer() if voxels else ABSENT
    volume = await SparseVolume.find(index, layer, scale, label, bounds, exact=exact)
    if not len(volume.blocks):
        return ABSENT
    volume.check(reader)
    form = call.query.get("format")
    if form == "srles":
        return Answer(parts=_srles(call, volume))
    return Answer(parts=_blocks(call, volume)) if form == "blocks" else await _rles(call, volume)


async def _srles(call: Call[VoxelInstance], volume: SparseVolume) -> AsyncIterator[bytes]:
    async for runs in volume.runs(call.services.reader):
        yield codec.srles(runs)


async def _blocks(call: Call[VoxelInstance], volume: SparseVolume) -> AsyncIterator[bytes]:
    """Nothing at all if there is no voxel."""
    side = volume.side
    before = codec.blocks_header((side, side, side), volume.label)
    async for batch in volume.masks(call.services.reader):
        if batch:
            yield before + await asyncio.to_thread(_block_records, volume, batch)
            before = b""


def _block_records(volume: SparseVolume, batch: Sequence[tuple[Box, Mask]]) -> bytes:
    return b"".join(codec.block(*volume.whole(box, mask)) for box, mask in batch)


async def _rles(call: Call[VoxelInstance], volume: SparseVolume) -> Answer:
    """Runs, and before them how many: all are found first, and wait in a file if they are many."""
    limits, compression = call.services.limits, call.query.get("compression", "")
    if compression and compression not in COMPRESSIONS:
        raise InvalidRequest(f'unknown compression type "{compression[:80]}"')
    with contextlib.ExitStack() as files:
        kept = files.enter_context(tempfile.SpooledTemporaryFile(limits.working_bytes // 4))
        async for runs in volume.runs(call.services.reader):
            await asyncio.to_thread(kept.write, codec.srles(runs))
            parse.check_payload(kept.tell(), limits)
        size = kept.tell()
        kept.seek(0)
        head = codec.rles_header(size // RUN_BYTES) if size else b""
        if compression and size:
            _check_whole(size, limits)
            return Answer(await asyncio.to_thread(COMPRESSIONS[compression], head + kept.read()))
        if size <= PIECE:
            return Answer(head + kept.read())
        files.pop_all()
    return Answer(parts=_sent(head, kept), length=len(head) + size)


def _check_whole(size: int, limits: Limits) -> None:
    if size > limits.unstreamed_bytes:
        raise TooLarge(
            f"{size} bytes of runs are not compressed as one, the limit is {limits.unstreamed_bytes}"
            " (limits.unstreamed_bytes)"
        )


async def _sent(head: bytes, kept: IO[bytes]) -> AsyncIterator[bytes]:
    with kept:
        yield head
        while piece := await asyncio.to_thread(kept.read, PIECE):
            yield piece


async def sparsevol_size(call: Call[VoxelInstance]) -> Answer:
    label = label_of(call, OF_VOXELS)
    index = index_of(call)
    entries = await index.entries(label)
    if not len(entries):
        return ABSENT
    low, high = entries.blocks.min(axis=0) * index.block, (entries.blocks.max(axis=0) + 1) * index.block - 1
    corners = {"minvoxel": low.tolist(), "maxvoxel": high.tolist()}
    return json_answer({"voxels": entries.voxels, "numblocks": len(entries), **corners})


async def sparsevol_coarse(call: Call[VoxelInstance]) -> Answer:
    label, bounds = label_of(call, OF_VOXELS), parse.bounds(call.query)
    index = index_of(call)
    entries = await index.entries(label)
    if not len(entries):
        return ABSENT
    blocks = within(entries.blocks, index.block, bounds)
    return Answer(await asyncio.to_thread(lambda: codec.rles(codec.coarse_runs(blocks))))


async def sparsevols_coarse(call: Call[VoxelInstance]) -> Answer:
    """Of all labels between two, both included, that have a block within the bounds."""
    if len(call.parts) < 2:
        raise InvalidRequest("DVID requires start and end label ID to follow 'sparsevols-coarse' command")
    first, last = (parse.label(part) for part in call.parts[:2])
    if first == 0 or last == 0:
        raise InvalidRequest(OF_VOXELS)
    bounds, index = parse.bounds(call.query), index_of(call)

    async def records() -> AsyncIterator[bytes]:
        async for labels, _ in pages(index, first, EVERY):
            for label in labels[labels <= last].tolist():
                blocks = within((await index.entries(label)).blocks, index.block, bounds)
                if len(blocks):
                    yield codec.coarse_record(label, codec.coarse_runs(blocks))
            if labels[-1] >= last:
                return

    return Answer(parts=gathered(records()))


HANDLERS: Mapping[str, Handler] = {
    "sparsevol": sparsevol,
    "sparsevol-by-point": sparsevol_by_point,
    "sparsevol-size": sparsevol_size,
    "sparsevol-coarse": sparsevol_coarse,
    "sparsevols-coarse": sparsevols_coarse,
}
