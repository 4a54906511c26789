"""The endpoints of regions of interest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from wkdvid.core.body_cache import Body
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.reading import slabs
from wkdvid.core.regions import Spans, contains, mask, partition, sorted_spans, spans_of
from wkdvid.core.stored_values import StoredValues
from wkdvid.errors import InvalidRequest, TooLarge
from wkdvid.frontends.dvid import documents, parse
from wkdvid.frontends.dvid.calls import JSON, TEXT, Answer, Call, Endpoints, json_answer
from wkdvid.frontends.dvid.documents import roi_block
from wkdvid.frontends.dvid.instances import Instance, StoredInstance
from wkdvid.frontends.dvid.made import COMMON

SPANS = "spans"
"""The key under which a region's spans are stored."""
MOST_SPANS = 1 << 20
SENT_SPANS = 10_000
"""As JSON at a time."""
SLAB_VOXELS = 2 << 20
ATTENUATIONS = range(1, 8)
HELP = """\
{name}: a region of interest, in blocks of {block} voxels. Below /api/node/<uuid>/{name}/

    roi                                  GET, POST (replaces all), DELETE: [[z, y, x0, x1], ...], x1 included
    mask/0_1_2/<size>/<offset>           GET: a byte 0 or 1 for each voxel, x fastest
    ptquery                              POST [[x, y, z], ...]: [true, ...]
    partition?batchsize=8[&optimized=true]  GET: boxes that cover the region
    info | help

raw of images and labels takes roi={name}: zeros outside, by whole blocks of their own size.
"""


async def help_text(call: Call[StoredInstance]) -> Answer:
    block = " x ".join(map(str, _block(call)))
    return Answer(HELP.format(name=call.instance.name, block=block).encode(), TEXT)


# ---- the spans ----------------------------------------------------------------------------------------------------


async def get_spans(call: Call[StoredInstance]) -> Answer:
    spans = await _spans(call.instance.stored)

    async def parts() -> AsyncIterator[Body]:
        for start in range(0, len(spans), SENT_SPANS):
            some = orjson.dumps(spans[start : start + SENT_SPANS].copy(), option=orjson.OPT_SERIALIZE_NUMPY)
            yield (b"," if start else b"[") + some[1:-1]
        yield b"]" if len(spans) else b"[]"

    return Answer(content_type=JSON, parts=parts())


async def post_spans(call: Call[StoredInstance]) -> Answer:
    spans = await call.services.apart(parse_spans, call.body)
    return await _replace(call, spans)


async def delete_spans(call: Call[StoredInstance]) -> Answer:
    return await _replace(call, spans_of(b""))


async def _replace(call: Call[StoredInstance], spans: Spans) -> Answer:
    """DVID tells the extent of what was written last, whichever node is asked."""
    await call.instance.stored.put({SPANS: spans.tobytes()})
    data = call.instance.data
    extent = {"min_z": int(spans[0, 0]), "max_z": int(spans[-1, 0])} if len(spans) else {"min_z": None, "max_z": None}
    if data is not None and any(data.settings.get(name) != value for name, value in extent.items()):
        await call.services.repositories.set_settings(data.data_uuid, extent)
    return Answer()


async def _spans(values: StoredValues) -> Spans:
    return spans_of(await values.get(SPANS) or b"")


def parse_spans(body: bytes) -> Spans:
    """
    Raises:
        InvalidRequest, TooLarge: not a JSON list of spans, or too many.
    """
    if body.count(b"[") - 1 > MOST_SPANS:
        raise TooLarge(f"a region of interest may have {MOST_SPANS} spans, this one has {body.count(b'[') - 1}")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"Error trying to parse POSTed JSON: {error.msg}") from error
    spans = _array(found, 4, "Error trying to parse POSTed JSON: expected a list of [z, y, x0, x1] of 32-bit numbers")
    weird = spans[spans[:, 3] < spans[:, 2]]
    if len(weird):
        shown = " ".join(map(str, weird[0]))
        raise InvalidRequest(f"Got weird span [{shown}].  span[3] (X1) < span[2] (X0)")
    return sorted_spans(spans)


