"""Blocks of voxels, of 64 x 64 x 64 whatever a source's chunks are: from the cache, or read and encoded.

A record is a header of 16 bytes and the payload, kept in the cache of bodies as one. It is empty where every voxel is
zero: clients take a block that is left out as zeros.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from wkdvid.codecs import jpeg
from wkdvid.codecs.payload import Buffer
from wkdvid.core.body_cache import Body, Key
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3, divide_down, multiply, volume_of
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.services import Services
from wkdvid.core.volume import Array, StoresChunks, TellsAbsence, has_data
from wkdvid.errors import BackendError
from wkdvid.frontends.dvid import parse, wire
from wkdvid.frontends.dvid.calls import Answer, keep, ready
from wkdvid.frontends.dvid.instances import VoxelInstance

Result = TypeVar("Result")

SENT_ALONE = 1 << 17
"""Bytes of a record from which on it is sent by itself."""
COPIED = frozenset({"none", "uncompressed"})
"""Encodings that are a copy of the array: a hop to another thread would cost more."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one scale in one encoding."""

    services: Services
    instance: VoxelInstance
    scale: Scale
    encoding: str
    encode: wire.Encode

    @property
    def layer(self) -> Layer:
        return self.instance.layer

    @property
    def shape(self) -> Vec3:
        side = self.instance.block
        return (side, side, side)

    @property
    def decoded_bytes(self) -> int:
        """Of one block, as it is sent without compression."""
        return volume_of(self.shape) * self.instance.voxel_bytes

    def box(self, index: Vec3) -> Box:
        return Box.at(multiply(index, self.shape), self.shape)

    def as_sent(self, array: Array, box: Box) -> Array:
        return wire.as_sent(array, self.instance.typename, box, self.scale.extent)

    @property
    def stored_chunks(self) -> StoresChunks | None:
        """The volume, if what it stores is what is asked for, on the same grid."""
        info = self.layer.info
        level = info.levels[self.scale.level]
        if not (self.encoding == level.encoding == "jpeg" and info.num_channels == 1 and not info.fill_value):
            return None
        on_grid = level.chunk_shape == self.shape and all(n % self.instance.block == 0 for n in level.chunk_origin)
        return self.layer.chunks if on_grid and self.scale.stored else None


async def answer(blocks: Blocks, indices: Sequence[Vec3]) -> Answer:
    """The records of the blocks that are not empty, in the order of ``indices``.

    Raises:
        TooLarge: the blocks have more bytes or voxels than one request may have.
        BackendError: a block could not be read.
    """
    records = cached(blocks, indices)
    if records is not None and sum(map(len, records)) <= blocks.services.limits.working_bytes:
        return _whole(records)
    _check_size(blocks, indices)
    batches = list(_batches(blocks, indices))
    if len(batches) == 1:
        return _whole(await read_records(blocks, indices))
    return Answer(parts=_stream(blocks, batches))


def _whole(records: Sequence[Body]) -> Answer:
    pieces = _pieces(records)
    return Answer(pieces[0]) if len(pieces) == 1 else Answer(parts=_each(pieces), length=sum(map(len, pieces)))


def _pieces(records: Sequence[Body]) -> Sequence[Body]:
    """Large records as they are, since joining them takes as long as sending them; small ones as one."""
    if len(records) == 1:
        return records
    if sum(map(len, records)) <= len(records) * SENT_ALONE:
        return (b"".join(records),)
    return [record for record in records if record]


async def _each(pieces: Sequence[Body]) -> AsyncIterator[Body]:
    for piece in pieces:
        yield piece


def cached(blocks: Blocks, indices: Sequence[Vec3]) -> list[Body] | None:
    """All records, if every one is in the cache: the warm path."""
    if not blocks.layer.lasting:
        return None
    get = blocks.services.bodies.get
    scale_id, encoding = blocks.scale.id, blocks.encoding
    records: list[Body] = []
    for index in indices:
        found = get((scale_id, encoding, index))
        if found is None:
            return None
        records.append(found)
    blocks.services.bodies.looked_up(len(records), 0)
    return records


def _check_size(blocks: Blocks, indices: Sequence[Vec3]) -> None:
    services = blocks.services
    if blocks.encoding in COPIED:
        parse.check_payload(len(indices) * (blocks.decoded_bytes + 16), services.limits)
    voxels = sum(services.reader.source_voxels(blocks.scale, blocks.box(index)) for index in indices)
    services.reader.check(blocks.scale, voxels)


def _batches(blocks: Blocks, indices: Sequence[Vec3]) -> Iterator[Sequence[Vec3]]:
    """Cut the indices so that what is held of one batch stays within half the working memory, encoded or not."""
    count = blocks.services.reader.batch(blocks.decoded_bytes)
    for start in range(0, len(indices), count):
        yield indices[start : start + count]


async def _stream(blocks: Blocks, batches: Sequence[Sequence[Vec3]]) -> AsyncIterator[Body]:
    for batch in batches:
        for piece in _pieces(await read_records(blocks, batch)):
            yield piece


