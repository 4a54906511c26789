"""Long work: jobs of many idempotent tasks, each a box, whose progress outlives the process that works on them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from wkdvid.core.concurrent import for_each
from wkdvid.core.geometry import Box, Vec3, ceil_div, multiply, volume_of
from wkdvid.core.host_lock import HostLock
from wkdvid.core.notice import Notice
from wkdvid.errors import (
    BackendError,
    DatabaseUnavailable,
    InvalidRequest,
    JobFailed,
    NotFound,
    RequestError,
    UnsupportedRequest,
    WkdvidError,
)

log = logging.getLogger("wkdvid.jobs")

HEARTBEAT_S = 1.0
"""Between two signs of life of who runs a job; also how long a cancelled one runs on at most before it notices."""
LEASE_S = 30.0
"""Without a sign of life for so long a job is taken up by another host. A host takes its own up at once."""
POLL_S = 1.0
"""Between two looks for a job to run."""
WAITS_S = (0.5, 1.0, 2.0)
"""Before a task that failed is tried again."""
MAX_TASKS = 10_000_000
"""Of a job: what a source declares must not fill the memory. Of images they read a million gigavoxels."""
BATCH = 1000
"""Tasks that are listed at a time."""
CHANGES_S = 0.25
"""Between two looks at the progress of a job that somebody watches."""


Parameters: TypeAlias = Mapping[str, str]
NO_PARAMETERS: Parameters = MappingProxyType({})
ReadParameters: TypeAlias = Callable[[Parameters], Parameters]
"""From what was asked for to what it means, defaults and all.

Raises:
    RequestError: one that is not known, is missing, or is out of its range.
