"""Label indexes of arrays, made as the job makes them."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import numpy as np

from tests.volumes import Voxels
from wkdvid.backends.label_index.counting import Counting, read_boxes
from wkdvid.backends.label_index.files import FileLabelIndex, read_index, write_index
from wkdvid.backends.label_index.merging import merge, reduced
from wkdvid.backends.label_index.runs import Run, runs_of
from wkdvid.core.durable import replaced
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.jobs import Stage

MEMORY = 1 << 20


def count_runs(folder: Path, voxels: Voxels, start: Vec3, side: int = 128) -> list[Run]:
    """The runs of an array (x, y, z), of tasks of ``side`` voxels."""
    extent = Box.at(start, (voxels.shape[0], voxels.shape[1], voxels.shape[2]))
    grid = extent.scaled_down((64, 64, 64))
    runs: list[Run] = []
    stage = Stage("", extent, grid.scaled_up((64, 64, 64)).start, (side, side, side))
    for task in map(stage.box, range(stage.count)):
        path = folder / f"{'_'.join(map(str, task.start))}.npy"
        with replaced(path) as file:
            counting = Counting(grid, file)
            for part in read_boxes(task, (1, 1, 1), voxels.itemsize, 1):
                slices = tuple(slice(a - o, b - o) for a, b, o in zip(part.start, part.stop, start, strict=True))
                counting.add(voxels[slices][None], part)
            counting.flush()
        runs += runs_of(path)
    return runs


def made_index(folder: Path, voxels: Voxels, start: Vec3 = (0, 0, 0), budget: int = MEMORY) -> FileLabelIndex:
    runs = reduced(count_runs(folder / "runs", voxels, start), folder / "merging", budget, Event())
    write_index(folder, merge(runs, budget, Event()), {})
    grid = Box.at(start, (voxels.shape[0], voxels.shape[1], voxels.shape[2])).scaled_down((64, 64, 64))
    return read_index(folder.joinpath, json.loads((folder / "index.json").read_text()), grid, "index")


def counted(voxels: Voxels, start: Vec3 = (0, 0, 0)) -> dict[int, dict[Vec3, int]]:
    """Voxels of each label in each block."""
    found: dict[int, dict[Vec3, int]] = {}
    extent = Box.at(start, (voxels.shape[0], voxels.shape[1], voxels.shape[2]))
    blocks = extent.scaled_down((64, 64, 64))
    for offset in np.ndindex(blocks.size):
        x, y, z = (int(a + b) for a, b in zip(blocks.start, offset, strict=True))
        lows = (max(64 * n - o, 0) for n, o in zip((x, y, z), start, strict=True))
        highs = (64 * n + 64 - o for n, o in zip((x, y, z), start, strict=True))
        part = voxels[tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))]
        for label, count in zip(*(column.tolist() for column in np.unique(part, return_counts=True)), strict=True):
            if label:
                found.setdefault(label, {})[(x, y, z)] = count
    return found
