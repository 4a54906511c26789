"""What DVID's clients see as data instances: of registered datasets their layers.

A colour layer is ``name``, ``name_1``, ``name_2``...: the finest level halved so many times on every axis.
A segmentation is one ``labelmap`` with ``scale=``; what its source has of meshes and skeletons are the key-values of
``name_meshes`` and ``name_skeletons``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from wkdvid.core.access import Protected
from wkdvid.core.annotations import View
from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Box, Float3
from wkdvid.core.keyvalues import KeyValues, MeshValues, SkeletonValues
from wkdvid.core.label_index import LabelIndex
from wkdvid.core.layers import Layer
from wkdvid.core.limits import Limits
from wkdvid.core.pyramid import Scale
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.segments import StoresSegments
from wkdvid.core.stored_values import StoredValues
from wkdvid.core.volume import LayerInfo
from wkdvid.errors import UnsupportedRequest

Compression: TypeAlias = Literal["jpeg", "lz4", "none"]
SegmentPart: TypeAlias = Literal["meshes", "skeletons"]

BLOCK = 64
"""Side of a layer's blocks in voxels, whatever its chunks are: what clients of JPEG and label blocks insist on."""
VOXEL_BYTES: Mapping[str, int] = {
    "uint8blk": 1,
    "uint16blk": 2,
    "uint32blk": 4,
    "uint64blk": 8,
    "float32blk": 4,
    "rgba8blk": 4,
    "labelmap": 8,
}
"""Every type that is offered, with the bytes of a voxel as it is sent."""
VALUE_TYPES = ("keyvalue", "roi", "annotation")
"""Of what clients store that is no voxels."""
_IMAGE_TYPES: Mapping[tuple[str, int], str] = {
    **{(np.dtype(name).str, 1): f"{name}blk" for name in ("uint8", "uint16", "uint32", "uint64", "float32")},
    (np.dtype("uint8").str, 3): "rgba8blk",
}
"""By ``dtype.str``, which numpy has ready; it makes up ``dtype.name`` anew each time."""
SEGMENT_PARTS: tuple[SegmentPart, ...] = ("meshes", "skeletons")
_LEVEL_NAME = re.compile(r"(.+)_([1-9][0-9]?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Data under a name that DVID's clients know, in one node of a repository."""

    name: str
    typename: str
    owner: Protected
    """What access is decided by: the repository, or the dataset that it shows."""
    repository: Repository
    node: Node
    """As which it is looked at."""
    data: DataInstance | None = None
    """Of those that clients have made."""

    @property
    def data_uuid(self) -> str:
        if self.data is not None:
            return self.data.data_uuid
        return hashlib.sha256(f"{self.repository.root}/{self.name}".encode()).hexdigest()[:32]

    @property
    def changeable(self) -> bool:
        """Whether it may be written to, as far as the node is concerned."""
        return not self.node.locked or (self.data is not None and not self.data.versioned)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelInstance(Instance):
    """A layer, or one level of it."""

    layer: Layer
    index: LabelIndex | None = None
    """Of a labelmap's labels, if there is one."""
    level: int
    """Index into ``layer.halvings``; 0 for a labelmap, which has them all."""
    block: int = BLOCK
    """Side of a block."""
    compression: Compression = "lz4"
    """How clients are told the blocks of an image are stored."""
    extent: Box
    """What they are told of where voxels are, which may be less than what is stored."""
    background: int = 0

    @property
    def is_labels(self) -> bool:
        return self.typename == "labelmap"

    @property
    def max_label(self) -> int | None:
        """The largest label of a labelmap, as far as it is known."""
        return self.layer.info.largest_segment_id if self.index is None else self.index.max_label

    @property
    def max_labels(self) -> Mapping[int, int]:
        """By version, of its own and of those in which it became larger."""
        known = self.data.max_labels if self.data is not None else {}
        return known if self.max_label is None else {**known, self.node.version: self.max_label}

    @property
    def scale(self) -> Scale:
        return self.layer.halvings[self.level]

    @property
    def voxel_bytes(self) -> int:
        return VOXEL_BYTES[self.typename]

    def voxel_sides(self, scale: Scale) -> Float3:
        """Of a voxel of ``scale``, in nanometres."""
        return voxel_sides(self.layer, scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentsInstance(Instance):
    """Meshes or skeletons of a labelmap's segments, as key-values that cannot be changed."""

    source: StoresSegments
    part: SegmentPart
    voxel_sides: Float3
    """Of the labelmap's finest scale, in nanometres."""

    def values(self, limits: Limits) -> KeyValues:
        if self.part == "meshes":
            return MeshValues(self.source, limits)
        return SkeletonValues(self.source, self.voxel_sides)


def voxel_sides(layer: Layer, scale: Scale) -> Float3:
    (x, y, z), (a, b, c) = layer.info.voxel_size_nm, scale.mag
    return (x * a, y * b, z * c)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance(Instance):
    """Values that clients store by keys, or what is made of such: a region of interest, annotations."""

    stored: StoredValues

    def values(self, _: Limits) -> KeyValues:
        return self.stored


ANNOTATIONS = "annotations"
"""What a registered dataset's instance of users' annotations is called, unless a layer is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationsInstance(Instance):
    """What users have annotated over clio's API."""

    view: View


def annotations_instance(at: Version, view: View) -> AnnotationsInstance:
    return AnnotationsInstance(
        name=ANNOTATIONS,
        typename="annotation",
        owner=at.owner,
        repository=at.repository,
        node=at.node,
        view=view,
    )


ValuesInstance: TypeAlias = SegmentsInstance | StoredInstance


def type_of(info: LayerInfo) -> str | None:
    """DVID's name for the type of a layer, or None if it has none."""
    if info.category == "segmentation":
        return "labelmap" if info.dtype.kind == "u" and info.num_channels == 1 else None
    return _IMAGE_TYPES.get((info.dtype.str, info.num_channels))


@dataclass(frozen=True, slots=True)
class Version:
    """A node of a repository, as the UUID segment of a path names it."""

    repository: Repository
    node: Node
    dataset: Dataset | None = None
    """The registered dataset that the node shows; None: what clients have made."""

    @property
    def owner(self) -> Protected:
        return self.repository if self.dataset is None else self.dataset


def find(at: Version, dataset: Dataset, name: str) -> Instance | None:
    """
    Args:
        dataset: That of ``at``.
    Raises:
        UnsupportedRequest: the layer's voxels are of no type that DVID has.
    """
    found = _find_voxels(at, dataset, name)
    return found or next((one for one in segments_instances(at, dataset) if one.name == name), None)


def _find_voxels(at: Version, dataset: Dataset, name: str) -> VoxelInstance | None:
    layer, level = dataset.layers.get(name), 0
    if layer is None:
        match = _LEVEL_NAME.fullmatch(name)
        layer = dataset.layers.get(match[1]) if match else None
        if match is None or layer is None or layer.info.category == "segmentation":
            return None
        level = int(match[2])
    if level >= len(layer.halvings):
        return None
    typename = type_of(layer.info)
    if typename is None:
        raise UnsupportedRequest(refusal(layer))
    return _of_layer(at, name, typename, layer, level)


def _of_layer(at: Version, name: str, typename: str, layer: Layer, level: int) -> VoxelInstance:
    return VoxelInstance(
        name=name,
        typename=typename,
        owner=at.owner,
        repository=at.repository,
        node=at.node,
        layer=layer,
        index=layer.index,
        level=level,
        compression=compression_of(layer),
        extent=layer.halvings[level].extent,
    )


def instances(at: Version, dataset: Dataset) -> Iterator[VoxelInstance]:
    """All voxels that a dataset offers, each colour layer with its levels."""
    for name, layer in dataset.layers.items():
        typename = type_of(layer.info)
        if typename is not None:
            yield _of_layer(at, name, typename, layer, 0)
            for level in range(1, len(layer.halvings) if typename != "labelmap" else 0):
                yield _of_layer(at, f"{name}_{level}", typename, layer, level)


def segments_instances(at: Version, dataset: Dataset) -> Iterator[SegmentsInstance]:
    """What a source has of a labelmap's segments. A layer that has the same name goes before it."""
    for name, layer in dataset.layers.items():
        source = layer.volume
        if type_of(layer.info) == "labelmap" and isinstance(source, StoresSegments):
            for part in SEGMENT_PARTS:
                has = source.has_meshes if part == "meshes" else source.has_skeletons
                if has and f"{name}_{part}" not in dataset.layers:
                    yield _of_segments(at, name, layer, source, part)


def _of_segments(at: Version, name: str, layer: Layer, source: StoresSegments, part: SegmentPart) -> SegmentsInstance:
    return SegmentsInstance(
        name=f"{name}_{part}",
        typename="keyvalue",
        owner=at.owner,
        repository=at.repository,
        node=at.node,
        source=source,
        part=part,
        voxel_sides=voxel_sides(layer, layer.halvings[0]),
    )


def refusal(layer: Layer) -> str:
    """Why a layer is not offered."""
    info = layer.info
    return (
        f"layer {info.name!r} ({info.category}, {info.num_channels} x {info.dtype.name}) has no type in DVID; offered"
        " are uint8 to uint64, float32 and RGB images, and unsigned segmentations"
    )


def compression_of(layer: Layer) -> Compression:
    """How DVID's clients are told the blocks of an image are stored: the entry's choice, else JPEG where it is true."""
    gray = type_of(layer.info) == "uint8blk"
    if layer.compression == "none":
        return "none"
    if gray and (
        layer.compression == "jpeg" or (layer.compression is None and layer.info.levels[0].encoding == "jpeg")
    ):
        return "jpeg"
    return "lz4"
