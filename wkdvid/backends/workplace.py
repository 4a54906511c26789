"""Where jobs find the layer that they are about, and where they put what they make of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.catalog import Catalog
from wkdvid.core.entries import DatasetEntry, DatasetKey, LayerEntry
from wkdvid.core.geometry import Box
from wkdvid.core.jobs import Job, Stage
from wkdvid.core.volume import Volume
from wkdvid.errors import NotFound


@dataclass(frozen=True, slots=True)
class Workplace:
    """Sources are opened apart from those that are served: what jobs read does not push out what clients read."""

    data_dir: Path
    opener: Opener
    catalog: Catalog

    async def entry(self, job: Job) -> DatasetEntry:
        """The job's dataset, as all hosts know it.

        Raises:
            NotFound: it is gone.
            InvalidRequest: it stands in the server's configuration, where nothing can be noted of what is made.
        """
        await self.catalog.look_again()
        self.catalog.refuse_configured(_key(job))
        return self.catalog.find(_key(job)).entry

    async def source(self, entry: DatasetEntry, name: str) -> tuple[LayerEntry, Volume]:
        """A layer as its source has it.

        Raises:
            NotFound: there is no such layer.
            InvalidEntry, BackendError: a source of the dataset cannot be opened.
        """
        found: tuple[LayerEntry, Volume] | None = None
        for layer, volume in await Backends(self.opener).open_sources(entry):
            if volume.info.name == name:
                found = layer, volume
            else:
                await volume.aclose()
        if found is None:
            raise NotFound(f"dataset {entry.key} has no layer {name!r}")
        return found

    def folder(self, job: Job, kind: str) -> str:
        """Of its own for each job, relative to the data directory: what is served meanwhile is left alone.

        Args:
            kind: Folder of the data directory for all that is made so.
        """
        names = (*_key(job), job.layer, job.id)
        return "/".join((kind, *(quote(name, safe=" $@") for name in names)))

    async def named_in(self, job: Job) -> DatasetEntry | None:
        """The entry of the job's dataset as this host knows it; None: it is gone."""
        await self.catalog.catch_up()
        dataset = self.catalog.by_key.get(_key(job))
        return None if dataset is None else dataset.entry

    async def discard(self, job: Job, kind: str, named: Mapping[str, str]) -> None:
        """Remove what a job has made, unless it was finished in the moment it was cancelled: then it is served.

        Args:
            named: Layer -> folder, as the dataset's entry has it.
        """
        folder = self.folder(job, kind)
        if named.get(job.layer) != folder:
            await asyncio.to_thread(shutil.rmtree, self.data_dir / folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The work on a layer that has all that a job would make."""

    plan: Mapping[str, Any]
    source: Volume
    why: str
    stages: Sequence[Stage] = ()

    async def begin(self, *, anew: bool) -> None:
        """Nothing is made."""

    async def do(self, stage: int, box: Box) -> None:
        """Never called: there are no tasks."""

    async def finish(self) -> str:
        return f"nothing to do: {self.why}"

    async def aclose(self) -> None:
        await self.source.aclose()


def _key(job: Job) -> DatasetKey:
    return DatasetKey(*job.dataset.split("/"))
