"""Questions about labels that are answered from the label index: which there are, how large, in which blocks."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping

import numpy as np
import orjson

from wkdvid.codecs import label_index_protobuf, payload
from wkdvid.core.label_index import Entries, LabelIndex, pages
from wkdvid.errors import InvalidRequest, NotFound, UnsupportedRequest
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import JSON, Answer, Call, Handler, json_answer
from wkdvid.frontends.dvid.instances import VoxelInstance

MOST_LISTED = 10_000_000
"""Labels of one ``listlabels``."""
_MOST = str(MOST_LISTED)
EVERY = 1 << 64
"""More labels than there can be."""
SENT_TOGETHER = 1 << 16
"""Bytes from which on records are sent."""
ABSENT = Answer(status=404)
_SERIALIZED = b"\x80"
"""Before a value as DVID serializes it: compressed by LZ4, without a check sum."""
_PROTECTED = "Label 0 is protected background value and cannot be"
OF_A_BODY = f"{_PROTECTED} queried as body.\n"
OF_VOXELS = f"{_PROTECTED} used as sparse volume.\n"
OF_AN_INDEX = "there is no index for protected label 0"


def label_of(call: Call[VoxelInstance], about_zero: str) -> int:
    """The label that a path names.

    Args:
        about_zero: What is said of label 0.
    Raises:
        InvalidRequest: it is 0, or none.
    """
    if not call.parts:
        raise InvalidRequest(f"ERROR: DVID requires label ID to follow '{call.endpoint}' command")
    label = parse.label(call.parts[0])
    if label == 0:
        raise InvalidRequest(about_zero)
    return label


def index_of(call: Call[VoxelInstance]) -> LabelIndex:
    """
    Raises:
        UnsupportedRequest: there is none.
    """
    index = call.instance.index
    if index is None:
        raise UnsupportedRequest(
            f'data "{call.instance.name}" is not label indexed (IndexedLabels=false): '
            f'"{call.endpoint}" endpoint is not supported'
        )
    return index


async def gathered(records: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Small records sent together."""
    held: list[bytes] = []
    size = 0
    async for record in records:
        held.append(record)
        size += len(record)
        if size >= SENT_TOGETHER:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


# ---- sizes --------------------------------------------------------------------------------------------------------


def _about_a_body(describe: Callable[[int, int], object]) -> Handler:
    """An endpoint that says something of a label, from the label and its voxels."""

    async def answer(call: Call[VoxelInstance]) -> Answer:
        label = label_of(call, OF_A_BODY)
        (voxels,) = (await index_of(call).sizes([label])).tolist()
        return json_answer(describe(label, voxels)) if voxels else ABSENT

    return answer


async def sizes(call: Call[VoxelInstance]) -> Answer:
    index = index_of(call)
    labels = await asyncio.to_thread(parse.labels, call.body, call.query, call.endpoint)
    return json_answer((await index.sizes(labels)).tolist())


async def mapping(call: Call[VoxelInstance]) -> Answer:
    """Every supervoxel is its own body, but those that the index knows not to be there."""
    labels = await asyncio.to_thread(parse.labels, call.body, call.query, call.endpoint)
    index = call.instance.index
    if index is None or call.query.get("nolookup") == "true":
        return json_answer(labels)
    known = await index.sizes(labels) > 0
    return json_answer(np.where(known, np.array(labels, np.uint64), 0).tolist())


# ---- lists --------------------------------------------------------------------------------------------------------


async def maxlabel(call: Call[VoxelInstance]) -> Answer:
    return json_answer({"maxlabel": _largest(call)})


async def nextlabel(call: Call[VoxelInstance]) -> Answer:
    following = _largest(call) + 1
    if following == EVERY:
        raise UnsupportedRequest(f"there is no label after {following - 1}, the largest of 64 bits")
    return json_answer({"nextlabel": following})


def _largest(call: Call[VoxelInstance]) -> int:
    largest = call.instance.max_label if call.instance.data is None else index_of(call).max_label
    if largest is None:
        raise NotFound(f"No maximum label found for {call.instance.name} version {call.instance.node.version}\n")
    return largest


async def listlabels(call: Call[VoxelInstance]) -> Answer:
    start, number = parse.label(call.query.get("start") or "0"), parse.label(call.query.get("number") or _MOST)
    with_sizes, index = call.query.get("sizes") == "true", index_of(call)

    async def parts() -> AsyncIterator[bytes]:
        async for labels, voxels in pages(index, start, min(number, MOST_LISTED)):
            yield (np.stack([labels, voxels], axis=1) if with_sizes else labels).astype("<u8").tobytes()

    return Answer(parts=parts())


async def existing_labels(call: Call[VoxelInstance]) -> Answer:
    index = index_of(call)

    async def parts() -> AsyncIterator[bytes]:
        before = b"["
        async for labels, _ in pages(index, 0, EVERY):
            yield before + orjson.dumps(labels, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
            before = b","
        yield b"]" if before == b"," else b"[]"

    return Answer(content_type=JSON, parts=parts())


# ---- indices ------------------------------------------------------------------------------------------------------


async def index(call: Call[VoxelInstance]) -> Answer:
    label = label_of(call, OF_AN_INDEX)
    entries = await index_of(call).entries(label)
    if not len(entries):
        return ABSENT
    if call.query.get("metadata-only") == "true":
        told = {"num_voxels": entries.voxels, "last_mutid": 0}
        return json_answer({**told, "last_mod_time": "", "last_mod_user": "", "last_mod_app": ""})
    return Answer(await asyncio.to_thread(_message, label, entries))


def _message(label: int, entries: Entries) -> bytes:
    return label_index_protobuf.label_index(label, entries.blocks, entries.counts)


def _recorded(record: Callable[[int, bytes], bytes], label: int, entries: Entries) -> bytes:
    return record(label, _message(label, entries))


async def indices(call: Call[VoxelInstance]) -> Answer:
    """One LabelIndices message: its members follow each other."""
    return await _indices(call, lambda label, message: label_index_protobuf.indices_member(message))


async def indices_compressed(call: Call[VoxelInstance]) -> Answer:
    return await _indices(call, _compressed)


def _compressed(label: int, message: bytes) -> bytes:
    packed = _SERIALIZED + payload.lz4_sized(message)
    return struct.pack("<QQ", len(packed), label) + packed


async def _indices(call: Call[VoxelInstance], record: Callable[[int, bytes], bytes]) -> Answer:
    labels = await asyncio.to_thread(parse.labels, call.body, call.query, call.endpoint)
    index = index_of(call)

    async def records() -> AsyncIterator[bytes]:
        for label in labels:
            yield await asyncio.to_thread(_recorded, record, label, await index.entries(label))

    return Answer(parts=gathered(records()))


HANDLERS: Mapping[str, Handler] = {
    "size": _about_a_body(lambda label, voxels: {"voxels": voxels}),
    "supervoxels": _about_a_body(lambda label, voxels: [label]),
    "supervoxel-sizes": _about_a_body(lambda label, voxels: {"supervoxels": [label], "sizes": [voxels]}),
    "lastmod": _about_a_body(
        lambda label, voxels: {"mutation id": 0, "last mod user": "", "last mod app": "", "last mod time": ""}
    ),
    "sizes": sizes,
    "mapping": mapping,
    "maxlabel": maxlabel,
    "nextlabel": nextlabel,
    "listlabels": listlabels,
    "existing-labels": existing_labels,
    "index": index,
    "indices": indices,
    "indices-compressed": indices_compressed,
}
