"""Hands the tasks of jobs to the workers of a Dask cluster (``jobs.scheduler``).

Only tasks go there. Which there are, which are done, and what comes of them stays with the server and its database, so
a job outlives the cluster as it outlives the server. Dask gives a task of a worker that dies to another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from wkdvid.cluster.task import Failure, Task, make_mark
from wkdvid.cluster.worker import do_task
from wkdvid.core.catalog import Catalog
from wkdvid.core.concurrent import begin_shared
from wkdvid.core.entries import Document, put_entry
from wkdvid.core.geometry import Box
from wkdvid.core.job_layers import key_of
from wkdvid.core.jobs import Job, Work
from wkdvid.core.own_accounts import put_away
from wkdvid.errors import JobFailed, UpstreamUnavailable

log = logging.getLogger("wkdvid.jobs")

CONNECT_S = 10.0
"""For the scheduler to answer; it is asked again as often as a task is tried."""
WORKERS_S = 30.0
"""For a first worker to be there."""
CLOSE_S = 2.0


class OnDask:
    """A ``core.jobs.TaskExecutor``."""

    def __init__(self, scheduler: str, data_dir: Path, catalog: Catalog) -> None:
        """
        Args:
            scheduler: Its address, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
        """
        self._scheduler = scheduler
        self._data_dir = data_dir
        self._catalog = catalog
        self._connecting: asyncio.Task[Any] | None = None
        """Results in a ``distributed.Client``, whose annotations are those of its blocking twin."""

    async def capacity(self) -> int:
        """Threads of all workers that are there now: those that come later count for the next batch."""
        client = await self._connected()
        try:
            await client.wait_for_workers(1, timeout=WORKERS_S)
            threads = await client.nthreads()
        except (OSError, TimeoutError) as error:
            raise self._away(f"no worker has come to it within {WORKERS_S:g} s") from error
        return max(1, sum(map(int, threads.values())))

    async def do(self, job: Job, work: Work, stage: int, box: Box) -> None:
        task = Task(replace(job, plan=work.plan), self._document(job), self._mark(), stage, box)
        failure = await self._done(task)
        if failure is not None:
            raise (UpstreamUnavailable if failure.passing else JobFailed)(failure.text)

    async def _done(self, task: Task) -> Failure | None:
        import distributed

        client = await self._connected()
        try:
            failure: Failure | None = await client.submit(do_task, task, pure=False)
        except (distributed.CancelledError, OSError, TimeoutError) as error:
            raise self._away(f"a task was lost on the way ({type(error).__name__})") from error
        except distributed.scheduler.KilledWorker as error:
            raise JobFailed(
                f"jobs.scheduler: {error.allowed_failures + 1} workers ended while they did this"
            ) from error
        except Exception as error:  # of the worker: it lacks this package, say, or has another version of it
            log.exception("a task on %s", self._scheduler)
            raise JobFailed(
                f"jobs.scheduler: a worker failed: {type(error).__name__}; the server's log has more"
            ) from error
        return failure

    def _document(self, job: Job) -> Document:
        """The entry as it is now. A key that stands in it is not sent: what a worker then lacks it says."""
        document: Document = {}
        entry = self._catalog.find(key_of(job)).entry
        if not entry.is_configured:
            put_entry(document, entry)
        sent = copy.deepcopy(document)
        put_away(sent)
        return sent

    def _mark(self) -> str:
        try:
            return make_mark(self._data_dir)
        except OSError as error:
            raise JobFailed(f"the data directory cannot be written: {error.strerror}") from error

    async def _connected(self) -> Any:
        """The client; one try to connect is that of all who wait for it.

        Raises:
            UpstreamUnavailable: the scheduler does not answer.
        """
        if self._connecting is None or self._has_ended(self._connecting):
            self._connecting = begin_shared(self._connect(self._connecting), "connect to the scheduler")
        return await asyncio.shield(self._connecting)

    def _has_ended(self, connecting: asyncio.Task[Any]) -> bool:
        if not connecting.done():
            return False
        return connecting.cancelled() or connecting.exception() is not None or connecting.result().status != "running"

    async def _connect(self, before: asyncio.Task[Any] | None) -> Any:
        import distributed

        await _closed(before)
        make_client: Any = distributed.Client
        try:
            return await make_client(
                self._scheduler, asynchronous=True, set_as_default=False, name="wkdvid", timeout=CONNECT_S
            )
        except (OSError, TimeoutError) as error:
            raise self._away(f"it does not answer ({type(error).__name__})") from error

    def _away(self, why: str) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"jobs.scheduler: {self._scheduler}: {why}")

    async def aclose(self) -> None:
        await _closed(self._connecting)
        self._connecting = None


async def _closed(connecting: asyncio.Task[Any] | None) -> None:
    if connecting is not None:
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError, UpstreamUnavailable):
            await (await connecting).close(timeout=CLOSE_S)
