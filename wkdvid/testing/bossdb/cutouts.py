"""Cutouts of the stand-in: the server's checks in the server's order, and its encodings."""

from __future__ import annotations

import io
import re
import zlib
from http import HTTPStatus
from typing import Any

import blosc
import numpy as np
import numpy.typing as npt
import simplejpeg

from wkdvid.core.geometry import Box
from wkdvid.testing.bossdb.documents import Refusal
from wkdvid.testing.bossdb.volume import Array, Channel, Experiment

LARGEST_BYTES = 520 * 2**20
"""Of one cutout. The server counts uint64 at a quarter."""
JPEG_QUALITY = 85

_RANGE = re.compile(r"(\d+):(\d+)")


def cutout(experiment: Experiment, channel: Channel, resolution: str, ranges: list[str]) -> Array:
    """Voxels (z, y, x), or (t, z, y, x) where the request names times; C-contiguous, little-endian.

    Args:
        ranges: Text of x, y, z and, perhaps, t.
    Raises:
        Refusal: as the server.
    """
    spans = [_span(text) for text in ranges]
    times = spans[3] if len(spans) == 4 else None
    if times is not None and not 0 <= times[0] < times[1] <= experiment.time_samples:
        raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "the time range is outside the experiment")
    number = _resolution(experiment, channel, resolution)
    box = _box(experiment, spans)
    size = box.voxels * channel.array.itemsize * (1 if times is None else times[1] - times[0])
    if size // (4 if channel.datatype == "uint64" else 1) > LARGEST_BYTES:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 2000, "the cutout is larger than 500 MB")
    voxels = experiment.voxels(channel, number, box).transpose(0, 3, 2, 1)
    if number != channel.base_resolution and channel.downsample_status != "DOWNSAMPLED":
        if channel.type == "annotation":
            raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, 9002, "the channel is not downsampled")
        voxels = np.zeros_like(voxels)  # cuboids that are not there read as zeros, as if there were nothing
    return np.ascontiguousarray(voxels[0] if times is None else voxels[slice(*times)])


def _span(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "not a range")
    return int(found[1]), int(found[2])


def _resolution(experiment: Experiment, channel: Channel, text: str) -> int:
    last = channel.base_resolution + experiment.num_hierarchy_levels
    if not re.fullmatch(r"\d", text) or not channel.base_resolution <= int(text) < last:
        raise Refusal(HTTPStatus.BAD_REQUEST, 1002, "there is no such resolution")
    return int(text)


def _box(experiment: Experiment, spans: list[tuple[int, int]]) -> Box:
    """Checked against the frame in voxels of resolution 0, whatever the resolution, as the server does."""
    x, y, z = spans[:3]
    if x[0] < x[1] and y[0] < y[1] and z[0] < z[1]:
        box = Box((x[0], y[0], z[0]), (x[1], y[1], z[1]))
        if experiment.frame.contains(box):
            return box
    raise Refusal(HTTPStatus.BAD_REQUEST, 1001, "the box is empty, or outside the coordinate frame")


def encode(voxels: npt.NDArray[Any], accept: str) -> tuple[str, bytes]:
    """Content type and body, of the type that the client accepts: blosc if it does not care."""
    if "image/jpeg" in accept:
        return "image/jpeg", _jpeg(voxels)
    if "application/npygz" in accept:
        buffer = io.BytesIO()
        np.save(buffer, voxels, allow_pickle=False)
        return "application/npygz", zlib.compress(buffer.getvalue())
    # The server gives the bits of a voxel where blosc wants its bytes.
    return "application/blosc", blosc.compress(voxels.tobytes(), typesize=voxels.itemsize * 8, cname="lz4", clevel=5)


def _jpeg(voxels: npt.NDArray[Any]) -> bytes:
    """The slices one below the other."""
    if voxels.ndim == 4:
        raise Refusal(HTTPStatus.BAD_REQUEST, 2005, "a time series cannot be a JPEG")
    if voxels.dtype != np.uint8:
        raise Refusal(HTTPStatus.BAD_REQUEST, 2001, "only 8 bits can be a JPEG")
    stacked = voxels.reshape(-1, voxels.shape[2], 1)
    image: bytes = simplejpeg.encode_jpeg(stacked, quality=JPEG_QUALITY, colorspace="GRAY")
    return image
