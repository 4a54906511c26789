"""Which pages of a TIFF are the planes of its image: as ImageJ and tifffile say it, or nobody does."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.backends.axes import nm_per_unit
from wkdvid.backends.numbers import is_count

Table: TypeAlias = npt.NDArray[np.int64]
PartialSize: TypeAlias = tuple[float | None, float | None, float | None]
"""Nanometres (x, y, z), None where the source does not say."""

NO_SIZE: PartialSize = (None, None, None)
LARGEST_STACK = 100_000
"""Planes that a description may promise beyond the pages of its file."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    pages: Table
    """Indices of pages (t, c, z); -1 where a plane was never written."""
    voxel_size_nm: PartialSize = NO_SIZE
    notes: tuple[str, ...] = ()
    virtual: bool = False
    """Only the first page is in the file; the voxels of the others follow its own."""


def arrange_planes(axes: str, table: Table, size: PartialSize = NO_SIZE, notes: tuple[str, ...] = ()) -> Planes:
    """
    Args:
        axes: One letter of t, c, z per dimension of the table.
    """
    missing = [axis for axis in "tcz" if axis not in axes]
    whole = table.reshape(*table.shape, *(1 for _ in missing))
    order = [f"{axes}{''.join(missing)}".index(axis) for axis in "tcz"]
    return Planes(whole.transpose(order), size, notes)


def plain_stack(pages: Sequence[int]) -> Planes:
    """Pages of which nothing is known lie one above the other."""
    return arrange_planes("z", np.array(pages))


def read_imagej(metadata: Mapping[str, Any], samples: int, pages: int, *, contiguous: bool) -> Planes | None:
    """A stack as ImageJ describes it; None if it does not fit the file.

    Args:
        metadata: Of the first page's description: ``images``, ``channels``, ``slices``, ``frames``.
        samples: Channels that each page holds.
        contiguous: The first page is stored as its voxels alone, so that others may follow it: so ImageJ writes
            stacks that are larger than TIFF allows.
    """
    frames, slices, channels = (metadata.get(name, 1) for name in ("frames", "slices", "channels"))
    if not (is_count(frames) and is_count(slices) and is_count(channels)):
        return None
    channels = 1 if channels == samples else channels
    if frames == slices == channels == 1 and is_count(metadata.get("images")):
        slices = metadata["images"]
    count = frames * slices * channels
    virtual = contiguous and pages == 1 < count <= LARGEST_STACK
    if count > pages and not virtual:
        return None
    stack = arrange_planes("tzc", np.arange(count).reshape(frames, slices, channels))
    return replace(stack, virtual=virtual)


def read_shaped(description: str, page_shape: Sequence[int], pages: int) -> Planes | None:
    """An array as tifffile describes it, ``{"shape": [5, 64, 64], "axes": "ZYX"}``; None if it is not the file's."""
    try:
        metadata = json.loads(description)
    except (ValueError, RecursionError):
        return None
    shape = metadata.get("shape") if isinstance(metadata, dict) else None
    if not isinstance(shape, list) or not all(is_count(size) for size in shape):
        return None
    sizes, rest = shape[: -len(page_shape)], shape[-len(page_shape) :]
    if tuple(rest) != tuple(page_shape) or math.prod(sizes) > pages:
        return None
    named = metadata.get("axes")
    letters = named.lower() if isinstance(named, str) and len(named) == len(shape) else "?" * len(shape)
    long = [(letter, size) for letter, size in zip(letters, sizes, strict=False) if size > 1]
    axes = "".join(letter if letter in "tcz" else "z" for letter, _ in long)
    if len(set(axes)) < len(axes):
        return None
    return arrange_planes(axes, np.arange(math.prod(sizes)).reshape([size for _, size in long]))


def imagej_unit(metadata: Mapping[str, Any]) -> float | None:
    """Nanometres in the unit of a stack's resolution and ``spacing``; None where it is "pixel", or unknown."""
    return nm_per_unit(str(metadata.get("unit")).replace("\\u00B5", "µ"))
