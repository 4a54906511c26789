"""The job ``pyramid``: stores the levels that a layer lacks, and has them served once they are whole."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tensorstore as ts

from wkdvid.backends.failures import translate
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.registry import Backends
from wkdvid.backends.stored_pyramid import (
    MANIFEST,
    array_metadata,
    made_volume,
    mag_name,
    manifest,
    placed,
    with_pyramid,
)
from wkdvid.core.catalog import Catalog
from wkdvid.core.catalog_store import write_document
from wkdvid.core.entries import DatasetEntry, DatasetKey, LayerEntry
from wkdvid.core.geometry import Box
from wkdvid.core.jobs import Job, Stage, Work
from wkdvid.core.joined_volume import join
from wkdvid.core.missing_levels import MissingLevel, missing_levels
from wkdvid.core.reading import Reader
from wkdvid.core.registration import Registrar
from wkdvid.core.volume import Volume
from wkdvid.errors import NotFound

KIND = "pyramid"
VOLUMES = "volumes"
"""Folder of the data directory that holds what is made."""

Finish = Callable[[], Awaitable[str]]


class PyramidKind:
    """Its sources are opened apart from those that are served: what it reads does not push out what clients read."""

    def __init__(self, data_dir: Path, opener: Opener, catalog: Catalog, registrar: Registrar, threads: int) -> None:
        self._data_dir = data_dir
        self._opener = opener
        self._backends = Backends(opener)
        self._catalog = catalog
        self._registrar = registrar
        self._reader = Reader(opener.limits, ThreadPoolExecutor(threads, thread_name_prefix="job"))

    async def prepare(self, job: Job) -> Work:
        """
        Raises:
            NotFound: the dataset or its layer is gone.
            InvalidRequest: the dataset stands in the server's configuration, where no pyramid can be noted.
            InvalidEntry, BackendError: a source of the dataset cannot be opened.
        """
        await self._catalog.look_again()
        self._catalog.refuse_configured(_key(job))
        entry = self._catalog.find(_key(job)).entry
        layer, volume = await self._source(entry, job.layer)
        levels = missing_levels(volume.info)
        plan = manifest(layer, volume.info)
        if not levels or await self._is_made(entry, layer, volume):
            return _Nothing(plan, volume)
        self._opener.check_levels(len(volume.info.levels) + len(levels), job.layer)
        folder = _folder(job)

        async def register() -> str:
            await self._registrar.add_pyramid(entry, job.layer, folder)
            return f"mags {', '.join(mag_name(one.level.mag) for one in levels)} are served from now on"

        return _Making(plan, self._data_dir / folder, volume, levels, self._opener, self._reader, register)

    async def _source(self, entry: DatasetEntry, name: str) -> tuple[LayerEntry, Volume]:
        found: tuple[LayerEntry, Volume] | None = None
        for layer, volume in await self._backends.open_sources(entry):
            if volume.info.name == name:
                found = layer, volume
            else:
                await volume.aclose()
        if found is None:
            raise NotFound(f"dataset {entry.key} has no layer {name!r}")
        return found

    async def _is_made(self, entry: DatasetEntry, layer: LayerEntry, volume: Volume) -> bool:
        folder = entry.pyramids.get(volume.info.name)
        if folder is None:
            return False
        joined = await with_pyramid(volume, layer, folder, self._opener.of(layer))
        return len(joined.info.levels) > len(volume.info.levels)

    async def discard(self, job: Job) -> None:
        """Unless it was finished in the moment in which it was cancelled: then it is served."""
        await self._catalog.catch_up()
        dataset = self._catalog.by_key.get(_key(job))
        if dataset is not None and dataset.entry.pyramids.get(job.layer) == _folder(job):
            return
        await asyncio.to_thread(shutil.rmtree, self._data_dir / _folder(job), ignore_errors=True)


def _key(job: Job) -> DatasetKey:
    return DatasetKey(*job.dataset.split("/"))


def _folder(job: Job) -> str:
    """Of its own for each job, relative to the data directory: what is served meanwhile is left alone."""
    names = (*_key(job), job.layer, job.id)
    return "/".join((VOLUMES, *(quote(name, safe=" $@") for name in names)))


@dataclass(frozen=True, slots=True)
class _Nothing:
    """The work on a layer that lacks no level."""

    plan: Mapping[str, Any]
    source: Volume
    stages: Sequence[Stage] = ()

    async def begin(self, *, anew: bool) -> None:
        """Nothing is made."""

    async def do(self, stage: int, box: Box) -> None:
        """Never called: there are no tasks."""

    async def finish(self) -> str:
        return "nothing to do: no level is missing"

    async def aclose(self) -> None:
        await self.source.aclose()


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
