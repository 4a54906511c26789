"""What the parameters of paths mean, by name."""

from __future__ import annotations

from collections.abc import Mapping

PARAMETERS: Mapping[str, str] = {
    "organization": "the dataset's organization",
    "name": "of the dataset (below /data and /datasets), the data instance (below /api/node), the file (below /assets),"
    " or what a transfer has made (below /cache)",
    "dataset_id": "24 hex digits; GET /data/datasets lists them",
    "layer": "name of the layer",
    "uuid": "of the dataset, or a unique beginning of it; GET /data/datasets lists them",
    "typename": "type of data instance, such as uint8blk or labelmap",
    "branch": "master, or nothing",
    "backend": "name of the format, such as precomputed; webknossos-connect's names too (neuroglancer)",
    "domain": "what would be uploaded",
    "job": "id of the job; POST /api/jobs answers it",
    "email": "of a user",
    "link": "id of the link; GET /api/links lists them",
    "token": "of a link, which ends with a slash: /shared/TOKEN/",
    "action": "status, commit, log or note, and newversion, branch or tag to POST; of an upload any",
    "dims": "0_1_2 (volume), or xy, xz, yz (slice)",
    "size": "x_y_z in voxels; of a slice the two sides",
    "offset": "x_y_z in voxels",
    "coordinate": "x_y_z in voxels",
    "path": "of the file below the mag's folder, such as zarr.json; of what is exported below the layer, such as info;"
    " of what is not there anything",
    "document": "zarr.json, or .zgroup",
    "dataset_path": "dataset_id/layer/mag/chunk, or what is above it: .zattrs, zarr.json...",
    "plane": "xy, zy or xz",
    "mag": "4, or 4-4-2; of a cube mag4, or mag4-4-2",
    **{axis: f"{axis} and a number: which cube it is along {axis}" for axis in "xyz"},
    "format": "of a slice: png, jpg, jpg:QUALITY, tif, bmp",
    "dataset": "clio's name of the dataset; GET /v2/datasets lists them",
    "key": "of the annotation, as its POST answered; or of the value",
    "scope": "which the values belong to",
    "id": "of the atlas entry",
    "label": "of the segmentation",
    **dict.fromkeys(("first", "last"), "a key"),
    **dict.fromkeys(("from_place", "to_place"), "x_y_z in voxels"),
    "form": "csv, nml, parquet, dvid or neuroglancer",
    "kind": "point, lineseg or sphere",
    "number": "of the annotation",
    "grid": "level of the spatial index",
    "cell": "x_y_z, counted in cells",
    "ids": "of records, with commas between them",
    "tag": "of a version",
    "type": "of records, such as neurons",
}