"""
NO_READERS: Mapping[str, ReadParameters] = MappingProxyType({})


class JobState(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in {JobState.QUEUED, JobState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it was when the store was asked."""

    id: str
    kind: str
    dataset: str
    """``organization/dataset``."""
    layer: str
    parameters: Parameters = field(default_factory=dict)
    """What else tells it from other jobs of its kind for the layer; it stays as it was submitted."""
    state: JobState
    done: int
    """Tasks."""
    total: int
    """Tasks; 0 until they are known."""
    message: str
    """Where it ended: what came of it, or why it failed."""
    plan: Mapping[str, Any] | None
    """What the tasks follow from, as JSON has it; None: not begun."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Tasks that do not need each other: the boxes of a grid. They need all of the stage before."""

    name: str
    """For messages."""
    extent: Box
    origin: Vec3
    """A corner of the grid, no task's start lying before it."""
    task_shape: Vec3

    @property
    def counts(self) -> Vec3:
        """Boxes along x, y, z."""
        x, y, z = (
            ceil_div(stop - o, n) for stop, o, n in zip(self.extent.stop, self.origin, self.task_shape, strict=True)
        )
        return (x, y, z)

    @property
    def count(self) -> int:
        return volume_of(self.counts)

    def box(self, number: int) -> Box:
        """Box of the grid, cut at the extent; x goes fastest."""
        nx, ny, _ = self.counts
        index = (number % nx, number // nx % ny, number // nx // ny)
        x, y, z = (o + i for o, i in zip(self.origin, multiply(index, self.task_shape), strict=True))
        inside = Box.at((x, y, z), self.task_shape).intersect(self.extent)
        if inside is None:
            raise ValueError(f"task {number} of {self.count} in {self.extent} has no voxels")
        return inside


class Work(Protocol):
    """What a job has to do, found out anew whenever a process takes it up."""

    @property
    def plan(self) -> Mapping[str, Any]:
        """What the tasks follow from, as JSON has it. A job that was begun with another one begins anew."""
        ...

    @property
    def stages(self) -> Sequence[Stage]: ...

    async def begin(self, *, anew: bool) -> None:
        """Called before the first task.

        Args:
            anew: What there is was made by another plan, and is to be cleared away.

        Raises:
            BackendError: there is no place to make it.
        """
        ...

    async def do(self, stage: int, box: Box) -> None:
        """One task, which may have been done before, or half.

        Raises:
            BackendError: it may be tried again.
        """
        ...

    async def finish(self) -> str:
        """Make what was made known, when all tasks are done. Returns what came of it, in plain words."""
        ...

    async def aclose(self) -> None:
        """Let go of what is open, however it has ended."""
        ...


class TaskExecutor(Protocol):
    """Who does the tasks of jobs: this process (``InThisProcess``), or others."""

    async def capacity(self) -> int:
        """How many tasks at a time.

        Raises:
            BackendError, JobFailed: there is nobody to do them.
        """
        ...

    async def do(self, job: Job, work: Work, stage: int, box: Box) -> None:
        """One task of the work that was prepared for the job; errors as ``Work.do``."""
        ...

    async def aclose(self) -> None: ...


class JobKind(Protocol):
    async def prepare(self, job: Job) -> Work:
        """
        Raises:
            WkdvidError: the job cannot be done.
        """
        ...

    async def discard(self, job: Job) -> None:
        """Remove what a cancelled job has made."""
        ...


class JobStore(Protocol):
    """Where jobs are kept. Every method is one transaction; all raise DatabaseUnavailable."""

    async def submit(self, kind: str, dataset: str, layer: str, parameters: Parameters = NO_PARAMETERS) -> Job:
        """A new job; but the one that is queued or running for the same, or that failed, which is queued again.

        Raises:
            InvalidRequest: the parameters are too long to be kept.
        """
        ...

    async def get(self, job_id: str) -> Job | None: ...

    async def newest(self) -> Sequence[Job]:
        """The last ones, newest first."""
        ...

    async def counts(self) -> Mapping[JobState, int]:
        """How many jobs are in each state, 0 too."""
        ...

    async def cancel(self, job_id: str) -> bool:
        """False: it is done, or cancelled already."""
        ...

    async def claim(self, runner: str, lease_s: float) -> Job | None:
        """The oldest job that is queued, or running without its runner, as a running one of this runner."""
        ...

    async def renew(self, job_id: str, runner: str, lease_s: float) -> bool:
        """Give a sign of life. False: the job is not this runner's any more."""
        ...

    async def begin(self, job_id: str, plan: Mapping[str, Any], total: int) -> None:
        """Note the plan and forget the tasks of another."""
        ...

    async def done_tasks(self, job_id: str) -> frozenset[int]: ...

    async def task_done(self, job_id: str, number: int) -> None:
        """
        Args:
            number: Of the task, counted through all stages.
        """
        ...

    async def end(self, job_id: str, runner: str, state: JobState, message: str) -> None:
        """Ended by its runner; nothing if it is not this runner's any more."""
        ...

    async def discardable(self) -> Sequence[Job]:
        """Cancelled jobs that were begun."""
        ...

    async def discarded(self, job_id: str) -> None: ...


class Jobs:
    """What front ends ask for."""

    def __init__(
        self, store: JobStore, kinds: Sequence[str], parameters: Mapping[str, ReadParameters] = NO_READERS
    ) -> None:
        """
        Args:
            parameters: Of the kinds that take any.
        """
        self._store = store
        self._kinds = kinds
        self._parameters = parameters
        self.closing = False
        """Whether the server is stopping, so that those who watch a job are to be let go."""

    async def submit(self, kind: str, dataset: str, layer: str, parameters: Parameters = NO_PARAMETERS) -> Job:
        """
        Raises:
            UnsupportedRequest: no such kind.
            InvalidRequest: not its parameters.
        """
        if kind not in self._kinds:
            raise UnsupportedRequest(f"kind: {kind[:100]!r} is not offered; offered are {', '.join(self._kinds)}")
        given = self._parameters.get(kind, _no_parameters)(parameters)
        return await self._store.submit(kind, dataset, layer, given)

    async def get(self, job_id: str) -> Job:
        """
        Raises:
            NotFound: no such job.
        """
        job = await self._store.get(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id[:100]!r}")
        return job

    async def newest(self) -> Sequence[Job]:
        return await self._store.newest()

    async def counts(self) -> Mapping[JobState, int]:
        return await self._store.counts()

    async def cancel(self, job_id: str) -> Job:
        """
        Raises:
            NotFound: no such job.
            UnsupportedRequest: it has ended.
        """
        if await self._store.cancel(job_id):
            return await self.get(job_id)
        job = await self.get(job_id)
        raise UnsupportedRequest(f"job {job.id} is {job.state.value} already")

    async def changes(self, job_id: str) -> AsyncIterator[Job | None]:
        """The job as it is and whenever it has changed, until it ends; None where nothing has changed for a moment.

        Raises:
            NotFound: no such job.
        """
        last: Job | None = None
        while not self.closing:
            job = await self.get(job_id)
            yield job if job != last else None
            if job.state.ended:
                return
            last = job
            await asyncio.sleep(CHANGES_S)


def _no_parameters(given: Parameters) -> Parameters:
    if given:
        raise InvalidRequest(f"parameters: {', '.join(map(repr, given))[:100]}: jobs of this kind take none")
    return given


class InThisProcess:
    """Tasks as coroutines of the loop that serves: what takes long in them is done by threads."""

    def __init__(self, at_a_time: int) -> None:
        """
        Args:
            at_a_time: Tasks.
        """
        self._at_a_time = at_a_time

    async def capacity(self) -> int:
        return self._at_a_time

    async def do(self, job: Job, work: Work, stage: int, box: Box) -> None:
        await work.do(stage, box)

    async def aclose(self) -> None:
        """Nothing is open."""


class JobRunner:
    """Runs jobs one after the other, from one worker of a host."""

    def __init__(self, store: JobStore, kinds: Mapping[str, JobKind], lock: HostLock, tasks: TaskExecutor) -> None:
        """
        Args:
            lock: Held by the worker that runs jobs.
        """
        self._store = store
        self._kinds = kinds
        self._lock = lock
        self._tasks = tasks
        self._notice = Notice(log, "jobs can be run again")

    async def watch(self) -> None:
        """Run what there is to run, until cancelled."""
        try:
            while True:
                await self._run_all()
                await asyncio.sleep(POLL_S)
        finally:
            self._lock.release()
            await self._tasks.aclose()

    async def _run_all(self) -> None:
        try:
            while self._lock.acquire() and (job := await self._next()) is not None:
                await self._run(job)
        except Exception as error:  # mostly the database's: a job that was running is taken up again
            unexpected = None if isinstance(error, WkdvidError) else error
            self._notice.trouble(f"jobs cannot be run: {error}", unexpected)

    async def _next(self) -> Job | None:
        for job in await self._store.discardable():
            await self._kinds[job.kind].discard(job)
            await self._store.discarded(job.id)
        claimed = await self._store.claim(self._lock.host, LEASE_S)
        self._notice.well()
        return claimed

    async def _run(self, job: Job) -> None:
        async def renew() -> bool:
            return await self._store.renew(job.id, self._lock.host, LEASE_S)

        run = _Run(self._store, self._tasks, renew)
        working = asyncio.create_task(self._outcome(run, job), name=f"job {job.id}")
        try:
            while not working.done():
                await asyncio.wait([working], timeout=HEARTBEAT_S)
                if not working.done() and not await renew():
                    run.stopped = True
            ended = working.result()
        finally:
            working.cancel()
            await asyncio.wait([working])
        if ended is not None:
            state, message = ended
            log.info("job %s (%s of %s, %s): %s; %s", job.id, job.kind, job.dataset, job.layer, state.value, message)
            await self._store.end(job.id, self._lock.host, state, message)

    async def _outcome(self, run: _Run, job: Job) -> tuple[JobState, str] | None:
        """How it ended; None where it was stopped."""
        try:
            work = await self._kinds[job.kind].prepare(job)
            try:
                message = await run.through(job, work)
            finally:
                await work.aclose()
        except (JobFailed, BackendError, RequestError) as error:
            return JobState.FAILED, str(error)
        except DatabaseUnavailable:
            raise
        except Exception:  # a mistake in one kind must not end the watch over all jobs
            log.exception("job %s", job.id)
            return JobState.FAILED, "internal error; the server's log has more"
        return None if message is None else (JobState.DONE, message)


class _Run:
    """One process's work on one job."""

    def __init__(self, store: JobStore, tasks: TaskExecutor, renew: Callable[[], Awaitable[bool]]) -> None:
        """
        Args:
            renew: Says whether the job is still ours.
        """
        self._store = store
        self._tasks = tasks
        self._renew = renew
        self.stopped = False
        """Set when the job is not ours any more: no further task is begun, those that run end by themselves."""

    async def through(self, job: Job, work: Work) -> str | None:
        """What came of it; None where it was stopped."""
        total = sum(stage.count for stage in work.stages)
        if total > MAX_TASKS:
            raise JobFailed(f"the layer is too large: {total} tasks, the limit is {MAX_TASKS}")
        anew = job.plan != work.plan
        await work.begin(anew=anew)
        if anew:
            await self._store.begin(job.id, work.plan, total)
        done = await self._store.done_tasks(job.id)
        first = 0
        for i, stage in enumerate(work.stages):
            left = (n for n in range(stage.count) if first + n not in done)
            while batch := list(itertools.islice(left, BATCH)):
                await self._batch(job, work, i, first, batch)
            first += stage.count
        # Cancelling was acknowledged when it was stored: nothing may be added to the layer after that.
        return None if self.stopped or not await self._renew() else await work.finish()

    async def _batch(self, job: Job, work: Work, stage: int, first: int, numbers: Sequence[int]) -> None:
        async def do(number: int) -> None:
            if not self.stopped:
                await self._task(job, work, stage, work.stages[stage].box(number))
                await self._store.task_done(job.id, first + number)

        await for_each(do, numbers, await self._tasks.capacity())

    async def _task(self, job: Job, work: Work, stage: int, box: Box) -> None:
        for wait_s in (*WAITS_S, None):
            try:
                await self._tasks.do(job, work, stage, box)
            except BackendError as error:
                if wait_s is None:
                    where = f"{work.stages[stage].name}, voxels {box.start} to {box.stop}"
                    raise JobFailed(f"{where}: {error}") from error
                await asyncio.sleep(wait_s)
            else:
                return
