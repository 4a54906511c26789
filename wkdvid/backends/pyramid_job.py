"""The job ``pyramid``: stores the levels that a layer lacks, and has them served once they are whole."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorstore as ts

from wkdvid.backends.failures import translate
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.stored_pyramid import (
    MANIFEST,
    array_metadata,
    made_volume,
    mag_name,
    manifest,
    placed,
    with_pyramid,
)
from wkdvid.backends.workplace import NothingToDo, Workplace
from wkdvid.core.catalog_store import write_document
from wkdvid.core.entries import DatasetEntry, LayerEntry
from wkdvid.core.geometry import Box
from wkdvid.core.jobs import Job, Stage, Work
from wkdvid.core.joined_volume import join
from wkdvid.core.missing_levels import MissingLevel, missing_levels
from wkdvid.core.reading import Reader
from wkdvid.core.registration import AddMade
from wkdvid.core.volume import Volume

KIND = "pyramid"
VOLUMES = "volumes"
"""Folder of the data directory that holds what is made."""

Finish = Callable[[], Awaitable[str]]


class PyramidKind:
    def __init__(self, workplace: Workplace, add_pyramid: AddMade, threads: int) -> None:
        self._workplace = workplace
        self._opener = workplace.opener
        self._add_pyramid = add_pyramid
        self._reader = Reader(self._opener.limits, ThreadPoolExecutor(threads, thread_name_prefix="job"))

    async def prepare(self, job: Job) -> Work:
        """
        Raises:
            NotFound: the dataset or its layer is gone.
            InvalidRequest: the dataset stands in the server's configuration, where no pyramid can be noted.
            InvalidEntry, BackendError: a source of the dataset cannot be opened.
        """
        entry = await self._workplace.entry(job)
        layer, volume = await self._workplace.source(entry, job.layer)
        levels = missing_levels(volume.info)
        plan = manifest(layer, volume.info)
        if not levels or await self._is_made(entry, layer, volume):
            return NothingToDo(plan, volume, "no level is missing")
        self._opener.check_levels(len(volume.info.levels) + len(levels), job.layer)
        folder = self._workplace.folder(job, VOLUMES)

        async def register() -> str:
            await self._add_pyramid(entry, job.layer, folder)
            return f"mags {', '.join(mag_name(one.level.mag) for one in levels)} are served from now on"

        place = self._workplace.data_dir / folder
        return _Making(plan, place, volume, levels, self._opener, self._reader, register)

    async def _is_made(self, entry: DatasetEntry, layer: LayerEntry, volume: Volume) -> bool:
        folder = entry.pyramids.get(volume.info.name)
        if folder is None:
            return False
        joined = await with_pyramid(volume, layer, folder, self._opener.of(layer))
        return len(joined.info.levels) > len(volume.info.levels)

    async def discard(self, job: Job) -> None:
        entry = await self._workplace.named_in(job)
        await self._workplace.discard(job, VOLUMES, entry.pyramids if entry is not None else {})


class _Making:
    def __init__(
        self,
        plan: Mapping[str, Any],
        folder: Path,
        volume: Volume,
        levels: Sequence[MissingLevel],
        opener: Opener,
        reader: Reader,
        register: Finish,
    ) -> None:
        self.plan = plan
        self.stages = [
            Stage(f"mag {mag_name(one.level.mag)}", one.level.extent, one.level.chunk_origin, one.task_shape)
            for one in levels
        ]
        self._folder = folder
        self._source = volume
        self._levels = levels
        self._opener = opener
        self._reader = reader
        self._register = register
        self._stores: Sequence[ts.TensorStore] = ()
        self._volume = volume

    async def begin(self, *, anew: bool) -> None:
        if anew:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._stores = [await self._create(one) for one in self._levels]
        made = made_volume(self._source.info, self._levels, self._stores, "the new levels", self._opener.deadline_s)
        self._volume = join([self._source, made])

    async def do(self, stage: int, box: Box) -> None:
        voxels = await self._reader.read_volume(self._volume, self._levels[stage].scale, box)
        (x0, y0, z0), (x1, y1, z1) = box.start, box.stop
        try:
            await finished(self._stores[stage][:, x0:x1, y0:y1, z0:z1].write(voxels).commit)
        except FAILURES as error:
            raise translate(error, f"writing {self.stages[stage].name}") from error

    async def _create(self, one: MissingLevel) -> ts.TensorStore:
        name = mag_name(one.level.mag)
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{(self._folder / name).absolute()}/"},
            "metadata": array_metadata(self._source.info, one),
        }
        try:
            return placed(await finished(ts.open(spec, open=True, create=True, context=self._opener.context)), one)
        except FAILURES as error:
            raise translate(error, f"making mag {name}") from error

    async def finish(self) -> str:
        await asyncio.to_thread(write_document, self._folder / MANIFEST, dict(self.plan))
        return await self._register()

    async def aclose(self) -> None:
        await self._volume.aclose()
