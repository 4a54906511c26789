"""Layers as DVID's data instances.

A colour layer is ``name``, ``name_1``, ``name_2``...: the finest level halved so many times on every axis.
A segmentation is one ``labelmap`` with ``scale=``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Float3
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.volume import LayerInfo
from wkdvid.errors import UnsupportedRequest

Kind: TypeAlias = Literal["image", "labels"]
Compression: TypeAlias = Literal["jpeg", "lz4", "none"]

BLOCK = 64
"""Side of a block in voxels, whatever the source's chunks are: what clients of JPEG and label blocks insist on."""
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
_IMAGE_TYPES: Mapping[tuple[str, int], str] = {
    **{(np.dtype(name).str, 1): f"{name}blk" for name in ("uint8", "uint16", "uint32", "uint64", "float32")},
    (np.dtype("uint8").str, 3): "rgba8blk",
}
"""By ``dtype.str``, which numpy has ready; it makes up ``dtype.name`` anew each time."""
_LEVEL_NAME = re.compile(r"(.+)_([1-9][0-9]?)")


@dataclass(frozen=True, slots=True)
class Instance:
    """A layer, or one level of it, under the name that DVID's clients know."""

    name: str
    typename: str
    dataset: Dataset
    layer: Layer
    level: int
    """Index into ``layer.halvings``; 0 for a labelmap, which has them all."""

    @property
    def kind(self) -> Kind:
        return "labels" if self.typename == "labelmap" else "image"

    @property
    def scale(self) -> Scale:
        return self.layer.halvings[self.level]

    @property
    def voxel_bytes(self) -> int:
        return VOXEL_BYTES[self.typename]

    def voxel_sides(self, scale: Scale) -> Float3:
        """Of a voxel of ``scale``, in nanometres."""
        (x, y, z), (a, b, c) = self.layer.info.voxel_size_nm, scale.mag
        return (x * a, y * b, z * c)


def type_of(info: LayerInfo) -> str | None:
    """DVID's name for the type of a layer, or None if it has none."""
    if info.category == "segmentation":
        return "labelmap" if info.dtype.kind == "u" and info.num_channels == 1 else None
    return _IMAGE_TYPES.get((info.dtype.str, info.num_channels))


def find(dataset: Dataset, name: str) -> Instance | None:
    """
    Raises:
        UnsupportedRequest: the layer's voxels are of no type that DVID has.
    """
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
    return Instance(name, typename, dataset, layer, level)


def instances(dataset: Dataset) -> Iterator[Instance]:
    """All that a dataset offers, each colour layer with its levels."""
    for name, layer in dataset.layers.items():
        typename = type_of(layer.info)
        if typename is not None:
            yield Instance(name, typename, dataset, layer, 0)
            for level in range(1, len(layer.halvings) if typename != "labelmap" else 0):
                yield Instance(f"{name}_{level}", typename, dataset, layer, level)


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
