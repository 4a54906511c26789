"""``datasource-properties.json`` as values: strict on what is used, silent on the rest.

A layer that cannot be read is left out by its name, for the others are served all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.axes import nm_per_unit
from wkdvid.backends.numbers import LARGEST, is_count, is_number, is_size
from wkdvid.backends.quoting import plain
from wkdvid.core.entries import CATEGORIES
from wkdvid.core.geometry import Box, Float3, Vec3
from wkdvid.core.volume import Category
from wkdvid.errors import InvalidRequest

PROPERTIES_FILE = "datasource-properties.json"
BACKENDS: Mapping[str, str] = {"wkw": "wkw", "zarr": "zarr", "zarr3": "zarr"}
"""By ``dataFormat``, which backend reads the layer."""
FLOATS: Mapping[str, str] = {"float": "float32", "double": "float64"}
TRANSFORMED = "The layer has coordinateTransformations, which are not applied."
WITHIN = Box((0, 0, 0), (LARGEST, LARGEST, LARGEST))
"""The files are numbered from 0."""


@dataclass(frozen=True, slots=True)
class MagProperties:
    mag: Vec3
    folders: tuple[str, ...]
    """Below the dataset's folder; the first that is there holds the mag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProperties:
    name: str
    backend: str
    category: Category
    box: Box
    """In voxels of mag 1."""
    mags: tuple[MagProperties, ...]
    largest_segment_id: int | None
    element: str | None
    """The type and number of channels that it says, as in ``3 x uint8``; None if it says none that is known."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetProperties:
    voxel_size_nm: Float3
    """Of mag 1."""
    layers: Mapping[str, LayerProperties]
    left_out: Mapping[str, str]
    """Layers that cannot be read, and why."""
    notes: tuple[str, ...]


def parse_properties(document: Mapping[str, Any], what: str) -> DatasetProperties:
    """
    Raises:
        InvalidRequest: what concerns all layers is wrong, or there is none.
    """
    size, notes = _voxel_size(document.get("scale"), f"{what}: scale")
    members = document.get("dataLayers")
    if not isinstance(members, list) or not members:
        raise InvalidRequest(f"{what}: dataLayers: expected a list of at least one layer")
    layers: dict[str, LayerProperties] = {}
    left_out: dict[str, str] = {}
    for i, member in enumerate(members):
        name = member.get("name") if isinstance(member, dict) else None
        try:
            if not isinstance(name, str):
                raise InvalidRequest(f"{what}: dataLayers[{i}]: expected an object with a name")
            layers[name] = _layer(member, name, f"{what}: layer {plain(name)}")
        except InvalidRequest as error:
            left_out[name if isinstance(name, str) else f"dataLayers[{i}]"] = str(error)
    return DatasetProperties(voxel_size_nm=size, layers=layers, left_out=left_out, notes=notes)


def _layer(member: Mapping[str, Any], name: str, what: str) -> LayerProperties:
    data_format = member.get("dataFormat")
    if not isinstance(data_format, str) or data_format not in BACKENDS:
        raise InvalidRequest(f"{what}: is stored as {plain(data_format)!r}; register it under the backend of that name")
    category = member.get("category")
    if category not in ("color", "segmentation"):
        raise InvalidRequest(f"{what}: category: expected color or segmentation, got {plain(category)!r}")
    listed = member.get("mags", member.get("wkwResolutions"))
    if not isinstance(listed, list) or not listed:
        raise InvalidRequest(f"{what}: mags: expected a list of at least one")
    return LayerProperties(
        name=name,
        backend=BACKENDS[data_format],
        category=CATEGORIES[category],
        box=_box(member.get("boundingBox"), f"{what}: boundingBox"),
        mags=tuple(_mag(mag, name, f"{what}: mags[{i}]") for i, mag in enumerate(listed)),
        largest_segment_id=_segment_id(member.get("largestSegmentId")),
        element=_element(member.get("elementClass"), member.get("numChannels")),
        notes=(TRANSFORMED,) if member.get("coordinateTransformations") else (),
    )


def _element(element_class: object, num_channels: object) -> str | None:
    """An element is a voxel with all its channels: two of 8 bits are uint16, RGB is uint24."""
    count = num_channels if is_count(num_channels) else 3 if element_class == "uint24" else 1
    found = re.fullmatch(r"(float|double)|(u?int)([0-9]{1,4})", str(element_class))
    if found is None:
        return None
    name = FLOATS[found[1]] if found[1] else f"{found[2]}{int(found[3]) // count}"
    return f"{count} x {name}"


def _box(member: object, what: str) -> Box:
    box = member if isinstance(member, dict) else {}
    start, size = _whole(box.get("topLeft")), _whole([box.get(side) for side in ("width", "height", "depth")])
    if start is None or size is None or min(size) < 0:
        raise InvalidRequest(f"{what}: expected topLeft [x, y, z], width, height and depth, got {plain(member)}")
    inside = Box.at(start, size).intersect(WITHIN)
    if inside is None:
        raise InvalidRequest(f"{what}: holds no voxel at positions from 0 on: {plain(member)}")
    return inside


def _mag(member: object, layer: str, what: str) -> MagProperties:
    """``path`` came later than ``mag``, and ``mag`` was called ``resolution`` before."""
    given = member if isinstance(member, dict) else {}
    value = given.get("mag", given.get("resolution"))
    mag = _whole([value] * 3 if isinstance(value, int) else value)
    if mag is None or min(mag) < 1:
        raise InvalidRequest(f"{what}: mag: expected three positive whole numbers [x, y, z], got {plain(value)}")
    path = given.get("path")
    if path is None:
        return MagProperties(mag, tuple(f"{layer}/{name}" for name in folder_names(mag)))
    if not isinstance(path, str) or path.startswith("/") or "://" in path:
        raise InvalidRequest(
            f"{what}: path: expected that of a folder below the dataset's, got {plain(path)};"
            " register a layer that lies elsewhere by its own address"
        )
    return MagProperties(mag, (path,))


def folder_names(mag: Vec3) -> tuple[str, ...]:
    """What a mag's folder is called: ``2-2-1``, and ``2`` for ``2-2-2``."""
    full = "-".join(map(str, mag))
    return (str(mag[0]), full) if len(set(mag)) == 1 else (full,)


