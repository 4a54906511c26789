"""What the stand-in holds: an experiment, its channels, and the voxels of every resolution. Vectors are (x, y, z)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import Box, Float3, Vec3, divide_up, multiply

Array = npt.NDArray[Any]

CUBOID: Vec3 = (512, 512, 16)


@dataclass(frozen=True, kw_only=True)
class Channel:
    name: str
    array: Array
    """(x, y, z), or (t, x, y, z), of resolution 0; voxel 0 lies at the start of the frame."""
    type: Literal["image", "annotation"] = "image"
    public: bool = True
    downsample_status: str = "DOWNSAMPLED"
    base_resolution: int = 0
    storage_type: str = "spdb"
    bucket: str | None = None
    cv_path: str | None = None

    @property
    def datatype(self) -> str:
        return str(self.array.dtype.name)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    collection: str
    name: str
    channels: Sequence[Channel]
    start: Vec3 = (0, 0, 0)
    """Of the coordinate frame."""
    voxel_size: Float3 = (4.0, 4.0, 40.0)
    voxel_unit: str = "nanometers"
    isotropic: bool = False
    """Whether z is downsampled as x and y are."""
    num_hierarchy_levels: int = 1

    @property
    def frame_name(self) -> str:
        return f"{self.name}_frame"

    @property
    def frame(self) -> Box:
        x, y, z = self.channels[0].array.shape[-3:]
        return Box.at(self.start, (x, y, z))

    @property
    def time_samples(self) -> int:
        array = self.channels[0].array
        return int(array.shape[0]) if array.ndim == 4 else 1

    def channel(self, name: str) -> Channel | None:
        return next((channel for channel in self.channels if channel.name == name), None)

    def factors(self, resolution: int) -> Vec3:
        """Voxels of resolution 0 in one of this one."""
        side = 1 << resolution
        return (side, side, side if self.isotropic else 1)

    def stop(self, resolution: int) -> Vec3:
        """The extent as the server gives it: from 0, rounded up."""
        return divide_up(self.frame.stop, self.factors(resolution))

    def voxels(self, channel: Channel, resolution: int, box: Box) -> Array:
        """Voxels (t, x, y, z) of a box: every n-th voxel of resolution 0; zeros where there is none."""
        times = channel.array.reshape(-1, *self.frame.size)
        factors, start = self.factors(resolution), self.start
        out = np.zeros((len(times), *box.size), channel.array.dtype)
        # In voxels of the box: where positions of resolution 0 lie within the frame.
        inside = box.intersect(Box(divide_up(start, factors), divide_up(self.frame.stop, factors)))
        if inside is None:
            return out
        places = zip(multiply(inside.start, factors), multiply(inside.stop, factors), start, factors, strict=True)
        source = tuple(slice(low - zero, high - zero, step) for low, high, zero, step in places)
        corners = zip(inside.start, inside.stop, box.start, strict=True)
        target = tuple(slice(low - zero, high - zero) for low, high, zero in corners)
        out[(slice(None), *target)] = times[(slice(None), *source)]
        return out
