"""Server, repositories and instances as DVID describes them (dvid.md B)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Box
from wkdvid.frontends.dvid.instances import BLOCK, VOXEL_BYTES, Instance, compression_of, instances, refusal, type_of

UNKNOWN_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: sources do not say when they were made."""
MUTATION = 1000000000
"""DVID's first mutation id; nothing here is ever changed."""
VERSION = 1
"""The number of a repository's only node."""
ND_DATA = "application/vnd.dvid-nd-data+json"
NODE: Mapping[str, Mapping[str, Any]] = {
    "status": {"Locked": True},
    "commit": {"Locked": True},
    "note": {"note": ""},
    "log": {"log": []},
}
"""What there is to say of a node."""
_TYPES_URL = "github.com/janelia-flyem/dvid/datatype"
_COMPRESSIONS = {
    "jpeg": f"jpeg compression, level {BLOCK}",
    "lz4": "LZ4 compression, level -1",
    "none": "No compression, level -1",
}


def types() -> dict[str, str]:
    """What is offered; the last two are what pydvid looks for."""
    known = {name: _type_url(name) for name in VOXEL_BYTES}
    return {**known, "grayscale8": _type_url("uint8blk"), "keyvalue": f"{_TYPES_URL}/keyvalue"}


def _type_url(typename: str) -> str:
    if typename == "labelmap":
        return f"{_TYPES_URL}/labelmap"
    return f"{_TYPES_URL}/imageblk/{typename.removesuffix('blk')}.go"


def repository(dataset: Dataset) -> dict[str, Any]:
    uuid = dataset.entry.uuid
    left_out = {name: refusal(layer) for name, layer in dataset.layers.items() if type_of(layer.info) is None}
    return {
        "Root": uuid,
        "Alias": dataset.key.dataset,
        "Description": str(dataset.key),
        "Log": [],
        "Properties": {
            **({"Unavailable": dataset.reason} if dataset.reason else {}),
            **({"NotOffered": left_out} if left_out else {}),
        },
        "DataInstances": {one.name: instance(one) for one in instances(dataset)},
        "DAG": {"Root": uuid, "Nodes": {uuid: _node(uuid)}},
        "MutationID": MUTATION,
        "SavedMutationID": MUTATION,
        "Created": UNKNOWN_TIME,
        "Updated": UNKNOWN_TIME,
    }


def _node(uuid: str) -> dict[str, Any]:
    return {
        "Branch": "",
        "Note": "",
        "Log": [],
        "UUID": uuid,
        "VersionID": VERSION,
        "Locked": True,
        "Parents": [],
        "Children": [],
        "Created": UNKNOWN_TIME,
        "Updated": UNKNOWN_TIME,
    }


def repositories(datasets: Iterable[Dataset]) -> dict[str, Any]:
    return {dataset.entry.uuid: repository(dataset) for dataset in datasets}


def instance(one: Instance) -> dict[str, Any]:
    properties = _properties(one)
    if one.kind == "labels":
        properties |= _label_properties(one)
    return {
        "Base": _base(one),
        "Extended": properties,
        "Extents": {"MinPoint": properties["MinPoint"], "MaxPoint": properties["MaxPoint"]},
    }


def _base(one: Instance) -> dict[str, Any]:
    uuid = one.dataset.entry.uuid
    return {
        "TypeName": one.typename,
        "TypeURL": _type_url(one.typename),
        "TypeVersion": "0.2" if one.typename in {"uint8blk", "rgba8blk"} else "0.1",
        "DataUUID": hashlib.sha256(f"{uuid}/{one.name}".encode()).hexdigest()[:32],
        "Name": one.name,
        "RepoUUID": uuid,
        "Compression": "gzip compression, level -1"
        if one.kind == "labels"
        else _COMPRESSIONS[compression_of(one.layer)],
        "Checksum": "No checksum",
        "Syncs": [],
        "Versioned": True,
        "KVStore": f"wkdvid {one.layer.info.format}",
        "LogStore": "no mutation log set",
        "Tags": None,
    }


def _properties(one: Instance) -> dict[str, Any]:
    return {
        "Values": _values(one.typename),
        "Interpolable": one.kind == "image",
        "BlockSize": [BLOCK, BLOCK, BLOCK],
        "VoxelSize": list(one.voxel_sides(one.scale)),
        "VoxelUnits": ["nanometers"] * 3,
        **_extents(one.scale.extent),
        "Background": 0,
        "GridStore": "",
        "ScaleLevel": 0,
    }


def _values(typename: str) -> list[dict[str, str]]:
    if typename == "rgba8blk":
        return [{"DataType": "uint8", "Label": color} for color in ("red", "green", "blue", "alpha")]
    if typename == "labelmap":
        return [{"DataType": "uint64", "Label": "labelmap"}]
    name = typename.removesuffix("blk")
    return [{"DataType": name, "Label": name}]


def _extents(extent: Box) -> dict[str, Any]:
    """Inclusive corners, in voxels and in blocks; null where there is no voxel."""
    if not extent.voxels:
        return dict.fromkeys(("MinPoint", "MaxPoint", "MinIndex", "MaxIndex"))
    last = [n - 1 for n in extent.stop]
    return {
        "MinPoint": list(extent.start),
        "MaxPoint": last,
        "MinIndex": [n // BLOCK for n in extent.start],
        "MaxIndex": [n // BLOCK for n in last],
    }


def _label_properties(one: Instance) -> dict[str, Any]:
    largest = one.layer.info.largest_segment_id
    return {
        "MaxLabel": {} if largest is None else {str(VERSION): largest},
        "MaxRepoLabel": largest or 0,
        "NextLabel": 0,
        "IndexedLabels": False,
        "MaxDownresLevel": len(one.layer.halvings) - 1,
    }


def metadata(one: Instance) -> dict[str, Any]:
    """The nd-data document: axes of the extent, and what ``info`` calls ``Extended`` but for labels' own part."""
    properties = _properties(one)
    low, size = one.scale.extent.start, one.scale.extent.size
    axes = [
        {
            "Label": "XYZ"[axis],
            "Resolution": properties["VoxelSize"][axis],
            "Units": "nanometers",
            "Size": size[axis],
            "Offset": low[axis] if one.scale.extent.voxels else 0,
        }
        for axis in range(3)
    ]
    return {"Axes": axes, "Properties": properties}


def server_info(*, version: str, host: str, cores: int, open_files: int, now: str, uptime: str) -> Mapping[str, str]:
    """Every value is text. The last two names are those of 2014, which pydvid wants."""
    return {
        "Cores": str(cores),
        "Maximum Cores": str(cores),
        "DVID Version": "v1.0.0",
        "Datastore Version": "0.11.0",
        "Storage backend": "tensorstore",
        "Server time": now,
        "Server uptime": uptime,
        "RPC Address": "",
        "Host": host,
        "Note": f"wkdvid {version}",
        "TOML location": "config.toml",
        "Max Open Files": str(open_files),
        "Mode": "read only",
        "DVID datastore": "0.9",
        "Storage driver": "wkdvid",
    }
