"""Server, repositories and instances as DVID describes them (dvid.md B)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.regions import Spans, extent_of
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.frontends.dvid.instances import VALUE_TYPES, VOXEL_BYTES, Instance, VoxelInstance

UNKNOWN_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: sources do not say when they were made."""
MUTATION = 1000000000
"""DVID's first mutation id. Mutations are not counted here."""
ND_DATA = "application/vnd.dvid-nd-data+json"
_TYPES_URL = "github.com/janelia-flyem/dvid/datatype"
ROI_BLOCK = 32
"""Where a region was made without one."""
_COMPRESSIONS = {
    "lz4": "LZ4 compression, level -1",
    "none": "No compression, level -1",
    "snappy": "Go Snappy compression, level -1",
    "gzip": "gzip compression, level -1",
}


def types() -> dict[str, str]:
    """What is offered; the last two are what pydvid looks for."""
    known = {name: _type_url(name) for name in (*VOXEL_BYTES, *VALUE_TYPES)}
    return {**known, "grayscale8": _type_url("uint8blk")}


def _type_url(typename: str) -> str:
    if not typename.endswith("blk"):
        return f"{_TYPES_URL}/{typename}"
    return f"{_TYPES_URL}/imageblk/{typename.removesuffix('blk')}.go"


def repository(
    one: Repository, instances: Iterable[Instance], properties: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """
    Args:
        instances: As they are seen from whichever node is to be shown.
        properties: What there is to say besides.
    """
    return {
        "Root": one.root,
        "Alias": one.alias,
        "Description": one.description,
        "Log": list(one.log),
        "Properties": dict(properties),
        "DataInstances": {each.name: instance(each) for each in instances},
        "DAG": {"Root": one.root, "Nodes": {uuid: _node(one, node) for uuid, node in one.nodes.items()}},
        "MutationID": MUTATION,
        "SavedMutationID": MUTATION,
        "Created": one.created or UNKNOWN_TIME,
        "Updated": one.updated or UNKNOWN_TIME,
    }


def _node(repository: Repository, node: Node) -> dict[str, Any]:
    return {
        "Branch": node.branch,
        "Note": node.note,
        "Log": list(node.log),
        "UUID": node.uuid,
        "VersionID": node.version,
        "Locked": node.locked,
        "Parents": [] if node.parent is None else [repository.nodes[node.parent].version],
        "Children": [child.version for child in repository.children(node.uuid)],
        "Created": node.created or UNKNOWN_TIME,
        "Updated": node.updated or UNKNOWN_TIME,
    }


def instance(one: Instance) -> dict[str, Any]:
    if not isinstance(one, VoxelInstance):
        return {"Base": _base(one), "Extended": _roi_properties(one.data) if one.data and one.typename == "roi" else {}}
    properties = _properties(one)
    if one.is_labels:
        properties |= _label_properties(one)
    return {
        "Base": _base(one),
        "Extended": properties,
        "Extents": {"MinPoint": properties["MinPoint"], "MaxPoint": properties["MaxPoint"]},
    }


def _roi_properties(data: DataInstance) -> dict[str, Any]:
    """An empty region's least z is above its greatest, as in DVID."""
    low, high = data.settings.get("min_z"), data.settings.get("max_z")
    return {
        "BlockSize": [roi_block(data)] * 3,
        "MinZ": 2**31 - 1 if low is None else low,
        "MaxZ": -(2**31) if high is None else high,
    }


def roi_block(data: DataInstance) -> int:
    """Side of a block in voxels."""
    return int(data.settings.get("block_size", ROI_BLOCK))


def partition(spans: Spans, boxes: Sequence[tuple[Box, int]], block: Vec3) -> dict[str, Any]:
    """
    Args:
        boxes: Of blocks, with how many of them are inside the region.
    """
    return {
        "NumTotalBlocks": sum(box.voxels for box, _ in boxes),
        "NumActiveBlocks": sum(inside for _, inside in boxes),
        "NumSubvolumes": len(boxes),
        "ROI": _chunks(extent_of(spans)),
        "Subvolumes": [_subvolume(box, inside, block) for box, inside in boxes],
    }


def _chunks(box: Box) -> dict[str, Any]:
    return {"MinChunk": list(box.start), "MaxChunk": [n - 1 for n in box.stop]}


def _subvolume(box: Box, inside: int, block: Vec3) -> dict[str, Any]:
    voxels = box.scaled_up(block)
    corners = {"MinPoint": list(voxels.start), "MaxPoint": [n - 1 for n in voxels.stop]}
    return {**corners, **_chunks(box), "TotalBlocks": box.voxels, "ActiveBlocks": inside}


def _base(one: Instance) -> dict[str, Any]:
    tags = one.data.tags if one.data is not None else None
    return {
        "TypeName": one.typename,
        "TypeURL": _type_url(one.typename),
        "TypeVersion": "0.2" if one.typename in {"uint8blk", "rgba8blk", "keyvalue"} else "0.1",
        "DataUUID": one.data_uuid,
        "Name": one.name,
        "RepoUUID": one.repository.root,
        "Compression": _compression(one),
        "Checksum": "No checksum",
        "Syncs": list(one.data.settings.get("syncs", ())) if one.data is not None else [],
        "Versioned": one.data is None or one.data.versioned,
        "KVStore": f"wkdvid {one.layer.info.format}" if isinstance(one, VoxelInstance) else "wkdvid",
        "LogStore": "no mutation log set",
        "Tags": None if tags is None else dict(tags),
    }


def _compression(one: Instance) -> str:
    if isinstance(one, VoxelInstance) and one.is_labels:
        return _COMPRESSIONS["gzip"]
    kind, _, level = _chosen_compression(one).partition(":")
    if isinstance(one, VoxelInstance) and kind == "jpeg":
        return f"jpeg compression, level {one.block}"
    return f"{kind} compression, level {level}" if level else _COMPRESSIONS[kind]


def _chosen_compression(one: Instance) -> str:
    if one.data is not None:
        return str(one.data.settings.get("compression", "lz4"))
    return one.compression if isinstance(one, VoxelInstance) else "lz4"


def _properties(one: VoxelInstance) -> dict[str, Any]:
    return {
        "Values": _values(one.typename),
        "Interpolable": not one.is_labels,
        "BlockSize": [one.block] * 3,
        "VoxelSize": list(one.voxel_sides(one.scale)),
        "VoxelUnits": ["nanometers"] * 3,
        **_extents(one.extent, one.block),
        "Background": one.background,
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


def _extents(extent: Box, block: int) -> dict[str, Any]:
    """Inclusive corners, in voxels and in blocks; null where there is no voxel."""
    if not extent.voxels:
        return dict.fromkeys(("MinPoint", "MaxPoint", "MinIndex", "MaxIndex"))
    last = [n - 1 for n in extent.stop]
    return {
        "MinPoint": list(extent.start),
        "MaxPoint": last,
        "MinIndex": [n // block for n in extent.start],
        "MaxIndex": [n // block for n in last],
    }


def _label_properties(one: VoxelInstance) -> dict[str, Any]:
    max_labels = one.max_labels
    return {
        "MaxLabel": {str(version): label for version, label in max_labels.items()},
        "MaxRepoLabel": max(max_labels.values(), default=0),
        "NextLabel": 0,
        "IndexedLabels": one.index is not None,
        "MaxDownresLevel": len(one.layer.halvings) - 1,
    }


def metadata(one: VoxelInstance) -> dict[str, Any]:
    """The nd-data document: axes of the extent, and what ``info`` calls ``Extended`` but for labels' own part."""
    properties = _properties(one)
    low, size = one.extent.start, one.extent.size
    axes = [
        {
            "Label": "XYZ"[axis],
            "Resolution": properties["VoxelSize"][axis],
            "Units": "nanometers",
            "Size": size[axis],
            "Offset": low[axis] if one.extent.voxels else 0,
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
        "DVID datastore": "0.9",
        "Storage driver": "wkdvid",
    }
