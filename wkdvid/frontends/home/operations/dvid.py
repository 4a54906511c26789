"""The routes of DVID, and the endpoints of its data instances."""

from __future__ import annotations

from collections.abc import Mapping

from wkdvid.frontends.home.operations.operation import HTML, JSON, OCTETS, TEXT, Operation

_BLOCKS = {"compression": "how blocks are sent; what an instance offers is in its info"}
_SCALE = {"scale": "how often the finest level is halved on every axis"}
_RUNS = {
    "format": "rles, srles or blocks",
    **{f"{end}{axis}": "a bound, inclusive" for end in ("min", "max") for axis in "xyz"},
}
_STREAM = "Blocks one after another, each with its coordinates and length before it; blocks of zeros are left out."
DVID: Mapping[str, Operation] = {
    "GET /interface/version": Operation("Version of the interface", "v1", TEXT),
    "GET /api/heartbeat": Operation("Whether the server works", "OK", TEXT),
    "GET /api/load": Operation("How busy this worker is", "Figures."),
    "GET /api/user-latencies": Operation("Heartbeats of users, which are not kept", "Nothing."),
    "GET /interface": Operation("Not offered: see /docs"),
    **{f"GET /api/{name}": Operation("Not offered") for name in ("server/config", "server/groupcache", "storage")},
    **{
        f"POST /api/server/{name}": Operation("Not offered: there is no such file")
        for name in ("reload-auth", "reload-blocklist")
    },
    "GET /api/help": Operation("Help for people", "A page.", HTML),
    "GET /api/help/{typename}": Operation("Help on a type of data instance", "Text.", TEXT),
    "GET /api/server/info": Operation("What this server is", "Names and versions."),
    "GET /api/server/note": Operation("The server's note, which is empty", "Nothing.", TEXT),
    "GET /api/server/types": Operation("Types of data instances", "Names and where they are from."),
    "GET /api/server/compiled-types": Operation("Types of data instances", "Names and where they are from."),
    "GET /api/server/token": Operation("Not offered: reading needs no token"),
    "POST /api/server/settings": Operation("Change how many requests run throttled", "Text.", TEXT, body=JSON),
    "GET /api/repos/info": Operation("List the datasets as repositories", "Repositories by UUID."),
    "GET /api/repo/{uuid}": Operation("Whether there is such a repository", "Nothing.", TEXT),
    "GET /api/repo/{uuid}/info": Operation("Describe a repository", "Its versions and data instances."),
    "GET /api/repo/{uuid}/log": Operation("The repository's log", "Its lines."),
    "POST /api/repos": Operation("Make a repository of one open version", "Its UUID.", body=JSON),
    "POST /api/repo/{uuid}/info": Operation("Change alias and description of a repository", body=JSON),
    "POST /api/repo/{uuid}/log": Operation("Append lines to the repository's log", body=JSON),
    "POST /api/repo/{uuid}/instance": Operation("Make a data instance", "Its name.", body=JSON),
    **{
        f"POST /api/repo/{{uuid}}/{name}": Operation("Not offered: versions are not merged")
        for name in ("merge", "resolve")
    },
    "GET /api/repo/{uuid}/branch-versions/{branch}": Operation("Versions of a branch", "UUIDs."),
    "GET /api/node/{uuid}/{action}": Operation("State of a version", "Whether it is committed; its log; its note."),
    "POST /api/node/{uuid}/{action}": Operation(
        "Note something of an open version, or commit it; of a committed one make a new version, a branch or a tag",
        "The version's UUID, where one is made.",
        body=JSON,
    ),
    "GET /api/config/datasets": Operation("List the run-time datasets", "Names."),
    "POST /api/config/dataset": Operation(
        "Make a run-time dataset from a TensorStore spec",
        query={"dataset_name": "how it is to be called", "axes": "the axis of each dimension, such as zyx"},
        body=JSON,
    ),
    "DELETE /api/config/dataset": Operation("Remove a run-time dataset", query={"dataset_name": "what it is called"}),
}
INSTANCE = "/api/node/{uuid}/{name}"
ENDPOINTS: Mapping[str, Operation] = {
    "GET /info": Operation("Describe a data instance", "Its type, extents and block size."),
    "GET /metadata": Operation("Axes of a data instance", "The metadata.", "application/vnd.dvid-nd-data+json"),
    "GET /help": Operation("Help on the instance's type", "Text.", TEXT),
    "GET /tags": Operation("Tags of a data instance", "Texts by name."),
    "POST /tags": Operation("Add tags, or replace them", query={"replace": "true: all"}, body=JSON),
    "GET /raw/{dims}/{size}/{offset}": Operation("Read a box or a slice", "Voxels, or a PNG.", OCTETS, _SCALE),
    "GET /raw/{dims}/{size}/{offset}/{format}": Operation(
        "Read a slice as a picture", "The picture.", "image/*", _SCALE
    ),
    "GET /isotropic/{dims}/{size}/{offset}": Operation(
        "Read a slice with square pixels", "A PNG.", "image/png", _SCALE
    ),
    "GET /specificblocks": Operation(
        "Read blocks", _STREAM, OCTETS, {"blocks": "x,y,z,x,y,z... in blocks", **_BLOCKS, **_SCALE}
    ),
    "GET /subvolblocks/{size}/{offset}": Operation("Read the blocks of a box of an image", _STREAM, OCTETS, _BLOCKS),
    "GET /blocks/{size}/{offset}": Operation(
        "Read the blocks of a box of labels; of an image a row of blocks, from the place in blocks of the first",
        "Of labels as specificblocks; of an image the blocks' voxels alone.",
        OCTETS,
        {**_BLOCKS, **_SCALE},
    ),
    "GET /label/{coordinate}": Operation("The label at a voxel", "The label.", query=_SCALE),
    "GET /labels": Operation("The labels at voxels", "The labels.", query=_SCALE, body=JSON),
    "GET /mapping": Operation("Bodies of supervoxels", "Each its own.", body=JSON),
    "GET /mappings": Operation("All mappings", "None.", TEXT),
    "GET /maxlabel": Operation("The largest label", "The label."),
    "GET /nextlabel": Operation("The label that a new body would get", "The label."),
    **{
        f"POST /{name}": Operation(summary, query=query, body=OCTETS)
        for name, summary, query in (
            ("raw/{dims}/{size}/{offset}", "Store a box of whole blocks", {"compression": "of labels: lz4, gzip"}),
            ("blocks/{size}/{offset}", "Store blocks", {**_SCALE, "downres": "true: the lower scales follow"}),
        )
    },
    **{
        f"POST /{name}": Operation(f"Change what is said of a data instance: {name}", body=JSON)
        for name in ("extents", "resolution")
    },
    **{
        f"GET /{name}/{{label}}": Operation(f"{summary} of a label, by the label index", answer)
        for name, summary, answer in (
            ("size", "Voxels", "Their number."),
            ("supervoxels", "Supervoxels", "Itself."),
            ("lastmod", "Last change", "Nobody's."),
            ("sparsevol-size", "Voxels, blocks and corners", "Numbers."),
        )
    },
    "GET /sparsevol/{label}": Operation("Voxels of a label, as runs along x", "Runs.", OCTETS, _RUNS),
    "GET /sparsevol-coarse/{label}": Operation("Blocks of a label, as runs along x", "Runs.", OCTETS, _RUNS),
    "GET /sparsevol-by-point/{coordinate}": Operation("Voxels of the label at a voxel", "Runs.", OCTETS, _RUNS),
    "GET /sizes": Operation("Voxels of labels", "Their numbers.", body=JSON),
    "GET /listlabels": Operation("List labels", "As uint64.", OCTETS, {"start": "the first", "number": "how many"}),
    "GET /existing-labels": Operation("List all labels", "A list."),
    "GET /index/{label}": Operation("Voxels of a label in each block", "A LabelIndex message.", OCTETS),
    "GET /key/{key}": Operation("Read a value, or the part that Range names", "The value.", OCTETS),
    "POST /key/{key}": Operation("Store a value", body=OCTETS),
    "DELETE /key/{key}": Operation("Remove a value"),
    "GET /keys": Operation("List all keys", "A list."),
    "GET /keyrange/{first}/{last}": Operation("List the keys from one to another", "A list."),
    "GET /keyrangevalues/{first}/{last}": Operation("Read the values from one key to another", "Values.", OCTETS),
    "GET /keyvalues": Operation("Read values", "Values.", OCTETS, {"json": "true: as JSON"}, body=JSON),
    "POST /keyvalues": Operation("Store values", body=OCTETS),
    "GET /roi": Operation("Read a region", "Spans [z, y, x0, x1] in blocks."),
    "POST /roi": Operation("Replace a region", body=JSON),
    "DELETE /roi": Operation("Empty a region"),
    "GET /mask/{dims}/{size}/{offset}": Operation("Read a region as voxels", "A byte 0 or 1 each.", OCTETS),
    "POST /ptquery": Operation("Whether points are in a region", "A list.", body=JSON),
    "GET /partition": Operation("Cover a region with boxes", "Boxes.", query={"batchsize": "blocks a side"}),
    "GET /elements/{size}/{offset}": Operation("List the elements in a box", "Elements."),
    "POST /elements/{size}/{offset}": Operation("Add elements, or replace those at their places", body=JSON),
    "GET /all-elements": Operation("List all elements", "Elements by block."),
    "GET /tag/{tag}": Operation("List the elements that have a tag", "Elements."),
    "DELETE /element/{coordinate}": Operation("Remove the element at a place"),
    "POST /move/{from_place}/{to_place}": Operation("Move the element at a place to another"),
    "POST /sync": Operation("Name the labelmap whose labels elements are at", body=JSON),
}
"""By method and path below an instance. They share routes that do not name them; its type says which it has."""
