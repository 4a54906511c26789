"""What a worker of a Dask cluster does: one task after the other, of the work on one job.

It opens the layer by itself, from the entry that comes with the task and from its own configuration, which it reads as
``wkdvid serve`` does (``WKDVID_CONFIG``, ``WKDVID_DATA_DIR``, ...); secrets are found where that refers to. It asks no
database. What it makes goes to the data directory, which it shares with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable

from wkdvid.backends.registry import Backends
from wkdvid.cluster.task import Failure, Task, read_mark
from wkdvid.config import load_config
from wkdvid.core.catalog import Catalog, configured_entries
from wkdvid.core.catalog_store import Snapshot
from wkdvid.core.concurrent import begin_shared
from wkdvid.core.entries import Document
from wkdvid.core.jobs import Work
from wkdvid.dvid_stores import document_of
from wkdvid.errors import BackendError, JobFailed, WkdvidError
from wkdvid.job_kinds import make_kinds
from wkdvid.openers import make_opener


async def do_task(task: Task) -> Failure | None:
    """One task, in the event loop of a Dask worker. None: it is done."""
    try:
        work = await _at_hand.of(task)
        await work.do(task.stage, task.box)
    except BackendError as error:
        return Failure(str(error), passing=True)
    except WkdvidError as error:
        return Failure(str(error), passing=False)
    return None


class _AtHand:
    """The work that the last task was of: the next one mostly is too."""

    def __init__(self) -> None:
        self._about: object = None
        self._preparing: asyncio.Task[Work] | None = None

    async def of(self, task: Task) -> Work:
        """Prepared once for all tasks that wait for it; anew if that has failed."""
        about = (task.job.id, task.job.plan)
        if self._preparing is None or about != self._about or _has_failed(self._preparing):
            old, self._about = self._preparing, about
            self._preparing = begin_shared(_prepared(task), f"prepare job {task.job.id}")
            if old is not None:
                begin_shared(_closed(old), "close another job's layer")
        return await asyncio.shield(self._preparing)


_at_hand = _AtHand()


def _has_failed(preparing: asyncio.Task[Work]) -> bool:
    return preparing.done() and (preparing.cancelled() or preparing.exception() is not None)


async def _closed(preparing: asyncio.Task[Work]) -> None:
    with contextlib.suppress(WkdvidError):
        await (await preparing).aclose()


async def _prepared(task: Task) -> Work:
    """
    Raises:
        JobFailed: this process would make something else, or elsewhere.
        WkdvidError: the layer cannot be opened here.
    """
    config = load_config(None, os.environ, {})
    if not task.mark or read_mark(config.data_dir) != task.mark:
        raise JobFailed(
            "a worker's data directory (WKDVID_DATA_DIR, or 'data' where it was started) is not the server's"
        )
    backends = Backends(make_opener(config, config.limits.working_bytes, config.sources.deadline_s))
    configured = configured_entries(backends.parse, document_of(config.stores))
    store = _OneDocument(task.document)
    catalog = Catalog(store, backends.parse, backends.open_layers, config.sources.refresh_s, configured)
    work = await make_kinds(config, catalog, None)[task.job.kind].prepare(task.job)
    if work.plan != task.job.plan or task.stage >= len(work.stages):
        await work.aclose()
        raise JobFailed("the source, as a worker sees it, is not what the server has seen when it began")
    await work.begin(anew=False)
    return work


class _OneDocument:
    """A ``core.catalog_store.CatalogStore`` of what has come with a task."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def generation(self) -> int:
        return 0

    async def refresh(self) -> None:
        """Nobody changes it."""

    async def load(self) -> Snapshot:
        return Snapshot(self._document, {}, 0)

    async def update(self, change: Callable[[Document], None], renew: Iterable[str]) -> Snapshot:
        raise JobFailed("only a server changes the catalog")