def _array(found: object, width: int, refusal: str) -> npt.NDArray[np.int32]:
    if found == []:
        return np.empty((0, width), np.int32)
    try:
        numbers = np.array(found)
    except ValueError:  # rows of different lengths
        raise InvalidRequest(refusal) from None
    if numbers.dtype != np.int64 or numbers.ndim != 2 or numbers.shape[1] != width:
        raise InvalidRequest(refusal)
    exact = numbers.astype(np.int32)
    if (exact != numbers).any():
        raise InvalidRequest(refusal)
    return exact


# ---- what is inside -----------------------------------------------------------------------------------------------


async def get_mask(call: Call[StoredInstance]) -> Answer:
    if parse.is_slice(call.parts):
        raise InvalidRequest("Currently only 3d masks ('0_1_2' shape) is supported")
    box = parse.region(call.endpoint, call.parts).box
    parse.check_payload(box.voxels, call.services.limits)
    spans, block = await _spans(call.instance.stored), _block(call)

    async def parts() -> AsyncIterator[Body]:
        for slab in slabs(box, 1, SLAB_VOXELS):
            inside = await call.services.apart(mask, spans, block, slab)
            yield inside.T.data.cast("B")

    return Answer(parts=parts(), length=box.voxels)


async def refuse_query(call: Call[StoredInstance]) -> Answer:
    raise InvalidRequest("ptquery requires POST with list of points")


async def point_query(call: Call[StoredInstance]) -> Answer:
    points = await call.services.apart(parse.points, call.body, call.query, "ptquery")
    spans = await _spans(call.instance.stored)
    found = await call.services.apart(contains, spans, _block(call), np.array(points, np.int64).reshape(-1, 3))
    return json_answer(found.tolist())


async def get_partition(call: Call[StoredInstance]) -> Answer:
    try:
        batch = parse.integer(call.query.get("batchsize", ""), "Atoi")
    except InvalidRequest as error:
        raise InvalidRequest(f"Error reading batchsize query string: {error}") from None
    if batch < 1:
        raise InvalidRequest(f"batchsize: expected 1 or more, got {batch}")
    spans, optimized = await _spans(call.instance.stored), call.query.get("optimized") in {"true", "on"}
    found = await call.services.apart(_partition, spans, batch, optimized, call.services.limits.blocks)
    return json_answer(documents.partition(spans, found, _block(call)))


def _partition(spans: Spans, batch: int, optimized: bool, most: int) -> list[tuple[Box, int]]:
    return partition(spans, batch, optimized=optimized, most=most)


def _block(call: Call[StoredInstance]) -> Vec3:
    data = call.instance.data
    side = roi_block(data) if data is not None else 1
    return (side, side, side)


# ---- for images and labels ----------------------------------------------------------------------------------------


async def region_of(call: Call[Any]) -> Spans | None:
    """The region that ``roi=`` names; None: none is asked for.

    Raises:
        InvalidRequest: in DVID's words.
    """
    name = call.query.get("roi")
    if not name:
        return None
    one: Instance = call.instance
    data = one.repository.instances.get(name) if one.data is not None else None
    if data is None:
        raise InvalidRequest(f'Can\'t get ROI with name "{name[:80]}": invalid data instance name')
    if data.typename != "roi":
        raise InvalidRequest(f'Can\'t get ROI with name "{name[:80]}": it is of type {data.typename}')
    _check_attenuation(call.query)
    return await _spans(call.services.values.at(one.repository, one.node, data))


def _check_attenuation(query: Mapping[str, str]) -> None:
    """It has no effect: outside the region is 0."""
    text = query.get("attenuation")
    if text and parse.integer(text, "Atoi") not in ATTENUATIONS:
        raise InvalidRequest("Attenuation should be from 1 to 7 (divides by 2^n)")


ENDPOINTS = Endpoints(
    handlers={
        **COMMON.handlers,
        "help": help_text,
        "roi": get_spans,
        "mask": get_mask,
        "ptquery": refuse_query,
        "partition": get_partition,
    },
    changing={"POST": {**COMMON.changing.get("POST", {}), "roi": post_spans}, "DELETE": {"roi": delete_spans}},
    asking={"ptquery": point_query},
    post_texts={"mask": "ROI mask only supports GET", "partition": "partition only supports GET request"},
)
