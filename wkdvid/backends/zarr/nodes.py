"""Nodes of a zarr hierarchy as they are stored: v2 in three documents, v3 in one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorstore as ts

from wkdvid.backends.opening import Opener
from wkdvid.backends.zarr.metadata import ArrayMetadata, parse_v2, parse_v3
from wkdvid.core.source import Source
from wkdvid.errors import AuthRejected, InvalidRequest

V2_KEYS = (".zarray", ".zattrs", ".zgroup")
ARRAY_KEYS: Mapping[int, str] = {3: "zarr.json", 2: ".zarray"}
"""Where what TensorStore reads of an array is."""
DRIVERS: Mapping[int, str] = {3: "zarr3", 2: "zarr"}
"""TensorStore's."""
PROBES: Mapping[int, str] = {3: "zarr.json", 2: ".zattrs"}
"""What is asked for to find out about redirects."""
LISTED = 20
"""How many images a message lists."""


@dataclass(frozen=True, slots=True)
class Node:
    source: Source
    version: int
    attributes: Mapping[str, Any]
    array: Mapping[str, Any] | None
    """``.zarray``, or the whole ``zarr.json``; None of a group."""

    @property
    def ome(self) -> Mapping[str, Any]:
        """OME's metadata: a member of the attributes since 0.5."""
        ome = self.attributes.get("ome")
        return ome if isinstance(ome, dict) else self.attributes

    def metadata(self, opener: Opener) -> ArrayMetadata:
        """
        Raises:
            InvalidRequest: a group, or an array that cannot be read.
        """
        what = self.source.name
        if self.array is None:
            raise InvalidRequest(f"{what}: a zarr group where an array is expected")
        if self.version == 2:
            return parse_v2(self.array, self.attributes, what)
        return parse_v3(self.array, opener.limits.chunk_bytes, what)

    async def kvstore(self, opener: Opener) -> Mapping[str, Any]:
        """The store of an array, its metadata as it was checked: TensorStore does not read it once more."""
        return await opener.overlay(self.source, ARRAY_KEYS[self.version], self.array or {})

    async def open(self, opener: Opener) -> ts.TensorStore:
        """Open an array through TensorStore; errors as ``Opener.open``."""
        spec = {"driver": DRIVERS[self.version], "kvstore": await self.kvstore(opener)}
        return await opener.open(spec, self.source.name)


async def find_node(opener: Opener, text: object) -> Node:
    """The node that a user's source names; v3 where there are both.

    Raises:
        InvalidRequest: there is none, or the source is not allowed.
        BackendError: it cannot be read.
    """
    refusal: AuthRejected | None = None
    source = None
    for version, probe in PROBES.items():
        source = await opener.source(text, probe)
        if source.format_hint == f"zarr{5 - version}":  # the other version is asked for
            continue
        try:
            node = await read_node(opener, source, version)
        except AuthRejected as error:  # so a bucket that may not be listed answers for what it lacks
            refusal = error
            continue
        if node is not None:
            return node
    if refusal is not None:
        raise refusal
    where = source.name if source is not None else text
    raise InvalidRequest(f"{where}: there is no zarr.json, .zarray or .zattrs; is this a zarr folder?")


async def read_node(opener: Opener, source: Source, version: int) -> Node | None:
    """The node in a folder, or None if there is none of this version."""
    if version == 2:
        array, attributes, group = await opener.read_documents([(source, key) for key in V2_KEYS])
        there = array is not None or attributes is not None or group is not None
        return Node(source, 2, attributes or {}, array) if there else None
    document = await opener.read_json(source, "zarr.json")
    if document is None:
        return None
    attributes = document.get("attributes")
    is_array = document.get("node_type") == "array"
    return Node(source, 3, attributes if isinstance(attributes, dict) else {}, document if is_array else None)


async def read_child(opener: Opener, parent: Node, path: str) -> Node | None:
    return await read_node(opener, opener.guard.child(parent.source, path), parent.version)


async def read_level(opener: Opener, parent: Node, path: str) -> Node | None:
    """An array that needs no attributes, since its group says what its axes are."""
    source = opener.guard.child(parent.source, path)
    if parent.version == 3:
        return await read_node(opener, source, 3)
    array = await opener.read_json(source, ARRAY_KEYS[2])
    return None if array is None else Node(source, 2, {}, array)


async def image_paths(opener: Opener, node: Node) -> list[str]:
    """Where the images of a collection lie, relative to it: of a plate, a well, a bioformats2raw layout, labels."""
    ome = node.ome
    if "plate" in ome:
        wells = [str(well["path"]) for well in _objects(ome["plate"], "wells") if "path" in well][:LISTED]
        nodes = await asyncio.gather(*(read_child(opener, node, well) for well in wells))
        children = [(well, child) for well, child in zip(wells, nodes, strict=True) if child is not None]
        return [f"{well}/{path}" for well, child in children for path in _images(child.ome)]
    if "well" in ome:
        return _images(ome)
    if "bioformats2raw.layout" in ome:
        child = await read_child(opener, node, "OME")
        series = child.ome.get("series") if child else None
        return [str(path) for path in series] if isinstance(series, list) else await _numbered(opener, node)
    labels = ome.get("labels")
    return [str(path) for path in labels] if isinstance(labels, list) else []


def _images(ome: Mapping[str, Any]) -> list[str]:
    return [str(image["path"]) for image in _objects(ome.get("well"), "images") if "path" in image]


def _objects(parent: object, member: str) -> list[dict[str, Any]]:
    members = parent.get(member) if isinstance(parent, dict) else None
    return [value for value in members if isinstance(value, dict)] if isinstance(members, list) else []


async def _numbered(opener: Opener, node: Node) -> list[str]:
    """The layout's images are called 0, 1, 2... where nothing lists them."""
    names = [str(i) for i in range(LISTED)]
    children = await asyncio.gather(*(read_child(opener, node, name) for name in names))
    return [name for name, child in zip(names, children, strict=True) if child is not None]
