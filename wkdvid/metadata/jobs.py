"""The jobs in SQL."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from wkdvid.core.jobs import NO_PARAMETERS, Job, JobState, Parameters
from wkdvid.errors import InvalidRequest
from wkdvid.metadata.engine import transaction
from wkdvid.metadata.schema import job_tasks, jobs

Result = TypeVar("Result")

LONGEST = 160
"""Characters of the column ``layer``."""
NEWEST = 100
"""How many jobs are listed."""
ACTIVE = (JobState.QUEUED.value, JobState.RUNNING.value)


class SqlJobStore:
    """A ``core.jobs.JobStore``; its methods are described there. Queries run in threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    async def _run(self, query: Callable[[sa.Connection], Result]) -> Result:
        def run() -> Result:
            with transaction(self._engine) as connection:
                return query(connection)

        return await asyncio.to_thread(run)

    async def submit(self, kind: str, dataset: str, layer: str, parameters: Parameters = NO_PARAMETERS) -> Job:
        what = _what(layer, parameters)
        wanted = (jobs.c.kind == kind) & (jobs.c.dataset == dataset) & (jobs.c.layer == what)

        def submit(connection: sa.Connection) -> Job:
            newest = sa.select(jobs).where(wanted).order_by(jobs.c.created.desc()).limit(1)
            found = connection.execute(newest).first()
            if found is not None and found.state in ACTIVE:
                return _job(found)
            if found is not None and found.state == JobState.FAILED.value:
                again = {"state": JobState.QUEUED.value, "message": "", "runner": None}
                connection.execute(sa.update(jobs).where(jobs.c.id == found.id).values(again))
            else:
                connection.execute(sa.insert(jobs).values(_new(kind, dataset, what)))
            return _job(connection.execute(newest).one())

        try:
            return await self._run(submit)
        except IntegrityError:  # another one has submitted it meanwhile
            return await self._run(submit)

    async def get(self, job_id: str) -> Job | None:
        rows = await self._run(lambda c: c.execute(sa.select(jobs).where(jobs.c.id == job_id)).all())
        return _job(rows[0]) if rows else None

    async def newest(self) -> Sequence[Job]:
        query = sa.select(jobs).order_by(jobs.c.created.desc()).limit(NEWEST)
        return [_job(row) for row in await self._run(lambda c: c.execute(query).all())]

    async def counts(self) -> Mapping[JobState, int]:
        query = sa.select(jobs.c.state, sa.func.count().label("number")).group_by(jobs.c.state)
        found = {row.state: row.number for row in await self._run(lambda c: c.execute(query).all())}
        return {state: found.get(state.value, 0) for state in JobState}

    async def cancel(self, job_id: str) -> bool:
        change = (
            sa.update(jobs)
            .where(jobs.c.id == job_id, jobs.c.state.in_((*ACTIVE, JobState.FAILED.value)))
            .values(state=JobState.CANCELLED.value)
        )
        return await self._changed(change)

    async def claim(self, runner: str, lease_s: float) -> Job | None:
        now = time.time()
        abandoned = (jobs.c.runner == runner) | (jobs.c.leased_until < now)
        runnable = (jobs.c.state == JobState.QUEUED.value) | ((jobs.c.state == JobState.RUNNING.value) & abandoned)

        def claim(connection: sa.Connection) -> Job | None:
            oldest = sa.select(jobs.c.id).where(runnable).order_by(jobs.c.created).limit(1)
            job_id = connection.execute(oldest.with_for_update(skip_locked=True)).scalar()
            if job_id is None:
                return None
            mine = {"state": JobState.RUNNING.value, "runner": runner, "leased_until": now + lease_s}
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(mine))
            return _job(connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one())

        return await self._run(claim)

    async def renew(self, job_id: str, runner: str, lease_s: float) -> bool:
        return await self._changed(_mine(job_id, runner).values(leased_until=time.time() + lease_s))

    async def begin(self, job_id: str, plan: Mapping[str, Any], total: int) -> None:
        def begin(connection: sa.Connection) -> None:
            connection.execute(sa.delete(job_tasks).where(job_tasks.c.job_id == job_id))
            begun = {"plan": json.dumps(plan), "done": 0, "total": total}
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(begun))

        await self._run(begin)

    async def done_tasks(self, job_id: str) -> frozenset[int]:
        query = sa.select(job_tasks.c.number).where(job_tasks.c.job_id == job_id)
        return frozenset(await self._run(lambda c: c.execute(query).scalars().all()))

    async def task_done(self, job_id: str, number: int) -> None:
        def note(connection: sa.Connection) -> None:
            connection.execute(sa.insert(job_tasks).values(job_id=job_id, number=number))
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(done=jobs.c.done + 1))

        try:
            await self._run(note)
        except IntegrityError:
            return  # whoever had the job before has done it too

    async def end(self, job_id: str, runner: str, state: JobState, message: str) -> None:
        def end(connection: sa.Connection) -> None:
            ended = connection.execute(_mine(job_id, runner).values(state=state.value, message=message))
            if ended.rowcount and state is JobState.DONE:
                connection.execute(sa.delete(job_tasks).where(job_tasks.c.job_id == job_id))

        await self._run(end)

    async def discardable(self) -> Sequence[Job]:
        query = sa.select(jobs).where(jobs.c.state == JobState.CANCELLED.value, jobs.c.plan.is_not(None))
        return [_job(row) for row in await self._run(lambda c: c.execute(query).all())]

    async def discarded(self, job_id: str) -> None:
        def forget(connection: sa.Connection) -> None:
            connection.execute(sa.delete(job_tasks).where(job_tasks.c.job_id == job_id))
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(plan=None))

        await self._run(forget)

    async def _changed(self, change: sa.Update) -> bool:
        return await self._run(lambda c: c.execute(change).rowcount > 0)


def _mine(job_id: str, runner: str) -> sa.Update:
    return sa.update(jobs).where(jobs.c.id == job_id, jobs.c.runner == runner, jobs.c.state == JobState.RUNNING.value)


def _what(layer: str, parameters: Parameters) -> str:
    """What the column ``layer`` holds, by which a job is told from others: the parameters follow as in a URL."""
    what = f"{layer}?{urlencode(sorted(parameters.items()), safe=',:')}" if parameters else layer
    if len(what) > LONGEST:
        raise InvalidRequest(f"layer and parameters take {len(what)} characters, the limit is {LONGEST}")
    return what


def _new(kind: str, dataset: str, what: str) -> Mapping[str, Any]:
    return {
        "id": secrets.token_hex(8),
        "kind": kind,
        "dataset": dataset,
        "layer": what,
        "state": JobState.QUEUED.value,
        "done": 0,
        "total": 0,
        "message": "",
        "leased_until": 0.0,
        "created": time.time(),
    }


def _job(row: sa.Row[Any]) -> Job:
    layer, _, parameters = row.layer.partition("?")
    return Job(
        id=row.id,
        kind=row.kind,
        dataset=row.dataset,
        layer=layer,
        parameters=dict(parse_qsl(parameters)),
        state=JobState(row.state),
        done=row.done,
        total=row.total,
        message=row.message,
        plan=json.loads(row.plan) if row.plan is not None else None,
    )
