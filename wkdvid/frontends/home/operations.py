"""What each route does, for the API description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OCTETS = "application/octet-stream"
JSON = "application/json"
TEXT = "text/plain"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Operation:
    summary: str
    answer: str = "Done."
    content_type: str = JSON
    """Of the answer."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the query, with what they mean."""
    body: str | None = None
    """Content type of the request's body; None: it has none."""


PARAMETERS: Mapping[str, str] = {
    "organization": "the dataset's organization",
    "name": "of the dataset (below /data), the data instance (below /api/node), the file (below /assets)",
    "dataset_id": "24 hex digits; GET /data/datasets lists them",
    "layer": "name of the layer",
    "uuid": "of the dataset, or a unique beginning of it; GET /data/datasets lists them",
    "typename": "type of data instance, such as uint8blk or labelmap",
    "branch": "master, or nothing",
    "backend": "name of the format, such as precomputed; webknossos-connect's names too (neuroglancer)",
    "domain": "what would be uploaded",
    "job": "id of the job; POST /api/jobs answers it",
    "action": "status, commit, log or note; of an upload any",
    "dims": "0_1_2 (volume), or xy, xz, yz (slice)",
    "size": "x_y_z in voxels; of a slice the two sides",
    "offset": "x_y_z in voxels",
    "coordinate": "x_y_z in voxels",
    "path": "of the file below the mag's folder, such as zarr.json; of what is not there anything",
    "dataset_path": "dataset_id/layer/mag/chunk, or what is above it: .zattrs, zarr.json...",
    "mag": "4, or 4-4-2; of a cube mag4, or mag4-4-2",
    **{axis: f"{axis} and a number: which cube it is along {axis}" for axis in "xyz"},
    "format": "of a slice: png, jpg, jpg:QUALITY, tif, bmp",
    "dataset": "clio's name of the dataset; GET /v2/datasets lists them",
    "key": "of the annotation, as its POST answered; or of the value",
    "scope": "which the values belong to",
    "id": "of the atlas entry",
    "ids": "of records, with commas between them",
    "tag": "of a version",
    "type": "of records, such as neurons",
}
_BLOCKS = {"compression": "how blocks are sent; what an instance offers is in its info"}
_SCALE = {"scale": "how often the finest level is halved on every axis"}
_STREAM = "Blocks one after another, each with its coordinates and length before it; blocks of zeros are left out."
_CUTOUT = {
    **dict.fromkeys(("x", "y", "z"), "first voxel, in voxels of mag 1"),
    **dict.fromkeys(("width", "height", "depth"), "in voxels of the mag"),
    "mag": "4, or 4-4-2",
    "halfByte": "true: four bits a voxel",
}

_THUMBNAIL = {
    "width": "in pixels, which are voxels of the mag",
    "height": "likewise",
    "mag": "4, or 4-4-2; without it one in which the layer fills the picture",
    **dict.fromkeys(("x", "y", "z"), "first voxel, in voxels of mag 1; without them the layer's centre is shown"),
    "intensityMin": "the value that is shown black",
    "intensityMax": "the value that is shown white",
    "color": "#rrggbb, instead of white",
    "invertColor": "true: black and white are exchanged",
}
_NONE = "An empty list."

