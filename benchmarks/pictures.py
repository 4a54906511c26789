"""Thumbnails and histograms beside what a script makes of them: cloud-volume, numpy and Pillow, in one process.

Both sides read the same voxels of the same files, one picture or histogram at a time, and no answer is kept: the server
would send what it has made already.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from PIL import Image

from benchmarks.backends import PASSES, ReadBox, boxes, per_read, precomputed
from benchmarks.table import Versus
from benchmarks.volumes import CHUNK, Voxels
from wkdvid.codecs import jpeg
from wkdvid.core import sampling
from wkdvid.core.geometry import Box
from wkdvid.core.pictures import paint
from wkdvid.core.volume import Volume
from wkdvid.testing.volume_suite import open_layers

SIDE = 2 * CHUNK
THUMBNAIL, HISTOGRAM = f"thumbnail {SIDE}^2", "histogram of a layer"
LIBRARY = "numpy, Pillow"
BINS = 256
MOST_DIFFERENT = 3.0
"""Gray values by which two JPEGs of one picture may differ in the mean."""

Ours = Callable[[Volume, Box], Awaitable[bytes]]
Theirs = Callable[[ReadBox, Box], bytes]


async def thumbnail(volume: Volume, box: Box) -> bytes:
    return jpeg.encode_image(paint((await volume.read(0, box))[..., 0], volume.info))


def thumbnail_by_hand(read: ReadBox, box: Box) -> bytes:
    picture = io.BytesIO()
    Image.fromarray(read(box)[..., 0].T).save(picture, "JPEG", quality=jpeg.QUALITY)
    return picture.getvalue()


async def histogram(volume: Volume, box: Box) -> bytes:
    """Of the samples that the server takes of a layer of this box."""
    found = await volume.read_all(0, list(sampling.sample_boxes(box, sampling.OF_HISTOGRAM)))
    arrays = [array[:, array.any(axis=0)] for array in found if isinstance(array, np.ndarray)]
    (counted,) = sampling.histograms(np.concatenate(arrays, axis=1), volume.info)
    return json.dumps(counted["elementCounts"]).encode()


def histogram_by_hand(read: ReadBox, box: Box) -> bytes:
    values = np.concatenate([read(part).ravel() for part in sampling.sample_boxes(box, sampling.OF_HISTOGRAM)])
    counts, _ = np.histogram(values[values != 0], bins=BINS, range=(0, BINS))
    return json.dumps(counts.tolist()).encode()


def same_picture(ours: bytes, theirs: bytes) -> bool:
    pictures = [np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in (ours, theirs)]
    return float(np.abs(pictures[0] - pictures[1]).mean()) < MOST_DIFFERENT


def measure(name: str, voxels: Voxels) -> Versus:
    """
    Args:
        name: ``THUMBNAIL`` or ``HISTOGRAM``.
        voxels: uint8 (x, y, z), whole chunks of 64^3.
    """
    whole = Box((0, 0, 0), voxels.shape)
    is_picture = name == THUMBNAIL
    wanted = [Box.at(box.start, (SIDE, SIDE, 1)) for box in boxes(voxels.shape, 1)] if is_picture else [whole]
    wanted = [box for box in wanted if whole.contains(box)]
    ours, theirs = (thumbnail, thumbnail_by_hand) if is_picture else (histogram, histogram_by_hand)
    with tempfile.TemporaryDirectory() as folder, precomputed(Path(folder), voxels) as stored:
        by_hand, their_times = _timed(lambda box: theirs(stored.read, box), wanted)
        made, our_times = uvloop.run(_ours(ours, Path(folder), stored.entry, wanted))
    assert all(same_picture(a, b) if is_picture else a == b for a, b in zip(made, by_hand, strict=True))
    return Versus(case=name, library=LIBRARY, ours_us=our_times, theirs_us=their_times)


def _timed(make: Callable[[Box], bytes], wanted: Sequence[Box]) -> tuple[list[bytes], tuple[float, float]]:
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        made = [make(box) for box in wanted]
        times.append(time.perf_counter() - begin)
    return made, per_read(times, len(wanted))


async def _ours(make: Ours, folder: Path, entry: Any, wanted: Sequence[Box]) -> tuple[list[bytes], tuple[float, float]]:
    volume: Volume
    (volume,) = await open_layers("precomputed", entry, roots=[folder])
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        made = [await make(volume, box) for box in wanted]
        times.append(time.perf_counter() - begin)
    await volume.aclose()
    return made, per_read(times, len(wanted))