async def read_records(blocks: Blocks, indices: Sequence[Vec3]) -> list[Body]:
    """One record per index.

    Raises:
        BackendError: the first of what could not be read.
    """
    records = {index: ready(blocks.services, blocks.layer, _key(blocks, index)) for index in indices}
    missing = [index for index, record in records.items() if record is None]
    blocks.services.bodies.looked_up(len(records) - len(missing), len(missing))
    with one_deadline():
        payloads = await _payloads(blocks, missing)
    for index, data in zip(missing, payloads, strict=True):
        records[index] = record = wire.record(index, data) if len(data) else b""
        keep(blocks.services, blocks.layer, _key(blocks, index), record)
    return [records[index] or b"" for index in indices]


def _key(blocks: Blocks, index: Vec3) -> Key:
    return (blocks.scale.id, blocks.encoding, index)


async def _payloads(blocks: Blocks, indices: Sequence[Vec3]) -> Sequence[Buffer]:
    """Encoded voxels of each block; nothing if all are zero."""
    found: dict[Vec3, Buffer] = {}
    source, extent = blocks.stored_chunks, blocks.layer.info.levels[blocks.scale.level].extent
    if source is not None:
        whole = [index for index in indices if extent.contains(blocks.box(index))]
        chunks = await source.stored_chunks(blocks.scale.level, [_chunk(blocks, index) for index in whole])
        stored = {index: _good(data) or b"" for index, data in zip(whole, chunks, strict=True)}
        # What only looks like a block is read as any other: that tells whether it can be decoded.
        found = {index: data for index, data in stored.items() if not data or jpeg.is_block(data, blocks.shape)}
    rest = [i for i in indices if i not in found and blocks.box(i).intersect(blocks.scale.extent) is not None]
    if rest:
        arrays = await blocks.services.reader.read_all(
            blocks.layer, blocks.scale, [blocks.box(index) for index in rest]
        )
        found |= zip(
            rest,
            await _encoded_all(blocks, [(i, _good(array)) for i, array in zip(rest, arrays, strict=True)]),
            strict=True,
        )
    return [found.get(index, b"") for index in indices]


def _good(found: Result | BackendError) -> Result:
    if isinstance(found, BackendError):
        raise found
    return found


def _chunk(blocks: Blocks, index: Vec3) -> Vec3:
    """Index of the stored chunk that a block is."""
    origin = divide_down(blocks.layer.info.levels[blocks.scale.level].chunk_origin, blocks.shape)
    return (index[0] - origin[0], index[1] - origin[1], index[2] - origin[2])


async def _encoded_all(blocks: Blocks, found: Sequence[tuple[Vec3, Array]]) -> Sequence[Buffer]:
    if blocks.encoding in COPIED:
        return [_encoded(blocks, index, array) for index, array in found]
    loop, executor = asyncio.get_running_loop(), blocks.services.executor
    return await asyncio.gather(*(loop.run_in_executor(executor, _encoded, blocks, *one) for one in found))


def _encoded(blocks: Blocks, index: Vec3, array: Array) -> Buffer:
    return blocks.encode(blocks.as_sent(array, blocks.box(index))) if has_data(array) else b""


async def one_block(blocks: Blocks, index: Vec3) -> Answer:
    """The record of one block, zeros if it is empty: Neuroglancer cannot read an answer without a record."""
    _check_size(blocks, [index])
    (record,) = await read_records(blocks, [index])
    return Answer(record) if record else await one_box(blocks, blocks.box(index), index)


async def one_box(blocks: Blocks, box: Box, index: Vec3) -> Answer:
    """A record of any box that is small enough, even if it is all zero."""
    key = (blocks.scale.id, blocks.encoding, box)
    body = ready(blocks.services, blocks.layer, key)
    blocks.services.bodies.looked_up(body is not None, body is None)
    if body is None:
        services = blocks.services
        services.reader.check(blocks.scale, services.reader.source_voxels(blocks.scale, box))
        array = await services.reader.read(blocks.layer, blocks.scale, box)
        data = await services.apart(blocks.encode, blocks.as_sent(array, box))
        body = wire.record(index, data)
        keep(services, blocks.layer, key, body)
    return Answer(body)


async def span_answer(blocks: Blocks, indices: Sequence[Vec3]) -> Answer:
    """Voxels of each block after the other, without headers; the background for a block that was never written.

    Raises:
        TooLarge, BackendError: as ``answer``.
    """
    _check_size(blocks, indices)
    length = len(indices) * blocks.decoded_bytes
    return Answer(parts=_voxels(blocks, indices), length=length)


async def _voxels(blocks: Blocks, indices: Sequence[Vec3]) -> AsyncIterator[memoryview]:
    zeros = memoryview(bytes(blocks.decoded_bytes))
    background = memoryview(bytes([blocks.instance.background]) * blocks.decoded_bytes)
    for batch in _batches(blocks, indices):
        records = await read_records(blocks, batch)
        empty = [index for index, record in zip(batch, records, strict=True) if not record]
        unwritten = await _never_written(blocks, empty) if blocks.instance.background else ()
        for index, record in zip(batch, records, strict=True):
            yield memoryview(record)[16:] if record else (background if index in unwritten else zeros)


async def _never_written(blocks: Blocks, indices: Sequence[Vec3]) -> Collection[Vec3]:
    volume, extent = blocks.layer.volume, blocks.scale.extent
    if not isinstance(volume, TellsAbsence):
        return ()
    outside = [index for index in indices if not extent.contains(blocks.box(index))]
    inside = [index for index in indices if extent.contains(blocks.box(index))]
    absent = await volume.never_written(blocks.scale.level, [blocks.box(index) for index in inside])
    return {*outside, *itertools.compress(inside, absent)}
