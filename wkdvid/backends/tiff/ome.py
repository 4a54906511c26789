"""OME-XML in the description of a TIFF's first page: what its pages are.

https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/specification.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np

from wkdvid.backends.axes import nm_per_unit
from wkdvid.backends.numbers import is_size
from wkdvid.backends.tiff.planes import LARGEST_STACK, PartialSize, Planes, Table, arrange_planes
from wkdvid.errors import CorruptChunk, InvalidRequest

DEFAULT_UNIT = "µm"
PLANE_AXES = "ZCT"


@dataclass(frozen=True, slots=True)
class _TiffData:
    """So many planes, beginning with one of the image, in so many pages, beginning with one of the file."""

    first: tuple[int, ...]
    """Position on each of the axes, slowest first."""
    page: int
    count: int | None


def is_ome(description: str) -> bool:
    return description.rstrip()[-4:] == "OME>"


def read_ome(text: str, samples: int, pages: int, what: str) -> Planes:
    """The planes of the first image.

    Args:
        samples: Channels that each page holds.
        pages: How many the file has.
    Raises:
        CorruptChunk: not XML.
        InvalidRequest: no image, one in several files, or one of more planes than there are pages.
    """
    root = _root(text, what)
    images = [child for child in root if _kind(child) == "Image"]
    pixels = next((child for image in images[:1] for child in image if _kind(child) == "Pixels"), None)
    if pixels is None:
        raise InvalidRequest(f"{what}: its OME-XML has no image with pixels; name the file that holds them")
    _refuse_other_files(root, pixels, what)
    order = pixels.get("DimensionOrder", "XYZCT")[2:]
    if sorted(order) != sorted(PLANE_AXES):
        raise InvalidRequest(f"{what}: DimensionOrder of its OME-XML is no order of X, Y, Z, C and T")
    sizes = {axis: _number(pixels, f"Size{axis}", 1, what) for axis in order}
    sizes["C"] = max(1, sizes["C"] // samples)
    axes = order[::-1]
    shape = tuple(sizes[axis] for axis in axes)
    table = _table(list(_tiff_data(pixels, axes, what)), shape, pages, what)
    notes = (f"The file holds {len(images)} images; the first is served.",) if len(images) > 1 else ()
    return arrange_planes(axes.lower(), table, _voxel_size(pixels), notes)


def _root(text: str, what: str) -> ET.Element:
    """Without a document type there are no entities, which could unfold to gigabytes."""
    if "<!DOCTYPE" in text:
        raise InvalidRequest(f"{what}: its OME-XML has a document type, which OME-XML has not")
    try:
        return ET.fromstring(text)  # noqa: S314 - no entities, see above
    except (ET.ParseError, ValueError) as error:
        raise CorruptChunk(f"{what}: its OME-XML is not valid XML") from error


def _kind(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _number(element: ET.Element, name: str, default: int, what: str) -> int:
    text = element.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"{what}: {name} of its OME-XML: expected a whole number")
    return int(text)


def _refuse_other_files(root: ET.Element, pixels: ET.Element, what: str) -> None:
    named = {(child.text or "").strip() for data in pixels for child in data if _kind(child) == "UUID"}
    own = root.get("UUID")
    if len(named) > 1 or (own is not None and named - {own}):
        raise InvalidRequest(f"{what}: its image is spread over several files; write it into one (bfconvert can)")


def _tiff_data(pixels: ET.Element, axes: str, what: str) -> Iterator[_TiffData]:
    for data in pixels:
        if _kind(data) == "TiffData":
            first = tuple(_number(data, f"First{axis}", 0, what) for axis in axes)
            whole = data.get("IFD") is None and data.get("PlaneCount") is None
            count = None if whole else _number(data, "PlaneCount", 1, what)
            yield _TiffData(first, _number(data, "IFD", 0, what), count)


def _table(parts: Sequence[_TiffData], shape: tuple[int, ...], pages: int, what: str) -> Table:
    """The page of each plane, -1 where there is none."""
    count = math.prod(shape)
    if not 0 < count <= (max(pages, LARGEST_STACK) if parts else pages):
        raise InvalidRequest(f"{what}: its OME-XML declares {count} planes, the file has {pages} pages")
    table = np.full(count, -1)
    for part in parts or [_TiffData((0,) * len(shape), 0, None)]:
        if any(at >= size for at, size in zip(part.first, shape, strict=True)):
            raise InvalidRequest(f"{what}: its OME-XML places pages outside the image")
        start = int(np.ravel_multi_index(part.first, shape))
        length = max(0, min(count - start, pages - part.page, count if part.count is None else part.count))
        table[start : start + length] = np.arange(part.page, part.page + length)
    return table.reshape(shape)


def _voxel_size(pixels: ET.Element) -> PartialSize:
    x, y, z = (_length(pixels, axis) for axis in "XYZ")
    return (x, y, z)


def _length(pixels: ET.Element, axis: str) -> float | None:
    """Nanometres; None where nothing is said, or in a unit such as "pixel"."""
    factor = nm_per_unit(pixels.get(f"PhysicalSize{axis}Unit", DEFAULT_UNIT))
    try:
        length = float(pixels.get(f"PhysicalSize{axis}", "")) * (factor or 0)
    except ValueError:
        return None
    return length if is_size(length) else None
