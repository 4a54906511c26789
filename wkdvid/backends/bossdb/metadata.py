"""The documents of an experiment, its coordinate frame and its channels, as values. Vectors are (x, y, z)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wkdvid.backends.axes import nm_per_unit
from wkdvid.backends.numbers import is_number, is_size
from wkdvid.core.geometry import Box, Float3, Vec3
from wkdvid.core.volume import Category
from wkdvid.errors import InvalidRequest

CATEGORIES: Mapping[str, Category] = {"image": "color", "annotation": "segmentation"}
DTYPES = ("uint8", "uint16", "uint64")
"""Those that the server's own store has; it lists uint32 as well."""
CUBOID: Vec3 = (512, 512, 16)
"""The server's unit of storage, where it does not say."""

_NAME = re.compile(r"[\w-]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    coord_frame: str
    channels: tuple[str, ...]
    time_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    extent: Box
    """In voxels of resolution 0. The server compares the boxes of every resolution with it."""
    voxel_size_nm: Float3
    unit_nm: float
    """Nanometres in the unit of all voxel sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    category: Category
    dtype: np.dtype[Any]
    base_resolution: int
    is_downsampled: bool
    bucket: str | None
    """URL of the precomputed volume that holds the voxels; None where the server itself does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """One level of the server's pyramid."""

    number: int
    """0 is that of the frame."""
    voxel_size_nm: Float3
    stop: Vec3
    """Where the voxels of this resolution end, exclusive."""
    cuboid: Vec3


def check_resource(name: object, what: str) -> str:
    """A name that can stand in the server's URLs.

    Raises:
        InvalidRequest: it cannot.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidRequest(f"{what}: expected letters, digits, '_' and '-', at most 255, got {name!r}")


def parse_experiment(document: Mapping[str, Any], what: str) -> Experiment:
    """All four parsers raise InvalidRequest, naming the member that is wrong."""
    channels = document.get("channels")
    if not isinstance(channels, list):
        raise InvalidRequest(f"{what}: channels: expected a list, got {channels!r}")
    return Experiment(
        coord_frame=check_resource(document.get("coord_frame"), f"{what}: coord_frame"),
        channels=tuple(check_resource(name, f"{what}: channels") for name in channels),
        time_samples=_whole(document.get("num_time_samples", 1), f"{what}: num_time_samples", least=1),
    )


def parse_frame(document: Mapping[str, Any], what: str) -> Frame:
    start, stop = (
        _vector([document.get(f"{axis}_{end}") for axis in "xyz"], f"{what}: {end}", least=0)
        for end in ("start", "stop")
    )
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        raise InvalidRequest(f"{what}: the frame from {start} to {stop} has no voxels")
    unit_nm = nm_per_unit(document.get("voxel_unit"))
    if unit_nm is None:
        raise InvalidRequest(f"{what}: voxel_unit: unknown unit {document.get('voxel_unit')!r}")
    sizes = [document.get(f"{axis}_voxel_size") for axis in "xyz"]
    return Frame(
        extent=Box(start, stop), voxel_size_nm=_size_nm(sizes, unit_nm, f"{what}: voxel_size"), unit_nm=unit_nm
    )


def parse_channel(document: Mapping[str, Any], what: str) -> Channel:
    kind, dtype = document.get("type"), document.get("datatype")
    bucket = _bucket(document, what) if document.get("storage_type") == "cloudvol" else None
    dtypes = DTYPES if bucket is None else (*DTYPES, "uint32")
    if not isinstance(kind, str) or kind not in CATEGORIES:
        raise InvalidRequest(f"{what}: type: expected image or annotation, got {kind!r}")
    if dtype not in dtypes:
        raise InvalidRequest(f"{what}: datatype: expected one of {', '.join(dtypes)}, got {dtype!r}")
    return Channel(
        category=CATEGORIES[kind],
        dtype=np.dtype(dtype).newbyteorder("<"),
        base_resolution=_whole(document.get("base_resolution", 0), f"{what}: base_resolution", least=0),
        is_downsampled=document.get("downsample_status") == "DOWNSAMPLED",
        bucket=bucket,
    )


def _bucket(document: Mapping[str, Any], what: str) -> str:
    bucket, path = document.get("bucket"), document.get("cv_path")
    if not isinstance(bucket, str) or not bucket or not isinstance(path, str):
        raise InvalidRequest(f"{what}: a cloudvol channel has a bucket and a cv_path, got {bucket!r} and {path!r}")
    return f"s3://{bucket.removeprefix('s3://').strip('/')}/{path.strip('/')}"


def parse_resolutions(document: Mapping[str, Any], unit_nm: float, what: str) -> Sequence[Resolution]:
    """The pyramid of the downsample route, finest first, by the number of the resolution: one digit, as in the URLs."""
    sizes, extents, cuboids = (_members(document, name, what) for name in ("voxel_size", "extent", "cuboid_size"))
    numbers = sorted(int(key) for key in sizes if key in extents and re.fullmatch(r"\d", key, re.ASCII))
    return [
        Resolution(
            number=number,
            voxel_size_nm=_size_nm(sizes[str(number)], unit_nm, f"{what}: voxel_size.{number}"),
            stop=_vector(extents[str(number)], f"{what}: extent.{number}", least=1),
            cuboid=_vector(cuboids.get(str(number), CUBOID), f"{what}: cuboid_size.{number}", least=1),
        )
        for number in numbers
    ]


def _members(document: Mapping[str, Any], name: str, what: str) -> Mapping[str, Any]:
    value = document.get(name)
    if isinstance(value, dict):
        return value
    raise InvalidRequest(f"{what}: {name}: expected an object, got {value!r}")


def _whole(value: object, what: str, least: int) -> int:
    if is_number(value) and isinstance(value, int) and value >= least:
        return value
    raise InvalidRequest(f"{what}: expected a whole number, {least} or more, got {value!r}")


def _vector(value: object, what: str, least: int) -> Vec3:
    if isinstance(value, list) and len(value) == 3 and all(is_number(n) and n == int(n) >= least for n in value):
        return (int(value[0]), int(value[1]), int(value[2]))
    raise InvalidRequest(f"{what}: expected three whole numbers [x, y, z], {least} or more, got {value!r}")


def _size_nm(value: object, unit_nm: float, what: str) -> Float3:
    if isinstance(value, list) and len(value) == 3 and all(is_size(n) for n in value):
        return (value[0] * unit_nm, value[1] * unit_nm, value[2] * unit_nm)
    raise InvalidRequest(f"{what}: expected three positive numbers [x, y, z], got {value!r}")
