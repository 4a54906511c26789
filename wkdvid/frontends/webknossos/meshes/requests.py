"""Requests for meshes -> values (webknossos.md A10, A11 and B.11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkdvid.core.geometry import Float3, Vec3
from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.frontends.webknossos import parse


@dataclass(frozen=True, slots=True)
class CubeRequest:
    """The body of POST adHocMesh."""

    position: Vec3
    """In voxels of mag 1."""
    mag: Vec3
    size: Vec3
    """In voxels of ``mag``."""
    segment: int
    voxel_size: Float3
    """Of mag 1, in the unit that the answer shall have."""
    neighbors_wanted: bool


@dataclass(frozen=True, slots=True)
class StoredMeshRequest:
    """The body of POST meshes/fullMesh.stl, of a mesh file."""

    file: str
    segment: int
    level: int


@dataclass(frozen=True, slots=True)
class GrownMeshRequest:
    """As ``StoredMeshRequest``, of voxels."""

    segment: int
    mag: Vec3
    seed: Vec3
    """A voxel of the segment, in voxels of mag 1."""


def parse_cube(body: Any) -> CubeRequest:
    """
    Raises:
        InvalidRequest: a member that is missing or out of its range.
        NotFound: it asks for a mapping.
    """
    members = _members(body, mapping="mapping")
    size = parse.vector(members.get("cubeSize"), "cubeSize")
    if not all(1 < n <= parse.MAX_SIDE + 1 for n in size):
        raise InvalidRequest(f"cubeSize: expected whole numbers from 2 to {parse.MAX_SIDE + 1}, got {list(size)}")
    factors = members.get("voxelSizeFactorInUnit")
    return CubeRequest(
        parse.vector(members.get("position"), "position"),
        parse.positive_vector(members.get("mag"), "mag"),
        size,
        parse.segment_id(members.get("segmentId"), "segmentId"),
        parse.sizes(factors, "voxelSizeFactorInUnit"),
        members.get("findNeighbors") is not False,
    )


def parse_full(body: Any) -> StoredMeshRequest | GrownMeshRequest:
    """Errors as ``parse_cube``."""
    members = _members(body, mapping="mappingName")
    segment, level = parse.segment_id(members.get("segmentId"), "segmentId"), members.get("lod")
    if level is not None and (type(level) is not int or level < 0):
        raise InvalidRequest(f"lod: expected a whole number, not negative, got {str(level)[:80]!r}")
    if members.get("meshFileName") is not None:
        return StoredMeshRequest(_file_name(members["meshFileName"]), segment, level or 0)
    mag = parse.positive_vector(members.get("mag"), "mag")
    return GrownMeshRequest(segment, mag, parse.vector(members.get("seedPosition"), "seedPosition"))


def parse_segment(body: Any) -> tuple[str, int, bool]:
    """The mesh file and segment that a list of fragments is asked for, and whether by a server of 2019."""
    members = _members(body)
    file = members.get("meshFileName", members.get("meshFile"))
    is_old = isinstance(members.get("meshFile"), str) and "meshFileName" not in members
    return _file_name(file), parse.segment_id(members.get("segmentId"), "segmentId"), is_old


def parse_fragments(body: Any) -> tuple[str, int, Sequence[tuple[int, int]]]:
    """The mesh file, the segment, and offset and size of each fragment that is asked for."""
    members = _members(body)
    wanted = members.get("requests")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(one, dict) for one in wanted):
        raise InvalidRequest("requests: expected a list of at least one object")
    segments = {parse.segment_id(one.get("segmentId"), f"requests[{i}].segmentId") for i, one in enumerate(wanted)}
    if len(segments) > 1:
        raise InvalidRequest("requests: all must have the same segmentId")
    numbers = [(one.get("byteOffset"), one.get("byteSize")) for one in wanted]
    for i, pair in enumerate(numbers):
        if not all(type(number) is int for number in pair):
            raise InvalidRequest(f"requests[{i}]: byteOffset and byteSize: expected whole numbers")
    return _file_name(members.get("meshFileName", members.get("meshFile"))), segments.pop(), numbers


def parse_old_fragment(body: Any) -> tuple[str, int, Vec3]:
    """The mesh file, the segment, and the place of what servers of 2019 ask for."""
    members = _members(body)
    segment = parse.segment_id(members.get("segmentId"), "segmentId")
    return _file_name(members.get("meshFile")), segment, parse.vector(members.get("position"), "position")


def _members(body: Any, mapping: str = "") -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequest("expected a JSON object")
    if body.get(mapping) is not None:
        raise NotFound(f"{mapping}: there are no mappings")
    return body


def _file_name(value: Any) -> str:
    """By itself, or in what GET meshes tells of the file."""
    name = value.get("name", value.get("meshFileName")) if isinstance(value, dict) else value
    if isinstance(name, str):
        return name
    raise InvalidRequest("meshFileName: expected the name of a mesh file")
