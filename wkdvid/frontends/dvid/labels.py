"""The endpoints of labelmap. There is no label index: what needs one says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from wkdvid.core.concurrent import for_each
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3, divide_down
from wkdvid.core.pyramid import Scale
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest, NotFound, UnsupportedRequest
from wkdvid.frontends.dvid import blocks, instance_settings, parse
from wkdvid.frontends.dvid.blocks import Blocks
from wkdvid.frontends.dvid.calls import TEXT, Answer, Call, Endpoints, json_answer
from wkdvid.frontends.dvid.images import info, metadata
from wkdvid.frontends.dvid.instances import VoxelInstance
from wkdvid.frontends.dvid.raw import raw
from wkdvid.frontends.dvid.wire import LABEL_ENCODINGS, LABEL_VOLUMES
from wkdvid.frontends.dvid.writing import post_label_blocks, post_labels

HELP = """\
{name}: labels of type labelmap, scales 0 to {last}. GET below /api/node/<uuid>/{name}/

    info | metadata | tags
    raw/0_1_2/<size>/<offset>                 uint64, x fastest; compression=lz4, gzip, google, googlegzip
    raw/<xy|xz|yz>/<w_h>/<offset>[/<format>]  16-bit RGBA
    specificblocks?blocks=x,y,z,...           blocks of 64^3; compression=blocks, lz4, gzip, uncompressed
    blocks/<size>/<offset>                    likewise, lz4 by default
    label/<x_y_z> | labels (JSON body [[x,y,z],...])
    mapping (JSON body) | mappings | supervoxel-splits | maxlabel | nextlabel

All but the last line take scale=. Open nodes take POST of raw (boxes of whole blocks), of blocks (a stream of label
blocks; scale=, downres=true), extents and resolution.
"""


async def help_text(call: Call[VoxelInstance]) -> Answer:
    last = len(call.instance.layer.halvings) - 1
    return Answer(HELP.format(name=call.instance.name, last=last).encode(), TEXT)


async def raw_labels(call: Call[VoxelInstance]) -> Answer:
    region = parse.region(call.endpoint, call.parts, "illegal")
    scale = parse.scale_of(call.query, call.instance.layer.halvings)
    if region.is_slice:
        return await raw(call, scale, region)
    compression = call.query.get("compression", "")
    if compression and compression not in LABEL_VOLUMES:
        raise InvalidRequest(f'unknown compression type "{compression[:80]}"')
    return await raw(call, scale, parse.Region(region.axes, region.box, ""), compression)


async def specificblocks(call: Call[VoxelInstance]) -> Answer:
    source = _blocks(call, "blocks")
    return await blocks.answer(source, parse.block_indices(call.query.get("blocks", ""), call.services.limits))


async def volume_blocks(call: Call[VoxelInstance]) -> Answer:
    if len(call.parts) < 2:
        raise InvalidRequest("must specify size and offset with GET /blocks endpoint")
    box, source = parse.subvolume(call.parts[0], call.parts[1], "illegal"), _blocks(call, "lz4")
    return await blocks.answer(source, parse.aligned_blocks(box, call.instance.block, "blocks", call.services.limits))


def _blocks(call: Call[VoxelInstance], default: str) -> Blocks:
    encoding = call.query.get("compression") or default
    if encoding not in LABEL_ENCODINGS:
        raise InvalidRequest('compression must be "lz4" (default), "gzip", "blocks" or "uncompressed"')
    scale = parse.scale_of(call.query, call.instance.layer.halvings)
    return Blocks(call.services, call.instance, scale, encoding, LABEL_ENCODINGS[encoding])


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


async def mapping(call: Call[VoxelInstance]) -> Answer:
    """Every supervoxel is its own body: nothing is agglomerated here."""
    return json_answer(await asyncio.to_thread(parse.labels, call.body, call.query, call.endpoint))


async def mappings(call: Call[VoxelInstance]) -> Answer:
    """Identities are not listed, and there is nothing else."""
    return Answer()


async def supervoxel_splits(call: Call[VoxelInstance]) -> Answer:
    return json_answer([])


async def maxlabel(call: Call[VoxelInstance]) -> Answer:
    return json_answer({"maxlabel": _largest(call)})


async def nextlabel(call: Call[VoxelInstance]) -> Answer:
    return json_answer({"nextlabel": _largest(call) + 1})


def _largest(call: Call[VoxelInstance]) -> int:
    largest = call.instance.layer.info.largest_segment_id
    if largest is None:
        raise NotFound(f"No maximum label found for {call.instance.name} version {call.instance.node.version}\n")
    return largest


async def body_of_index(call: Call[VoxelInstance]) -> Answer:
    """Sizes and sparse volumes of a label. What is wrong with the request is said first, as DVID does."""
    if not call.parts:
        raise InvalidRequest(f"ERROR: DVID requires label ID to follow '{call.endpoint}' command")
    if parse.label(call.parts[0]) == 0:
        raise InvalidRequest(_ABOUT_ZERO[call.endpoint])
    return await not_indexed(call)


async def not_indexed(call: Call[VoxelInstance]) -> Answer:
    raise UnsupportedRequest(
        f'data "{call.instance.name}" is not label indexed (IndexedLabels=false): '
        f'"{call.endpoint}" endpoint is not supported'
    )


_PROTECTED = "Label 0 is protected background value and cannot be"
_ABOUT_ZERO: Mapping[str, str] = {
    **dict.fromkeys(("size", "supervoxels", "supervoxel-sizes", "lastmod"), f"{_PROTECTED} queried as body.\n"),
    **dict.fromkeys(("sparsevol", "sparsevol-coarse", "sparsevol-size"), f"{_PROTECTED} used as sparse volume.\n"),
    "index": "there is no index for protected label 0",
}
_NOT_INDEXED = (
    "sparsevol-by-point",
    "sparsevols-coarse",
    "sizes",
    "listlabels",
    "existing-labels",
    "indices",
    "indices-compressed",
)
ENDPOINTS = Endpoints(
    handlers={
        "info": info,
        "metadata": metadata,
        "help": help_text,
        "tags": instance_settings.tags,
        "raw": raw_labels,
        "isotropic": raw_labels,
        "specificblocks": specificblocks,
        "blocks": volume_blocks,
        "label": label,
        "labels": labels,
        "mapping": mapping,
        "mappings": mappings,
        "supervoxel-splits": supervoxel_splits,
        "maxlabel": maxlabel,
        "nextlabel": nextlabel,
        **dict.fromkeys(_ABOUT_ZERO, body_of_index),
        **dict.fromkeys(_NOT_INDEXED, not_indexed),
    },
    throttled=frozenset({"raw", "isotropic", "blocks", "index", "indices", "mappings"}),
    changing={"POST": {**instance_settings.CHANGING, "raw": post_labels, "blocks": post_label_blocks}},
    not_offered=frozenset(
        {
            "sync",
            "merge",
            "cleave",
            "split",
            "split-supervoxel",
            "split-coarse",
            "renumber",
            "index",
            "indices",
            "mappings",
            "ingest-supervoxels",
            "maxlabel",
            "nextlabel",
        }
    ),
    post_texts={
        "isotropic": "can only POST 'raw' not 'isotropic' images",
        "labels": "Batch labels query must be a GET request",
        "mapping": "Batch mapping query must be a GET request",
        "sizes": "Batch sizes query must be a GET request",
    },
)
