"""The routes of a webKnossos datastore."""

from __future__ import annotations

from collections.abc import Mapping

from wkdvid.frontends.home.operations.operation import JSON, OCTETS, TEXT, Operation

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
WEBKNOSSOS: Mapping[str, Operation] = {
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
