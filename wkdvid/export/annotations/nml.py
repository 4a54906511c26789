"""webKnossos's NML: a tree for each annotation, of one node or of two with an edge between them.

What is said of an annotation are its tree's name and metadata. Of any other NML, nodes without edges are points and
edges are lines. Format: https://docs.webknossos.org/webknossos/data/concepts.html#nml-files
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from wkdvid.core.annotations import KINDS, LINE, POINT, Annotation
from wkdvid.core.geometry import Float3
from wkdvid.errors import InvalidRequest
from wkdvid.export.annotations.rows import CORNERS, SHOWN, Found, Wrong, found

CONTENT_TYPE = "application/xml"
PIECE = 1 << 16
"""Bytes that are parsed at a time."""
_SAID = ("user", "description", "tags", "prop")
"""What of an annotation is in the metadata of its tree, beside its kind. Its title is the tree's name."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


# ---- writing ------------------------------------------------------------------------------------------------------


def header(dataset: str, organization: str, voxel_size_nm: Float3) -> bytes:
    scale = " ".join(f'{axis}="{size:g}"' for axis, size in zip("xyz", voxel_size_nm, strict=True))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<things>\n<parameters>\n'
        f"<experiment name={_quoted(dataset)} organization={_quoted(organization)}/>\n"
        f'<scale {scale} unit="nanometer"/>\n</parameters>\n'
    ).encode()


def trees(annotations: Iterable[Annotation], first: int) -> bytes:
    """
    Args:
        first: Number of the first tree, from 1; the following ones have the next.
    """
    return "".join(_tree(number, one) for number, one in enumerate(annotations, first)).encode()


FOOTER = b"<branchpoints/>\n<comments/>\n<groups/>\n</things>\n"


def _tree(number: int, one: Annotation) -> str:
    nodes = [2 * number - 1 + place for place in range(len(one.points))]
    places = "".join(
        f'<node id="{node}" radius="1" x="{x}" y="{y}" z="{z}"/>'
        for node, (x, y, z) in zip(nodes, one.points, strict=True)
    )
    edge = f'<edge source="{nodes[0]}" target="{nodes[1]}"/>' if len(nodes) > 1 else ""
    metadata = "".join(_entries(one))
    name = _quoted(one.fields.get("title") or one.key)
    color = 'color.r="1" color.g="0.8" color.b="0" color.a="1"'
    return (
        f'<thing id="{number}" {color} name={name}>\n<nodes>{places}</nodes>\n<edges>{edge}</edges>\n'
        f"<metadata>{metadata}</metadata>\n</thing>\n"
    )


def _entries(one: Annotation) -> Iterator[str]:
    tags, prop, description = (one.fields.get(name) for name in ("tags", "prop", "description"))
    yield _entry("kind", one.kind)
    yield _entry("user", one.email)
    if description:
        yield _entry("description", description)
    if tags and all(isinstance(tag, str) for tag in tags):
        values = " ".join(f"stringListValue-{place}={_quoted(tag)}" for place, tag in enumerate(tags))
        yield f'<metadataEntry key="tags" {values}/>'
    elif tags:
        yield _entry("tags", json.dumps(tags))
    if prop:
        yield _entry("prop", json.dumps(prop))


def _entry(key: str, text: str) -> str:
    return f"<metadataEntry key={_quoted(key)} stringValue={_quoted(text)}/>"


def _quoted(text: str) -> str:
    return quoteattr(_NO_XML.sub("\ufffd", text))


# ---- reading ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tree:
    line: int
    name: str
    nodes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def read(body: bytes, email: str) -> Iterator[Found]:
    """
    Args:
        email: Whose the trees are that do not say.
    Raises:
        InvalidRequest: not XML, with a document type (nothing is ever resolved), or not NML.
    """
    comments: dict[str, str] = {}
    for element, attributes, _ in _elements(body):
        if element == "comment":
            comments[attributes.get("node", "")] = attributes.get("content", "")
    for tree in _trees(body):
        yield from _found(tree, comments, email)


def _trees(body: bytes) -> Iterator[_Tree]:
    tree: _Tree | None = None
    for element, attributes, line in _elements(body):
        if element == "thing":
            if tree is not None:
                yield tree
            tree = _Tree(line, attributes.get("name") or attributes.get("comment", ""))
        elif tree is not None:
            _add(tree, element, attributes)
    if tree is not None:
        yield tree


def _add(tree: _Tree, element: str, attributes: Mapping[str, str]) -> None:
    if element == "node":
        tree.nodes[attributes.get("id", "")] = attributes
    elif element == "edge":
        tree.edges.append((attributes.get("source", ""), attributes.get("target", "")))
    elif element == "metadataEntry":
        items = [text for name, text in attributes.items() if name.startswith("stringListValue-")]
        value = attributes.get("stringValue") or attributes.get("numberValue") or attributes.get("boolValue") or ""
        tree.metadata[attributes.get("key", "")] = json.dumps(items) if items else value


def _found(tree: _Tree, comments: Mapping[str, str], email: str) -> Iterator[Found]:
    lost = [node for edge in tree.edges for node in edge if node not in tree.nodes]
    if lost:
        yield Wrong(tree.line, f"an edge to a node {lost[0][:SHOWN]!r} that is not there")
        return
    kind, wanted = tree.metadata.get("kind", ""), list(tree.nodes)
    if kind in KINDS:
        if 3 * len(wanted) == KINDS[kind][1]:
            yield _one(tree, kind, wanted, comments, email)
        else:
            yield Wrong(tree.line, f"a {kind} has {KINDS[kind][1] // 3} nodes, this tree has {len(wanted)}")
        return
    joined = {node for edge in tree.edges for node in edge}
    for node in tree.nodes:
        if node not in joined:
            yield _one(tree, POINT, [node], comments, email)
    for edge in tree.edges:
        yield _one(tree, LINE, edge, comments, email)


def _one(tree: _Tree, kind: str, nodes: Iterable[str], comments: Mapping[str, str], email: str) -> Found:
    names = list(nodes)
    places = [tree.nodes[node].get(axis, "") for node in names for axis in "xyz"]
    said = {name: tree.metadata[name] for name in _SAID if name in tree.metadata}
    comment = "; ".join(comments[node] for node in names if comments.get(node))
    cells = {"kind": kind, "title": tree.name, "description": comment, **said}
    one = found(tree.line, {**cells, **dict(zip(CORNERS, places, strict=False))}, email)
    if isinstance(one, Wrong) or tree.name != one.annotation.key:
        return one
    fields = {name: value for name, value in one.annotation.fields.items() if name != "title"}
    return replace(one, annotation=replace(one.annotation, fields=fields))


def _elements(body: bytes) -> Iterator[tuple[str, Mapping[str, str], int]]:
    """Names, attributes and lines of all elements, in the order in which they begin."""
    parser = expat.ParserCreate()
    some: list[tuple[str, Mapping[str, str], int]] = []

    def begin(name: str, attributes: Mapping[str, str]) -> None:
        some.append((name, attributes, parser.CurrentLineNumber))

    def refuse(*_: Any) -> None:
        raise InvalidRequest(f"line {parser.CurrentLineNumber}: a document type is not accepted")

    parser.StartElementHandler, parser.StartDoctypeDeclHandler = begin, refuse
    try:
        for at in range(0, len(body) + 1, PIECE):
            parser.Parse(body[at : at + PIECE], at + PIECE > len(body))
            yield from some
            some.clear()
    except expat.ExpatError as error:
        raise InvalidRequest(f"line {error.lineno}: not XML: {expat.ErrorString(error.code)}") from error
