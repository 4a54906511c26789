"""The endpoints of labelmap."""

from __future__ import annotations

from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid import blocks, instance_settings, label_queries, parse, points, sparse_volumes
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
    isotropic/...                             as raw; slices stretched where voxels are longer along one axis
    pseudocolor/<xy|xz|yz>/<w_h>/<offset>[/<format>]  a colour for each label
    specificblocks?blocks=x,y,z,...           blocks of 64^3; compression=blocks, lz4, gzip, uncompressed
    blocks/<size>/<offset>                    likewise, lz4 by default
    label/<x_y_z> | labels (JSON body [[x,y,z],...])
    mapping (JSON body) | mappings | supervoxel-splits | maxlabel | nextlabel

With a label index (info: IndexedLabels):

    sparsevol/<label> | sparsevol-by-point/<x_y_z>   minx to maxz; format=rles, srles, blocks; compression=lz4, gzip
    sparsevol-coarse/<label> | sparsevols-coarse/<first>/<last> | sparsevol-size/<label>
    size/<label> | sizes (JSON body [label,...]) | supervoxels/<label> | supervoxel-sizes/<label> | lastmod/<label>
    listlabels?start=&number=&sizes=true | existing-labels
    index/<label> | indices (JSON body) | indices-compressed (JSON body)

raw, blocks, label, labels and sparsevol take scale=.
Open nodes take POST of raw (boxes of whole blocks), blocks (label blocks; scale=, downres=true), extents, resolution.
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


async def pseudocolor(call: Call[VoxelInstance]) -> Answer:
    region = parse.region(call.endpoint, call.parts, "illegal")
    if not region.is_slice:
        raise InvalidRequest("DVID currently supports only 2d pseudocolor image requests")
    return await raw(call, parse.scale_of(call.query, call.instance.layer.halvings), region)


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


async def mappings(call: Call[VoxelInstance]) -> Answer:
    """Identities are not listed, and there is nothing else."""
    return Answer()


async def supervoxel_splits(call: Call[VoxelInstance]) -> Answer:
    return json_answer([])


ENDPOINTS = Endpoints(
    handlers={
        "info": info,
        "metadata": metadata,
        "help": help_text,
        "tags": instance_settings.tags,
        "raw": raw_labels,
        "isotropic": raw_labels,
        "pseudocolor": pseudocolor,
        "specificblocks": specificblocks,
        "blocks": volume_blocks,
        "label": points.label,
        "labels": points.labels,
        "mappings": mappings,
        "supervoxel-splits": supervoxel_splits,
        **label_queries.HANDLERS,
        **sparse_volumes.HANDLERS,
    },
    throttled=frozenset({"raw", "isotropic", "blocks", "index", "indices", "mappings"}),
    changing={"POST": {**instance_settings.CHANGING, "raw": post_labels, "blocks": post_label_blocks}},
    large=frozenset({post_labels, post_label_blocks}),
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
