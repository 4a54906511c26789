"""Reads the skeletons of a precomputed volume (skeletons.md of the format's description in Neuroglancer)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wkdvid.backends.numbers import is_number
from wkdvid.backends.opening import Opener
from wkdvid.backends.precomputed.folder import Folder, open_folder
from wkdvid.backends.precomputed.sharding import Sharding, parse_sharding
from wkdvid.backends.quoting import plain
from wkdvid.codecs.skeleton import Attribute, decode
from wkdvid.core.geometry import Float3
from wkdvid.core.segments import Skeleton, Skeletons
from wkdvid.core.source import Source
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk

TYPE = "neuroglancer_skeletons"
DATA_TYPES = ("float32", "int8", "uint8", "int16", "uint16", "int32", "uint32")
MAX_ATTRIBUTES, MAX_COMPONENTS = 256, 1024
RADIUS = "radius"
TYPES = ("vertex_types", "types", "type")
"""What writers call the types that SWC files have; cloud-volume the first."""
IDENTITY = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)


@dataclass(frozen=True, slots=True, eq=False)
class SkeletonInfo:
    """The ``info`` of skeletons."""

    transform: Array
    """float64 (3, 4), from the stored model's space to nanometres."""
    attributes: tuple[Attribute, ...]
    sharding: Sharding | None

    @property
    def scale(self) -> float:
        """Of lengths, where it is not the same along all axes their geometric mean."""
        return float(abs(np.linalg.det(self.transform[:, :3])) ** (1 / 3))


def parse_skeleton_info(document: Mapping[str, Any], what: str) -> SkeletonInfo:
    """
    Raises:
        CorruptChunk: a member that is missing or wrong, by its path.
    """
    if document.get("@type") != TYPE:
        raise CorruptChunk(f"{what}: @type {plain(document.get('@type'))!r} is not {TYPE}")
    transform = document.get("transform", IDENTITY)
    if not isinstance(transform, list | tuple) or len(transform) != 12 or not all(map(is_number, transform)):
        raise CorruptChunk(f"{what}: transform: expected 12 numbers")
    attributes = document.get("vertex_attributes", [])
    if not isinstance(attributes, list) or len(attributes) > MAX_ATTRIBUTES:
        raise CorruptChunk(f"{what}: vertex_attributes: expected a list of at most {MAX_ATTRIBUTES}")
    sharding = document.get("sharding")
    return SkeletonInfo(
        np.array(transform, np.float64).reshape(3, 4),
        tuple(_attribute(one, f"{what}: vertex_attributes[{i}]") for i, one in enumerate(attributes)),
        None if sharding is None else parse_sharding(sharding, f"{what}: sharding"),
    )


def _attribute(document: object, what: str) -> Attribute:
    if not isinstance(document, dict):
        raise CorruptChunk(f"{what}: expected an object")
    name, data_type, components = (document.get(member) for member in ("id", "data_type", "num_components"))
    if not isinstance(name, str) or data_type not in DATA_TYPES:
        raise CorruptChunk(f"{what}: expected an id, and a data_type of {', '.join(DATA_TYPES)}")
    if type(components) is not int or not 1 <= components <= MAX_COMPONENTS:
        raise CorruptChunk(f"{what}.num_components: expected 1 to {MAX_COMPONENTS}")
    return Attribute(name, np.dtype(data_type).newbyteorder("<"), components)


class PrecomputedSkeletons:
    def __init__(self, folder: Folder, info: SkeletonInfo, stretch: Float3) -> None:
        self._folder = folder
        self._info = info
        self._stretch = stretch
        self._limit = folder.opener.limits.chunk_bytes

    async def segments(self) -> Sequence[int]:
        return await self._folder.segments("") if self._info.sharding is None else ()

    async def find(self, segment: int) -> Skeleton | None:
        data = await self._read(segment)
        if data is None:
            return None
        try:
            return await asyncio.to_thread(self._decoded, data)
        except ValueError as error:
            raise CorruptChunk(f"{self._folder.where(f'skeleton of {segment}')}: {error}") from error

    async def _read(self, segment: int) -> bytes | None:
        sharding = self._info.sharding
        if sharding is None:
            return await self._folder.read(str(segment), self._limit)
        found = await self._folder.find_in_shard(sharding, segment, self._limit)
        if found is None:
            return None
        packed = await self._folder.read_there(*found, self._limit)
        return await asyncio.to_thread(sharding.unpacked, packed, self._limit)

    def _decoded(self, data: bytes) -> Skeleton:
        """
        Raises:
            ValueError: it is none.
        """
        vertices, edges, attributes = decode(data, self._info.attributes)
        positions = (vertices @ self._info.transform[:, :3].T + self._info.transform[:, 3]) * self._stretch
        if not np.isfinite(positions).all():
            raise ValueError("a point is at no finite place")
        radii = attributes.get(RADIUS)
        types = next((attributes[name] for name in TYPES if name in attributes), None)
        return Skeleton(
            positions,
            edges,
            None if radii is None else radii * (self._info.scale * self._stretch[0]),
            None if types is None else types.astype(np.int64),
        )


async def open_skeletons(opener: Opener, source: Source, key: str, stretch: Float3) -> Skeletons:
    """
    Args:
        source: The volume's folder.
        key: Of the skeletons' folder, as the volume's info says it.
        stretch: By what the dataset's nanometres are more than the source's, if its entry says another voxel size.
    Raises:
        BackendError: it cannot be read, or holds no skeletons.
    """
    folder = await open_folder(opener, source, key)
    info = parse_skeleton_info(await skeleton_info(folder), folder.where("info"))
    return PrecomputedSkeletons(folder, info, stretch)


async def skeleton_info(folder: Folder) -> Mapping[str, Any]:
    """The ``info`` of skeletons.

    Raises:
        BackendError: it is not there, or cannot be read.
    """
    document = await folder.opener.read_json(folder.source, "info")
    if document is None:
        raise CorruptChunk(f"{folder.where('info')} is not there")
    return document