def mag_of_folder(name: str) -> Vec3 | None:
    """The mag by the name of its folder; None if it is none."""
    found = re.fullmatch(r"([1-9]\d{0,8})(?:-([1-9]\d{0,8})-([1-9]\d{0,8}))?", name)
    return None if found is None else (int(found[1]), int(found[2] or found[1]), int(found[3] or found[1]))


def _whole(value: object) -> Vec3 | None:
    if isinstance(value, list) and len(value) == 3 and all(is_number(n) and n == int(n) for n in value):
        return (int(value[0]), int(value[1]), int(value[2]))
    return None


def _voxel_size(member: object, what: str) -> tuple[Float3, tuple[str, ...]]:
    """Of version 1 with a unit; before that a bare list, in nanometres."""
    given = member if isinstance(member, dict) else {"factor": member}
    factor, unit = given.get("factor"), given.get("unit", "nanometer")
    if not isinstance(factor, list) or len(factor) != 3 or not all(is_size(n) for n in factor):
        raise InvalidRequest(f"{what}: expected three positive numbers [x, y, z], got {plain(member)}")
    nm = nm_per_unit(unit)
    notes = () if nm else (f"The unit of the voxel size is {plain(unit)}; nanometres are assumed.",)
    x, y, z = (n * (nm or 1.0) for n in factor)
    return (x, y, z), notes


def _segment_id(value: object) -> int | None:
    """From 2^53 on, webKnossos writes the number as text in an object of its own."""
    if isinstance(value, dict) and re.fullmatch(r"[0-9]{1,20}", str(value.get("value"))):
        return int(value["value"])
    return value if is_count(value) else None
