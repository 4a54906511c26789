"""Looking at a layer in a few places to learn what it holds: histograms, windows, and a place where there is data.

The places are the buckets on the inner points of a lattice that cuts the layer's box into 2, 4... parts along each axis
(webknossos.md A.4 and B.7).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from wkdvid.core.buckets import BUCKET_SIZE
from wkdvid.core.geometry import Box, Vec3, divide_down, multiply
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.services import Services
from wkdvid.core.volume import Array, LayerInfo
from wkdvid.errors import BackendError

BINS = 256
OF_HISTOGRAM = (2, 4)
"""Parts that the box is cut into along each axis."""
OF_SEARCH = (2, 4, 8, 16)
SHOWN = (0.005, 0.995)
"""The shares of voxels below which a window begins and ends."""
AT_A_TIME = 32
"""Buckets read before it is seen whether they suffice."""


def sample_boxes(extent: Box, divisions: Sequence[int]) -> Iterator[Box]:
    """The first bucket of a box, then those on the inner points of each lattice, each once."""
    seen: set[Vec3] = set()
    points = [extent.start, *(point for parts in divisions for point in _inner_points(extent, parts))]
    for point in points:
        index = divide_down(point, BUCKET_SIZE)
        if index not in seen:
            seen.add(index)
            yield Box.at(multiply(index, BUCKET_SIZE), BUCKET_SIZE)


def _inner_points(extent: Box, parts: int) -> Iterator[Vec3]:
    axes = [
        [start + length * i // parts for i in range(1, parts)]
        for start, length in zip(extent.start, extent.size, strict=True)
    ]
    for z, y, x in product(*reversed(axes)):
        yield (x, y, z)


async def _samples(
    services: Services, layer: Layer, scale: Scale, divisions: Sequence[int]
) -> AsyncIterator[tuple[Box, Array | BackendError]]:
    count = min(services.reader.batch(BUCKET_SIZE[0] ** 3 * layer.info.voxel_bytes), AT_A_TIME)
    boxes = list(sample_boxes(scale.extent, divisions))
    for start in range(0, len(boxes), count):
        part = boxes[start : start + count]
        for found in zip(part, await services.reader.read_all(layer, scale, part), strict=True):
            yield found


async def find_data(services: Services, layer: Layer) -> tuple[Vec3, Vec3] | None:
    """A voxel that is not zero, in voxels of mag 1, and the mag in which it was found; None if none was found.

    Raises:
        BackendError: none was found, and not every place could be read.
    """
    failure: BackendError | None = None
    for level in layer.info.levels:
        async for box, array in _samples(services, layer, layer.scales[level.mag], OF_SEARCH):
            if isinstance(array, BackendError):
                failure = array
            elif array.any():
                return multiply(_first_voxel(array, box), level.mag), level.mag
    if failure is not None:
        raise failure
    return None


def _first_voxel(array: Array, box: Box) -> Vec3:
    """Of those that are not zero, in voxels of the level."""
    there = array.any(axis=0)
    x, y, z = (int(i) for i in np.unravel_index(there.ravel("F").argmax(), there.shape, "F"))
    return (box.start[0] + x, box.start[1] + y, box.start[2] + z)


async def sampled_voxels(services: Services, layer: Layer) -> Array:
    """Voxels (c, n) of the finest mag that are not zero in every channel.

    Raises:
        BackendError: a place cannot be read.
    """
    return await _voxels(services, layer)


async def _voxels(services: Services, layer: Layer, *, failing: bool = True) -> Array:
    """As ``sampled_voxels``; what cannot be read is left out where it need not fail."""
    info = layer.info
    found = [np.zeros((info.num_channels, 0), info.dtype)]
    async for _, array in _samples(services, layer, layer.scales[info.levels[0].mag], OF_HISTOGRAM):
        if not isinstance(array, BackendError):
            found.append(array[:, array.any(axis=0)])
        elif failing:
            raise array
    return np.concatenate(found, axis=1)


def histograms(voxels: Array, info: LayerInfo) -> list[dict[str, Any]]:
    """One for each channel, as webKnossos shows them.

    Args:
        voxels: (c, n).
    """
    of_values = _of_floats if info.dtype.kind == "f" else _of_integers
    return [of_values(channel) for channel in voxels]


def _of_integers(values: Array) -> dict[str, Any]:
    """The 256 bins divide the range of the type; of signed types, from the smallest value on."""
    bits, limits = values.itemsize * 8, np.iinfo(values.dtype)
    unsigned = values.view(f"u{values.itemsize}")
    if values.dtype.kind == "i":
        unsigned = unsigned ^ unsigned.dtype.type(1 << (bits - 1))
    return _histogram(unsigned >> unsigned.dtype.type(bits - 8), int(limits.min), int(limits.max))


def _of_floats(values: Array) -> dict[str, Any]:
    """The bins divide the range of the finite values; the largest has one to itself."""
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    width = high / (BINS - 1) - low / (BINS - 1) or 1.0  # the difference of the two may be too large for a float
    return _histogram(np.clip(finite / width - low / width, 0, BINS - 1), low, high)


def _histogram(bins: Array, low: float, high: float) -> dict[str, Any]:
    counts = np.bincount(bins.astype(np.uint8), minlength=BINS)
    return {"elementCounts": counts.tolist(), "numberOfElements": int(bins.size), "min": low, "max": high}


@dataclass(frozen=True, slots=True)
class Window:
    """Values of one channel: what there can be, and the part of it that shows most of what there is."""

    least: float
    most: float
    start: float
    end: float


async def display_windows(services: Services, layer: Layer) -> Sequence[Window]:
    """One for each channel, from the voxels of ``sampled_voxels``; those that cannot be read do not count."""
    voxels = await _voxels(services, layer, failing=False)
    return await services.apart(lambda: [_window(channel) for channel in voxels])


def _window(values: Array) -> Window:
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
        least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        most = most if least < most else least + 1.0
    else:
        limits = np.iinfo(values.dtype)
        least, most = float(limits.min), float(limits.max)
    start, end = np.quantile(values, SHOWN, method="nearest").astype(float).tolist() if values.size else (least, most)
    return Window(least, most, start, end) if start < end else Window(least, most, least, most)
