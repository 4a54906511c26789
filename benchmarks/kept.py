"""Chunks of a far source: first reads over HTTP, without and with the cache on disk; what is kept; and from memory.

Each is its own way to the source, as after a restart, one block after the other. The web server is in this process and
waits before it answers, as a far one does. Ratios are to the first reads without the cache.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.cases import BLOCK
from benchmarks.load import WrongAnswer
from benchmarks.table import Figure
from benchmarks.volumes import Volume
from wkdvid.backends.disk_cache.cache import DiskCache
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.geometry import Box
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.volume import Volume as Layer
from wkdvid.testing.faulty import Answer, FileServer

NAME = "far chunks"
SOURCE = "grey"
BLOCKS = 64
AWAY_S = (0.0, 0.02)
"""What the web server waits before it answers."""
DAY_S = 86_400.0


def figures(volume: Volume, blocks: int = BLOCKS) -> Iterator[Figure]:
    """
    Raises:
        WrongAnswer: a block is another one.
    """
    boxes = volume.grid(BLOCK)[:blocks]
    with FileServer(volume.folder) as far:
        far.tags = True
        for away_s in AWAY_S:
            far.fault = lambda _, away_s=away_s: Answer(delay_s=away_s)  # type: ignore[misc]
            with tempfile.TemporaryDirectory() as folder:
                times = asyncio.run(_times(volume, far, Path(folder), boxes))
            what = f"{NAME}, {away_s * 1000:g} ms away: {{}}"
            first = times["over http"]
            for name, seconds in times.items():
                yield Figure(case=what.format(name), value=1000 * seconds / len(boxes), unit="ms")
                if seconds is not first:
                    yield Figure(case=what.format(f"{name}, of over http"), value=seconds / first, unit="times")


async def _times(volume: Volume, far: FileServer, folder: Path, boxes: Sequence[Box]) -> dict[str, float]:
    """Seconds for all boxes, by how they are had."""
    times = {"over http": (await _read(volume, far, None, boxes))[0]}
    ways = {"first, and kept": DAY_S, "kept": DAY_S, "kept, and confirmed": 0.0}
    for name, window_s in ways.items():
        cache = DiskCache(folder, 1024 * MIB, window_s=window_s, deadline_s=20)
        times[name], again = await _read(volume, far, cache, boxes)
    return {**times, "from memory": again}


async def _read(volume: Volume, far: FileServer, cache: DiskCache | None, boxes: Sequence[Box]) -> tuple[float, float]:
    """Seconds for first reads, and for the same once more."""
    guard = Guard((), frozenset({far.host}))
    backends = Backends(Opener(guard, Limits(), pool_bytes=1024 * MIB, deadline_s=20, cache=cache))
    layers = {"layer": {"source": f"{far.url}{SOURCE}"}}
    (entry,), _ = backends.parse({"precomputed": {"bench": {"far": {"layers": layers}}}})
    if cache is not None:
        await cache.start()
    (opened,) = await backends.open_layers(entry)
    times = [await _timed(volume, opened.volume, boxes) for _ in range(2)]
    if cache is not None:
        await cache.aclose()
    return times[0], times[1]


async def _timed(volume: Volume, layer: Layer, boxes: Sequence[Box]) -> float:
    begin = time.perf_counter()
    found = [await layer.read(0, box) for box in boxes]
    seconds = time.perf_counter() - begin
    for box, voxels in zip(boxes, found, strict=True):
        if not np.array_equal(voxels[0], volume.voxels(SOURCE, box)):
            raise WrongAnswer(f"{NAME}: the block at {box.start} is another one")
    return seconds