_OF_LAYERS: Mapping[tuple[str, str], Operation] = {
    ("POST", "data"): Operation(
        "Read buckets", "The buckets' voxels; headers say which are empty or failed.", OCTETS, body=JSON
    ),
    ("GET", "data"): Operation("Read a box", "Its voxels.", OCTETS, _CUTOUT),
    ("POST", "readData"): Operation("Read a box", "Its voxels.", OCTETS, body=JSON),
    ("GET", "{mag}/{x}/{y}/{z}/bucket.raw"): Operation(
        "Read a cube by its place among cubes, as in mag4/x0/y1/z2/bucket.raw",
        "Its voxels.",
        OCTETS,
        {"cubeSize": "in voxels of the mag; 32 if not given"},
    ),
    ("GET", "histogram"): Operation("Count the values in samples of an image", "256 bins for each channel."),
    ("GET", "findData"): Operation("Find a voxel that is not zero", "Its position and mag, or null."),
    ("GET", "thumbnail.jpg"): Operation("A picture of one slice", "A JPEG.", "image/jpeg", _THUMBNAIL),
    ("GET", "mappings"): Operation("Mappings of a segmentation", _NONE),
    ("GET", "agglomerates"): Operation("Agglomerates of a segmentation", _NONE),
    ("GET", "meshes"): Operation("Mesh files of a segmentation", "A list."),
    ("POST", "meshes/chunks"): Operation("List the fragments of a segment's mesh", "Levels of detail.", body=JSON),
    ("POST", "meshes/chunks/data"): Operation("Read fragments of a mesh", "As Draco.", OCTETS, body=JSON),
    ("POST", "meshes/fullMesh.stl"): Operation(
        "A whole mesh, stored or made of voxels", "STL.", "model/stl", body=JSON
    ),
    ("POST", "adHocMesh"): Operation(
        "The surface of a segment in a cube", "Nine float32 a triangle.", OCTETS, body=JSON
    ),
    ("GET", "segmentProperties"): Operation("What the source says of its segments", "neuroglancer_segment_properties."),
    ("GET", "connectomes"): Operation("Connectomes of a segmentation", _NONE),
    ("GET", "hasSegmentIndex"): Operation("Whether there is an index of segments", "false"),
}
_STORED: Mapping[str, Operation] = {
    "datasource-properties.json": Operation("Describe a dataset with its stored files", "A DataSource."),
    "layers/{layer}/mags/{mag}/{path}": Operation("Read a stored file, or the part that Range names", "Bytes.", OCTETS),
}
_WEBKNOSSOS: Mapping[str, Operation] = {
    "GET /api/buildinfo": Operation("What this server is", "Names and API versions."),
    "GET /data/health": Operation("Whether the server works", "Ok", TEXT),
    "GET /data/datasets": Operation("List the datasets and where each protocol has them", "A list."),
    "POST /data/datasets": Operation("Add or replace datasets, all or none", "What was added.", body=JSON),
    "POST /api/{backend}/{organization}/{name}": Operation(
        "Add or replace one dataset; the body is its entry", "What was added.", body=JSON
    ),
    "POST /data/datasets/exploreRemote": Operation(
        "Look at addresses, for the main server's form", "A DataSource, if there is one, and a report.", body=JSON
    ),
    **{
        f"POST /data/datasets/{dataset}/thumbnail.jpg": Operation(
            "A picture of several layers", "A JPEG.", "image/jpeg", body=JSON
        )
        for dataset in ("{organization}/{name}", "{dataset_id}")
    },
    "GET /data/datasets/{organization}/{name}": Operation("Describe a dataset", "Its DataSource."),
    "GET /data/datasets/{dataset_id}": Operation("Describe a dataset", "Its DataSource."),
    "DELETE /data/datasets/{organization}/{name}": Operation("Remove a dataset from the catalog", content_type=TEXT),
    "DELETE /data/datasets/{dataset_id}": Operation("Forget what is cached of a dataset", content_type=TEXT),
    **{
        f"{method} /data/datasets/{dataset}/layers/{{layer}}/{path}": operation
        for dataset in ("{organization}/{name}", "{dataset_id}")
        for (method, path), operation in _OF_LAYERS.items()
    },
    **{
        f"GET /data/datasets/{dataset}/proxy/{path}": operation
        for dataset in ("{organization}/{name}", "{dataset_id}")
        for path, operation in _STORED.items()
    },
    **{
        f"GET /data/{tree}/{{dataset_path}}": Operation(
            f"Read a dataset as OME-Zarr {which}", "A document or a chunk.", OCTETS
        )
        for tree, which in (("zarr", "(zarr 2 up to v14)"), ("zarr3_experimental", "(zarr 3)"))
    },
    "POST /data/triggers/checkInboxBlocking": Operation("Look at the sources of all datasets again", "Ok", TEXT),
    "POST /data/triggers/reload/{organization}/{name}": Operation("Look at a dataset's sources again", "Ok", TEXT),
    **{
        f"POST /data/triggers/{name}": Operation("Nothing: there are no folders of organizations here", "Ok", TEXT)
        for name in ("newOrganizationFolder", "createOrganizationDirectory", "scanRealPathsForVirtual")
    },
}
_DVID: Mapping[str, Operation] = {
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
    "GET /api/repo/{uuid}/log": Operation("The repository's log, which is empty", "An empty log."),
    "GET /api/repo/{uuid}/branch-versions/{branch}": Operation("Versions of a branch", "UUIDs."),
    "GET /api/node/{uuid}/{action}": Operation("State of a version", "It is committed, and has no log or note."),
    "GET /api/config/datasets": Operation("List the run-time datasets", "Names."),
    "POST /api/config/dataset": Operation(
        "Make a run-time dataset from a TensorStore spec",
        query={"dataset_name": "how it is to be called", "axes": "the axis of each dimension, such as zyx"},
        body=JSON,
    ),
    "DELETE /api/config/dataset": Operation("Remove a run-time dataset", query={"dataset_name": "what it is called"}),
}
_JOBS: Mapping[str, Operation] = {
    "POST /api/jobs": Operation(
        "Begin long work, or go on with it; the body names kind (pyramid, index, signatures, transfer), dataset, layer",
        "The job.",
        body=JSON,
    ),
    "GET /api/jobs": Operation("List the newest jobs", "A list."),
    "GET /api/jobs/{job}": Operation("How far a job is", "State, tasks done, tasks in all, and a message."),
    "DELETE /api/jobs/{job}": Operation("Cancel a job and remove what it has made", "The job."),
    "GET /api/jobs/{job}/events": Operation(
        "Follow a job until it ends", "Server-sent events, each the job as it is then.", "text/event-stream"
    ),
}
_SECONDS = {"seconds": "1 to 60; 20 if not given"}
_TRACE: Mapping[str, Operation] = {
    **{f"GET {path}": Operation("The page that records", "A page.", HTML) for path in ("/trace", "/triggers/trace")},
    "POST /trace": Operation("Record what the server spends its time on", "A flame graph.", "image/svg+xml", _SECONDS),
    "POST /triggers/trace": Operation("Record what the server spends its time on", "Ok", TEXT, _SECONDS),
    "GET /triggers/trace/flame.svg": Operation("What was recorded last", "A flame graph.", "image/svg+xml"),
}
INSTANCE = "/api/node/{uuid}/{name}"
ENDPOINTS: Mapping[str, Operation] = {
    "/info": Operation("Describe a data instance", "Its type, extents and block size."),
    "/metadata": Operation("Axes of a data instance", "The metadata.", "application/vnd.dvid-nd-data+json"),
    "/help": Operation("Help on the instance's type", "Text.", TEXT),
    "/tags": Operation("Tags of a labelmap", "None."),
    "/raw/{dims}/{size}/{offset}": Operation("Read a box or a slice", "Voxels, or a PNG.", OCTETS, _SCALE),
    "/raw/{dims}/{size}/{offset}/{format}": Operation("Read a slice as a picture", "The picture.", "image/*", _SCALE),
    "/isotropic/{dims}/{size}/{offset}": Operation("Read a slice with square pixels", "A PNG.", "image/png", _SCALE),
    "/specificblocks": Operation(
        "Read blocks", _STREAM, OCTETS, {"blocks": "x,y,z,x,y,z... in blocks", **_BLOCKS, **_SCALE}
    ),
    "/subvolblocks/{size}/{offset}": Operation("Read the blocks of a box of an image", _STREAM, OCTETS, _BLOCKS),
    "/blocks/{size}/{offset}": Operation(
        "Read the blocks of a box of labels; of an image a row of blocks, from the place in blocks of the first",
        "Of labels as specificblocks; of an image the blocks' voxels alone.",
        OCTETS,
        {**_BLOCKS, **_SCALE},
    ),
    "/label/{coordinate}": Operation("The label at a voxel", "The label.", query=_SCALE),
    "/labels": Operation("The labels at voxels", "The labels.", query=_SCALE, body=JSON),
    "/mapping": Operation("Bodies of supervoxels", "Each its own.", body=JSON),
    "/mappings": Operation("All mappings", "None.", TEXT),
    "/maxlabel": Operation("The largest label", "The label."),
    "/nextlabel": Operation("The label that a new body would get", "The label."),
}
"""Below an instance, by GET. They share routes that do not name them."""
OPERATIONS: Mapping[str, Operation] = {
    "GET /": Operation("The page that lists the datasets", "A page.", HTML),
    "GET /docs": Operation("This description, to read and to try", "A page.", HTML),
    "GET /openapi.json": Operation("This description", "OpenAPI 3.0."),
    "GET /assets/{name}": Operation("What the pages load", "A file.", OCTETS),
    "POST /api/inspect": Operation(
        'Look at a source, as a registration would: {"source": URL}, or an entry with its backend',
        "Layers and levels, a sample of their chunks, what would be served, and what is wrong.",
        body=JSON,
    ),
    "GET /favicon.ico": Operation("No icon", "Nothing (204).", TEXT),
    **_TRACE,
    **_WEBKNOSSOS,
    **_DVID,
    **_JOBS,
}
"""By method and path, the path without a version."""
