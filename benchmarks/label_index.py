"""The label index beside what a script makes of the same voxels with numpy, which holds all of them in memory.

Making it: for each block ``numpy.unique`` with counts; ours also sorts, merges and writes, durably, what a task of the
job does. Asking it: the script has no index, so it looks at the whole array; ours reads the blocks that are named.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias

import numpy as np
import uvloop

from benchmarks.backends import PASSES, per_read
from benchmarks.table import Versus
from benchmarks.volumes import CHUNK, Volume, Voxels
from wkdvid.backends.label_index.counting import Counting
from wkdvid.backends.label_index.files import FileLabelIndex, read_index, write_index
from wkdvid.backends.label_index.merging import merge
from wkdvid.backends.label_index.runs import runs_of
from wkdvid.codecs import sparse_volume as codec
from wkdvid.core.durable import replaced
from wkdvid.core.geometry import Box
from wkdvid.core.layers import Layer, arrange_layers
from wkdvid.core.limits import Limits
from wkdvid.core.reading import Reader
from wkdvid.core.sparse_volume import SparseVolume
from wkdvid.testing.volume_suite import make_backends

MAKING = "label index: counting, a block of 64^3"
SPARSEVOL = "sparsevol, runs of a body"
LISTING = "listlabels with sizes"
NAMES = (MAKING, SPARSEVOL, LISTING)
LIBRARY = "numpy"
BODIES = 16
"""That are asked for, of sizes from the smallest to the largest."""
MERGE_BYTES = 64 << 20
TASK_BLOCKS = 512

Times: TypeAlias = tuple[float, float]


def make(folder: Path, voxels: Voxels, times: int = 1) -> FileLabelIndex:
    """As the job does, of one task, in which the voxels follow each other so many times along z."""
    x, y, z = voxels.shape
    grid = Box((0, 0, 0), (x, y, times * z)).scaled_down((CHUNK, CHUNK, CHUNK))
    path = folder / "runs.npy"
    with replaced(path) as file:
        counting = Counting(grid, file)
        for n in range(times):
            counting.add(voxels[None], Box.at((0, 0, n * z), (x, y, z)))
        counting.flush()
    write_index(folder, merge(runs_of(path), MERGE_BYTES, Event()), {})
    return read_index(folder.joinpath, json.loads((folder / "index.json").read_text()), grid, "index")


def count_by_hand(voxels: Voxels) -> list[tuple[Any, Any]]:
    indices = np.ndindex(*(n // CHUNK for n in voxels.shape))
    places = (tuple(slice(CHUNK * n, CHUNK * (n + 1)) for n in index) for index in indices)
    return [np.unique(voxels[place], return_counts=True) for place in places]


def runs_by_hand(voxels: Voxels, label: int) -> bytes:
    lines = np.pad((voxels == label).T.view(np.int8), [(0, 0), (0, 0), (1, 1)])
    change = np.diff(lines, axis=2)
    z, y, x = np.nonzero(change == 1)
    runs = np.stack([x, y, z, np.nonzero(change == -1)[2] - x], axis=1).astype("<i4")
    return codec.rles_header(len(runs)) + runs.tobytes()


def list_by_hand(voxels: Voxels) -> bytes:
    labels, sizes = np.unique(voxels, return_counts=True)
    first = int(labels[0] == 0)
    return np.stack([labels[first:], sizes[first:].astype(np.uint64)], axis=1).tobytes()


def measure(name: str, volume: Volume, side: int) -> Versus:
    """
    Args:
        name: One of ``NAMES``.
        side: Of the cube that the comparison is about, whole chunks, at the volume's corner.
    """
    cube = Box((0, 0, 0), (side, side, side))
    voxels = volume.voxels("seg", cube)
    with tempfile.TemporaryDirectory() as folder:
        if name == MAKING:
            return _making(Path(folder), voxels)
        return uvloop.run(_asking(name, Path(folder), volume, voxels))


def _making(folder: Path, voxels: Voxels) -> Versus:
    blocks = (voxels.shape[0] // CHUNK) ** 3
    by_hand, theirs = _timed(lambda: count_by_hand(voxels), blocks)
    index, ours = _timed(lambda: make(folder, voxels, TASK_BLOCKS // blocks), TASK_BLOCKS)
    counted = sum(int(counts[labels > 0].sum()) for labels, counts in by_hand)
    _, sizes = uvloop.run(index.listing(0, 1 << 20))
    assert int(sizes.sum()) == TASK_BLOCKS // blocks * counted > 0
    return Versus(case=MAKING, library=LIBRARY, ours_us=ours, theirs_us=theirs)


def _timed(work: Callable[[], Any], items: int) -> tuple[Any, Times]:
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        made = work()
        times.append(time.perf_counter() - begin)
    return made, per_read(times, items)


async def _asking(name: str, folder: Path, volume: Volume, voxels: Voxels) -> Versus:
    index, labels = make(folder, voxels), _some_bodies(voxels)
    if name == LISTING:
        by_hand, theirs = _timed(lambda: [list_by_hand(voxels)], 1)
        made, ours = await _timed_too(_listed, [index])
    else:
        layer = await _layer(volume)
        bounds = Box((0, 0, 0), (voxels.shape[0], voxels.shape[1], voxels.shape[2]))
        reader = Reader(Limits(), ThreadPoolExecutor(1))

        async def runs(label: int) -> bytes:
            found = await SparseVolume.find(index, layer, 0, label, bounds)
            parts = [part async for part in found.runs(reader)]
            return codec.rles(np.concatenate(parts))

        by_hand, theirs = _timed(lambda: [runs_by_hand(voxels, label) for label in labels], len(labels))
        made, ours = await _timed_too(runs, labels)
    assert made == by_hand
    return Versus(case=name, library=LIBRARY, ours_us=ours, theirs_us=theirs)


async def _listed(index: FileLabelIndex) -> bytes:
    return np.stack(await index.listing(0, 1 << 20), axis=1).tobytes()


async def _timed_too(ask: Callable[[Any], Awaitable[bytes]], asked: Sequence[Any]) -> tuple[list[bytes], Times]:
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        made = [await ask(one) for one in asked]
        times.append(time.perf_counter() - begin)
    return made, per_read(times, len(asked))


def _some_bodies(voxels: Voxels) -> list[int]:
    labels, sizes = np.unique(voxels, return_counts=True)
    by_size = labels[np.argsort(sizes)]
    by_size = by_size[by_size > 0]
    chosen: list[int] = by_size[np.linspace(0, len(by_size) - 1, BODIES).astype(int)].tolist()
    return chosen


async def _layer(volume: Volume) -> Layer:
    backends = make_backends([volume.folder])
    entry = {"layers": {"seg": {"source": str(volume.folder / "seg")}}}
    entries, _ = backends.parse({"precomputed": {"bench": {"labels": entry}}})
    return arrange_layers(entries[0], await backends.open_layers(entries[0]))["seg"]
