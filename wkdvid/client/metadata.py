"""What a volume is: its axes, where its voxels lie, what a voxel is. DVID's nd-data document, as pydvid has it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.client.errors import InvalidArgument

Coordinate: TypeAlias = int | None
"""None where the volume has no voxels yet."""
DTYPES = frozenset({*(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)), "float32", "float64"})
MOST_CHANNELS = 256
MOST_BLOCK_VOXELS = 2**27
BLOCK = 64
"""Voxels on each side of a block, where the server does not say."""


class VoxelsMetadata(dict[str, Any]):
    """
    Raises:
        InvalidArgument: the document lacks something, or says what cannot be.
    """

    TYPENAMES: ClassVar[Mapping[tuple[str, int], str]] = {
        ("uint8", 1): "grayscale8",
        ("uint32", 1): "labels32",
        ("uint64", 1): "labels64",
        ("uint8", 4): "rgba8",
    }
    """By dtype and channels, as DVID called them in 2014; it and wkdvid take these names still."""

    def __init__(self, metadata: Mapping[str, Any] | str) -> None:
        try:
            super().__init__(json.loads(metadata) if isinstance(metadata, str) else metadata)
            _check(self)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidArgument(f"metadata of a volume: {error!r} is missing or of another type") from error

    @classmethod
    def of_instance(cls, info: Mapping[str, Any]) -> VoxelsMetadata:
        """From the document that an instance gives as its ``info``."""
        extended = info["Extended"]
        low, high = extended["MinPoint"], extended["MaxPoint"]
        axes = [
            {
                "Label": "XYZ"[i],
                "Resolution": extended["VoxelSize"][i],
                "Units": extended["VoxelUnits"][i],
                "Size": 0 if low is None or high is None else high[i] - low[i] + 1,
                "Offset": 0 if low is None or high is None else low[i],
            }
            for i in range(3)
        ]
        return cls({"Axes": axes, "Properties": extended})

    @classmethod
    def create_default_metadata(
        cls, shape: Sequence[int], dtype: npt.DTypeLike, axiskeys: str, resolution: float, units: str
    ) -> VoxelsMetadata:
        """
        Args:
            shape: Channels, then a size for each other axis; 0 where it is not known yet.
            axiskeys: One letter an axis, ``c`` first: ``cxyz``.
            resolution: Of all axes, in ``units`` a voxel.
        """
        if axiskeys[:1] != "c" or len(axiskeys) != len(shape):
            raise InvalidArgument(f"axes {axiskeys!r} of shape {tuple(shape)}: one letter each, c first, are expected")
        axes = [
            {"Label": key.upper(), "Resolution": resolution, "Units": units, "Size": int(size), "Offset": 0}
            for key, size in zip(axiskeys[1:], shape[1:], strict=True)
        ]
        values = [{"DataType": np.dtype(dtype).name, "Label": ""} for _ in range(shape[0])]
        return cls({"Axes": axes, "Properties": {"Values": values}})

    @classmethod
    def create_from_h5_dataset(cls, dataset: Any) -> VoxelsMetadata:
        """Of an array of h5py in Fortran order, with a channel axis; its attribute ``dvid_metadata`` goes first."""
        if "dvid_metadata" in dataset.attrs:
            return cls(dataset.attrs["dvid_metadata"])
        return cls.create_default_metadata(dataset.shape, dataset.dtype, "cxyzt"[: len(dataset.shape)], 1.0, "")

    @property
    def shape(self) -> tuple[Coordinate, ...]:
        """Channels, then the exclusive end of each axis: coordinates, not lengths."""
        ends = (axis["Offset"] + axis["Size"] if axis["Size"] else None for axis in self["Axes"])
        return (self.channels, *ends)

    @shape.setter
    def shape(self, shape: Sequence[int]) -> None:
        self._check_channels(shape[0], self.channels)
        for axis, end in zip(self["Axes"], shape[1:], strict=True):
            axis["Size"] = int(end) - axis["Offset"]

    @property
    def minindex(self) -> tuple[int, ...]:
        """0, then the first coordinate of each axis."""
        return (0, *(axis["Offset"] for axis in self["Axes"]))

    @minindex.setter
    def minindex(self, minindex: Sequence[int]) -> None:
        self._check_channels(minindex[0], 0)
        for axis, low, end in zip(self["Axes"], minindex[1:], self.shape[1:], strict=True):
            axis["Offset"], axis["Size"] = int(low), (end or int(low)) - int(low)

    @staticmethod
    def _check_channels(given: int, expected: int) -> None:
        if given != expected:
            raise InvalidArgument(f"the number of channels cannot be changed: {given} in the place of {expected}")

    @property
    def channels(self) -> int:
        return len(self["Properties"]["Values"])

    @property
    def dtype(self) -> np.dtype[Any]:
        name: str = self["Properties"]["Values"][0]["DataType"]
        return np.dtype(name)

    @property
    def axiskeys(self) -> str:
        """``c``, then the axes with the fastest first."""
        return "c" + "".join(axis["Label"].lower() for axis in self["Axes"])

    @property
    def block_size(self) -> tuple[int, ...]:
        """Voxels of a block on each axis but the channels'."""
        return tuple(self["Properties"].get("BlockSize") or (BLOCK,) * len(self["Axes"]))

    def at_scale(self, scale: int) -> VoxelsMetadata:
        """Of the same volume with every axis halved ``scale`` times."""
        factor = 2**scale
        axes = []
        for axis in self["Axes"]:
            low, end = axis["Offset"] // factor, -(-(axis["Offset"] + axis["Size"]) // factor)
            size = end - low if axis["Size"] else 0
            axes.append({**axis, "Resolution": axis["Resolution"] * factor, "Offset": low, "Size": size})
        return type(self)({**self, "Axes": axes})

    def determine_dvid_typename(self) -> str:
        """
        Raises:
            InvalidArgument: DVID has no type for such voxels.
        """
        kind = (self.dtype.name, self.channels)
        if kind in self.TYPENAMES:
            return self.TYPENAMES[kind]
        if kind in {("uint16", 1), ("float32", 1)}:
            return f"{kind[0]}blk"
        raise InvalidArgument(f"DVID has no type for {self.channels} channels of {self.dtype}")

    @classmethod
    def determine_channels_from_dvid_typename(cls, typename: str) -> tuple[str, int]:
        """Name of the dtype, and the number of channels."""
        for kind, name in cls.TYPENAMES.items():
            if name == typename:
                return kind
        raise InvalidArgument(f"{typename!r} is none of {', '.join(cls.TYPENAMES.values())}")

    def to_json(self) -> str:
        return json.dumps(self)


