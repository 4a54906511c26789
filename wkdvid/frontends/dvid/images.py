"""The endpoints of uint8blk ... float32blk and rgba8blk."""

from __future__ import annotations

from wkdvid.core.geometry import divide_down
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.dvid import blocks, documents, instance_settings, parse
from wkdvid.frontends.dvid.blocks import Blocks
from wkdvid.frontends.dvid.calls import TEXT, Answer, Call, Endpoints, json_answer
from wkdvid.frontends.dvid.instances import VoxelInstance
from wkdvid.frontends.dvid.oblique import arb
from wkdvid.frontends.dvid.raw import raw
from wkdvid.frontends.dvid.wire import IMAGE_ENCODINGS
from wkdvid.frontends.dvid.writing import post_image, post_span

HELP = """\
{name}: an image of type {typename}. GET below /api/node/<uuid>/{name}/

    info | metadata | tags
    raw/0_1_2/<size>/<offset>[/jpeg]          x_y_z voxels; binary, x fastest, little-endian; zeros outside
    raw/<xy|xz|yz>/<w_h>/<offset>[/<format>]  png, jpg[:quality], tif, bmp
    isotropic/...                             as raw; slices stretched where voxels are longer along one axis
    arb/<tl>/<tr>/<bl>/<res>[/<format>]       a slice at any angle: corners x_y_z and res in nanometres; interpolated
    specificblocks?blocks=x,y,z,...           blocks of 64 x 64 x 64; compression=jpeg or uncompressed
    subvolblocks/<size>/<offset>              likewise
    blocks/<bx_by_bz>/<spanX>                 uncompressed blocks along x

Open nodes take POST of raw (boxes of whole blocks), of blocks, extents and resolution.
"""


async def info(call: Call[VoxelInstance]) -> Answer:
    return json_answer(documents.instance(call.instance))


async def metadata(call: Call[VoxelInstance]) -> Answer:
    return json_answer(documents.metadata(call.instance), documents.ND_DATA)


async def help_text(call: Call[VoxelInstance]) -> Answer:
    return Answer(HELP.format(name=call.instance.name, typename=call.instance.typename).encode(), TEXT)


async def raw_image(call: Call[VoxelInstance]) -> Answer:
    return await raw(call, call.instance.scale, parse.region(call.endpoint, call.parts))


async def specificblocks(call: Call[VoxelInstance]) -> Answer:
    source = _blocks(call)
    indices = parse.block_indices(call.query.get("blocks", ""), call.services.limits)
    found = await blocks.answer(source, indices)
    if call.query.get("prefetch") not in {"on", "true"}:
        return found
    if found.parts is not None:
        async for _ in found.parts:
            pass
    return Answer()


async def subvolblocks(call: Call[VoxelInstance]) -> Answer:
    """Whole blocks, or one record of a small box that need not be aligned (dvid.md A5 d)."""
    if len(call.parts) < 2:
        raise InvalidRequest('"subvolblocks" must be followed by size/offset')
    box, source, block = parse.subvolume(call.parts[0], call.parts[1]), _blocks(call), call.instance.block
    if box.size == source.shape and parse.is_aligned(box, block):
        return await blocks.one_block(source, divide_down(box.start, box.size))
    if box.voxels <= parse.LENIENT_VOXELS and not parse.is_aligned(box, block):
        return await blocks.one_box(source, box, divide_down(box.start, box.size))
    return await blocks.answer(source, parse.aligned_blocks(box, block, "block", call.services.limits))


async def span(call: Call[VoxelInstance]) -> Answer:
    return await blocks.span_answer(_of_encoding(call, "none"), parse.span(call.parts, call.services.limits))


def _blocks(call: Call[VoxelInstance]) -> Blocks:
    """The blocks in the encoding that ``compression=`` asks for, or as they are said to be stored."""
    wanted = call.query.get("compression", "")
    stored = call.instance.compression
    if wanted == "":
        return _of_encoding(call, stored)
    if wanted == "uncompressed":
        return _of_encoding(call, "none")
    if wanted != "jpeg":
        raise InvalidRequest(f"don't understand 'compression' query string value: {wanted[:80]}")
    if call.instance.typename != "uint8blk":
        named = {"none": "No", "lz4": "LZ4", "jpeg": "JPEG"}[stored]
        raise UnsupportedRequest(
            f"can't encode JPEG: expected internal block data to be JPEG, was {named} compression instead"
        )
    return _of_encoding(call, "jpeg")


def _of_encoding(call: Call[VoxelInstance], encoding: str) -> Blocks:
    return Blocks(call.services, call.instance, call.instance.scale, encoding, IMAGE_ENCODINGS[encoding])


ENDPOINTS = Endpoints(
    handlers={
        "info": info,
        "metadata": metadata,
        "help": help_text,
        "tags": instance_settings.tags,
        "raw": raw_image,
        "isotropic": raw_image,
        "arb": arb,
        "specificblocks": specificblocks,
        "subvolblocks": subvolblocks,
        "blocks": span,
    },
    throttled=frozenset({"raw", "isotropic", "subvolblocks", "arb"}),
    changing={"POST": {**instance_settings.CHANGING, "raw": post_image, "blocks": post_span}},
    large=frozenset({post_image, post_span}),
    post_texts={
        "isotropic": "can only POST 'raw' not 'isotropic' images",
        "subvolblocks": "DVID does not accept the post action on the 'blocks' endpoint",
    },
)
