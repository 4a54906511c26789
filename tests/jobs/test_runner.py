"""How a job is run: tasks in stages, tried again, begun anew where the plan has changed, ended with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from wkdvid.core import jobs as jobs_module
from wkdvid.core.geometry import Box
from wkdvid.core.host_lock import HostLock
from wkdvid.core.jobs import InThisProcess, Job, JobRunner, Jobs, JobState, Stage
from wkdvid.errors import CorruptChunk, NotFound, UpstreamUnavailable
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.jobs import SqlJobStore

STAGES = [Stage(f"stage {i}", Box((-3, 0, 5), (9, 4, 9)), (-4, 0, 4), (4, 4, 4)) for i in range(2)]
TASKS = 4 * 1 * 2


class Painting:
    """Work that counts what is done to each voxel, of a kind that is given its faults."""

    def __init__(self, faults: Mapping[int, Exception], times: int) -> None:
        """``faults``: by the number of the task, in the order in which they are begun; each so many ``times``."""
        self.plan: dict[str, Any] = {"colour": "red"}
        self.stages: Sequence[Stage] = STAGES
        self.faults = Counter(dict.fromkeys(faults, times))
        self.errors = faults
        self.done: list[tuple[int, Box]] = []
        self.begun: list[bool] = []
        self.closed = 0
        self.discarded: list[str] = []

    async def prepare(self, job: Job) -> Painting:
        return self

    async def begin(self, *, anew: bool) -> None:
        self.begun.append(anew)

    async def do(self, stage: int, box: Box) -> None:
        await asyncio.sleep(0)
        number = stage * TASKS + [STAGES[stage].box(i) for i in range(TASKS)].index(box)
        if self.faults[number] > 0:
            self.faults[number] -= 1
            raise self.errors[number]
        self.done.append((stage, box))

    async def finish(self) -> str:
        return "painted"

    async def aclose(self) -> None:
        self.closed += 1

    async def discard(self, job: Job) -> None:
        self.discarded.append(job.id)


class CountingStore(SqlJobStore):
    """Says when it has been asked as often as that."""

    def __init__(self, engine: Engine, often: int) -> None:
        super().__init__(engine)
        self._left = often
        self.asked_often = asyncio.Event()

    async def discardable(self) -> Sequence[Job]:
        self._left -= 1
        if self._left == 0:
            self.asked_often.set()
        return await super().discardable()


@pytest.fixture
def store(tmp_path: Path) -> SqlJobStore:
    url = f"sqlite:///{tmp_path / 'wkdvid.db'}"
    migrate(url)
    return SqlJobStore(open_engine(url))


@contextlib.asynccontextmanager
async def running(store: SqlJobStore, work: Painting, folder: Path) -> AsyncIterator[Jobs]:
    runner = JobRunner(store, {"paint": work}, HostLock(folder / "lock"), InThisProcess(3))
    watching = asyncio.create_task(runner.watch())
    try:
        yield Jobs(store, ("paint",))
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def run(store: SqlJobStore, work: Painting, folder: Path) -> Job:
    async with running(store, work, folder) as jobs:
        job = await jobs.submit("paint", "org/data", "em")
        seen = [job async for job in jobs.changes(job.id) if job is not None]
    return seen[-1]


async def test_every_voxel_once_and_one_stage_after_the_other(store: SqlJobStore, tmp_path: Path) -> None:
    work = Painting({}, 0)
    job = await run(store, work, tmp_path)
    assert (job.state, job.done, job.total, job.message) == (JobState.DONE, 2 * TASKS, 2 * TASKS, "painted")
    assert [stage for stage, _ in work.done] == [0] * TASKS + [1] * TASKS
    for number, stage in enumerate(STAGES):
        boxes = [box for at, box in work.done if at == number]
        assert sum(box.voxels for box in boxes) == stage.extent.voxels
        assert all(stage.extent.contains(box) for box in boxes)
    assert (work.begun, work.closed) == ([True], 1)


async def test_a_passing_failure_is_tried_again(store: SqlJobStore, tmp_path: Path) -> None:
    work = Painting({2: UpstreamUnavailable("busy"), 9: CorruptChunk("cut short")}, 2)
    assert (await run(store, work, tmp_path)).state is JobState.DONE
    assert len(set(work.done)) == len(work.done) == 2 * TASKS


async def test_what_keeps_failing_is_named_and_goes_on_from_there(store: SqlJobStore, tmp_path: Path) -> None:
    work = Painting({TASKS: UpstreamUnavailable("gone")}, 4)
    job = await run(store, work, tmp_path)
    assert (job.state, job.message) == (JobState.FAILED, "stage 1, voxels (-3, 0, 5) to (0, 4, 8): gone")
    kept = len(work.done)
    assert (await run(store, work, tmp_path)).state is JobState.DONE
    assert kept >= TASKS
    assert len(set(work.done)) == len(work.done) == 2 * TASKS
    assert (work.begun, work.closed) == ([True, False], 2)


async def test_another_plan_begins_anew(store: SqlJobStore, tmp_path: Path) -> None:
    work = Painting({TASKS: NotFound("no such brush")}, 1)
    assert (await run(store, work, tmp_path)).message == "no such brush"
    work.plan = {"colour": "blue"}
    assert (await run(store, work, tmp_path)).done == 2 * TASKS
    assert work.begun == [True, True]
    assert Counter(work.done).most_common(1)[0][1] == 2


async def test_a_mistake_of_ours_fails_the_job_alone(
    store: SqlJobStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = Painting({0: ZeroDivisionError("secret")}, 1)
    job = await run(store, work, tmp_path)
    assert (job.state, job.message) == (JobState.FAILED, "internal error; the server's log has more")
    assert "ZeroDivisionError" in caplog.text
    assert (await run(store, work, tmp_path)).state is JobState.DONE


async def test_what_a_source_declares_does_not_fill_the_memory(store: SqlJobStore, tmp_path: Path) -> None:
    work = Painting({}, 0)
    work.stages = [Stage("endless", Box((0, 0, 0), (2**40, 2**40, 2**40)), (0, 0, 0), (64, 64, 64))]
    job = await run(store, work, tmp_path)
    assert job.state is JobState.FAILED
    assert "the limit is 10000000" in job.message
    assert work.begun == []


async def test_what_was_cancelled_while_nobody_ran_it_is_cleared_away(store: SqlJobStore, tmp_path: Path) -> None:
    job = await store.submit("paint", "org/data", "em")
    await store.claim("gone", 0)
    await store.begin(job.id, {}, 5)
    await store.cancel(job.id)
    work = Painting({}, 0)
    other = await run(store, work, tmp_path)
    assert (work.discarded, other.state, other.id != job.id) == ([job.id], JobState.DONE, True)


async def test_an_outage_of_the_database_is_said_once_and_its_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs_module, "POLL_S", 0.01)
    caplog.set_level(logging.INFO)
    url = f"sqlite:///{tmp_path / 'wkdvid.db'}"
    store = CountingStore(open_engine(url), 10)

    async with running(store, Painting({}, 0), tmp_path) as jobs:
        await store.asked_often.wait()
        migrate(url)
        job = await jobs.submit("paint", "org/data", "em")
        assert [job async for job in jobs.changes(job.id) if job is not None][-1].state is JobState.DONE
    said = [record.getMessage() for record in caplog.records if record.name == "wkdvid.jobs"]
    outage, relief, _ = said
    assert outage == "jobs cannot be run: the database cannot be used: no such table: jobs"
    assert relief == "jobs can be run again"


def test_one_of_a_host_holds_its_lock(tmp_path: Path) -> None:
    first, second = HostLock(tmp_path / "state" / "lock"), HostLock(tmp_path / "state" / "lock")
    assert (first.acquire(), first.acquire(), second.acquire()) == (True, True, False)
    assert len(first.host) == 32
    assert (tmp_path / "state" / "lock").read_text() == first.host