def _check(metadata: VoxelsMetadata) -> None:
    values, axes = metadata["Properties"]["Values"], metadata["Axes"]
    kinds = {value["DataType"] for value in values}
    if len(kinds) != 1 or not kinds <= DTYPES or len(values) > MOST_CHANNELS:
        raise InvalidArgument(
            f"metadata of a volume: {len(values)} channels of {sorted(kinds)}; one known type is needed"
        )
    for axis in axes:
        if len(axis["Label"]) != 1 or type(axis["Size"]) is not int or type(axis["Offset"]) is not int:
            raise InvalidArgument(f"metadata of a volume: {axis} is no axis")
        if axis["Size"] < 0 or not axis["Resolution"] >= 0 or not isinstance(axis["Units"], str):
            raise InvalidArgument(f"metadata of a volume: {axis} is no axis")
    if not axes or len(set(metadata.axiskeys)) != 1 + len(axes):
        raise InvalidArgument(f"metadata of a volume: axes {metadata.axiskeys[1:]!r}")
    block = metadata.block_size
    if len(block) != len(axes) or not all(type(n) is int and n >= 1 for n in block):
        raise InvalidArgument(f"metadata of a volume: BlockSize {block}")
    if math.prod(block) > MOST_BLOCK_VOXELS:
        raise InvalidArgument(f"metadata of a volume: BlockSize {block}, over {MOST_BLOCK_VOXELS} voxels")
