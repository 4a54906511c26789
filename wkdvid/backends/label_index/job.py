"""The job ``index``: counts the labels of a segmentation's blocks, and has them found by label once all are counted."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from wkdvid.backends.label_index.counting import Counting, read_boxes
from wkdvid.backends.label_index.files import MANIFEST, grid_of, manifest, write_index
from wkdvid.backends.label_index.merging import merge, reduced
from wkdvid.backends.label_index.runs import runs_of
from wkdvid.backends.label_index.source import open_index
from wkdvid.backends.workplace import NothingToDo, Workplace
from wkdvid.core.durable import replaced
from wkdvid.core.geometry import ONE, ZERO, Box
from wkdvid.core.jobs import Job, Stage, Work
from wkdvid.core.label_index import BLOCK
from wkdvid.core.registration import AddMade
from wkdvid.core.volume import LayerInfo, Volume
from wkdvid.errors import JobFailed, UnsupportedRequest

KIND = "index"
INDEXES = "indexes"
"""Folder of the data directory that holds what is made."""
TASK_SIDE = 8 * BLOCK
"""Of the box that a task counts, in voxels."""
READ_BYTES = 32 << 20
"""Of voxels that a task holds at a time."""


class IndexKind:
    def __init__(self, workplace: Workplace, add_index: AddMade, threads: int, merge_bytes: int) -> None:
        """
        Args:
            merge_bytes: Of memory that merging takes.
        """
        self._workplace = workplace
        self._add_index = add_index
        self._merge_bytes = merge_bytes
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="index")

    async def prepare(self, job: Job) -> Work:
        """
        Raises:
            NotFound: the dataset or its layer is gone.
            UnsupportedRequest: the layer has no labels.
            InvalidRequest: the dataset stands in the server's configuration, where no index can be noted.
            InvalidEntry, BackendError: a source of the dataset cannot be opened.
        """
        entry = await self._workplace.entry(job)
        layer, volume = await self._workplace.source(entry, job.layer)
        info = volume.info
        if info.category != "segmentation" or info.dtype.kind != "u":
            await volume.aclose()
            raise UnsupportedRequest(
                f"layer {job.layer!r} ({info.category}, {info.dtype.name}) has no labels; an index is made of unsigned"
                " segmentations"
            )
        made = entry.indexes.get(job.layer)
        if made is not None and (await open_index(layer, info, made, self._workplace.opener))[0] is not None:
            return NothingToDo(manifest(layer, info), volume, "there is an index")
        folder = self._workplace.folder(job, INDEXES)

        async def register() -> str:
            await self._add_index(entry, job.layer, folder)
            return "labels are found by their index from now on"

        place = self._workplace.data_dir / folder
        return _Indexing(manifest(layer, info), place, volume, self._executor, self._merge_bytes, register)

    async def discard(self, job: Job) -> None:
        entry = await self._workplace.named_in(job)
        await self._workplace.discard(job, INDEXES, entry.indexes if entry is not None else {})


class _Indexing:
    """One file of runs for each box; then one task that merges them, which begins anew if it is interrupted."""

    def __init__(
        self,
        plan: Mapping[str, Any],
        folder: Path,
        volume: Volume,
        executor: ThreadPoolExecutor,
        merge_bytes: int,
        register: Callable[[], Awaitable[str]],
    ) -> None:
        self.plan = plan
        self.stages = [_counting(volume.info), Stage("merging", Box(ZERO, ONE), ZERO, ONE)]
        self._folder = folder
        self._source = volume
        self._executor = executor
        self._merge_bytes = merge_bytes
        self._register = register

    async def begin(self, *, anew: bool) -> None:
        if anew:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def do(self, stage: int, box: Box) -> None:
        """
        Raises:
            BackendError: voxels cannot be read.
            JobFailed: files cannot be written, or those that were written cannot be read.
        """
        try:
            await (self._count(box) if stage == 0 else self._merge())
        except (OSError, ValueError) as error:  # ValueError: a file of runs is not one any more
            reason = getattr(error, "strerror", None) or error
            raise JobFailed(f"{self.stages[stage].name}: {reason}") from error

    async def _count(self, box: Box) -> None:
        info = self._source.info
        chunk = info.levels[0].chunk_shape
        with replaced(self._runs(box)) as file:
            counting = Counting(grid_of(info), file)
            for part in read_boxes(box, chunk, info.voxel_bytes, READ_BYTES):
                voxels = await self._source.read(0, part)
                await self._apart(partial(counting.add, voxels, part))
            await self._apart(counting.flush)

    def _runs(self, box: Box) -> Path:
        return self._folder / "runs" / f"{'_'.join(map(str, box.start))}.npy"

    async def _merge(self) -> None:
        stop = Event()
        try:
            await self._apart(partial(self._merge_all, stop))
        finally:
            stop.set()

    def _merge_all(self, stop: Event) -> None:
        merging, stage = self._folder / "merging", self.stages[0]
        if not (self._folder / MANIFEST).exists():  # else an earlier try was interrupted after that
            found = (run for number in range(stage.count) for run in runs_of(self._runs(stage.box(number))))
            runs = reduced(found, merging, self._merge_bytes, stop)
            write_index(self._folder, merge(runs, self._merge_bytes, stop), self.plan)
        for spent in (merging, self._folder / "runs"):
            shutil.rmtree(spent, ignore_errors=True)

    async def _apart(self, function: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def finish(self) -> str:
        return await self._register()

    async def aclose(self) -> None:
        await self._source.aclose()


def _counting(info: LayerInfo) -> Stage:
    shape = (TASK_SIDE, TASK_SIDE, TASK_SIDE)
    extent = info.levels[0].extent
    origin = extent.scaled_down((BLOCK, BLOCK, BLOCK)).scaled_up((BLOCK, BLOCK, BLOCK)).start
    return Stage("counting", extent, origin, shape)
