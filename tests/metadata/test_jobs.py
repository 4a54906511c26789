"""The jobs in SQL, over SQLite and PostgreSQL; the migrations, by several processes at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.metadata.databases import PostgreSQL
from wkdvid.core.jobs import Job, JobState
from wkdvid.errors import ConfigError, DatabaseUnavailable
from wkdvid.metadata.engine import MIGRATIONS, VERSION, migrate, open_engine, transaction
from wkdvid.metadata.jobs import SqlJobStore
from wkdvid.metadata.schema import FIRST_ROWS, REVISION, metadata

TARGET = ("pyramid", "org/data", "em")
PROCESSES = 4


NewUrl: TypeAlias = Callable[[], str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewUrl:
    """Of empty databases."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('db') / 'new' / 'wkdvid.db'}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_database


@pytest.fixture(scope="module")
def url(new_url: NewUrl) -> str:
    return new_url()


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """Of an empty database that is up to date."""
    migrate(url)
    opened = open_engine(url)
    with transaction(opened) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
    yield opened
    opened.dispose()


@pytest.fixture
def store(engine: sa.Engine) -> SqlJobStore:
    return SqlJobStore(engine)


def test_processes_that_start_together_make_one_database(url: str) -> None:
    code = f"from wkdvid.metadata.engine import migrate; migrate({url!r})"
    starting = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(PROCESSES)]
    assert [process.wait(60) for process in starting] == [0] * PROCESSES


def test_a_database_that_is_brought_up_to_date_is_like_a_new_one(new_url: NewUrl) -> None:
    """A new one is made without migrations."""
    old, new = new_url(), new_url()
    engine = open_engine(old)
    with transaction(engine) as connection:
        begun = Config(attributes={"connection": connection})
        begun.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(begun, "0001")
    engine.dispose()
    for url in (old, new):
        migrate(url)
        engine = open_engine(url)
        with transaction(engine) as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            for table in (VERSION, *metadata.sorted_tables):
                first = FIRST_ROWS.get(table, {"version_num": REVISION} if table is VERSION else None)
                assert connection.execute(sa.select(table)).mappings().all() == ([first] if first else []), table
        engine.dispose()
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == REVISION


def test_a_database_of_a_newer_version_is_left_alone(url: str, engine: sa.Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=rf"newer version \(9999\) than this program \({REVISION}\)"):
        migrate(url)
    with transaction(engine) as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{REVISION}'"))


@pytest.mark.parametrize("bad", ["", "x", "mysql://a:secret@b/c", "sqlite:/x", "postgresql://a:secret@b:port/c"])
def test_what_is_no_database_is_said_without_its_password(bad: str) -> None:
    with pytest.raises(ConfigError, match=r"metadata\.database_url: expected") as error:
        open_engine(bad)
    assert "secret" not in str(error.value)


def test_a_database_that_cannot_be_used_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseUnavailable, match="file is not a database"):
        migrate(f"sqlite:///{tmp_path / 'db'}")
    with pytest.raises(DatabaseUnavailable, match="the database cannot be used") as error:
        migrate(f"postgresql://user:secret@/db?host={tmp_path}")
    assert "secret" not in str(error.value)


async def test_one_target_has_one_job(store: SqlJobStore) -> None:
    submitted = await asyncio.gather(*(store.submit(*TARGET) for _ in range(8)))
    assert len({job.id for job in submitted}) == 1
    assert submitted[0] == Job(
        id=submitted[0].id,
        kind="pyramid",
        dataset="org/data",
        layer="em",
        state=JobState.QUEUED,
        done=0,
        total=0,
        message="",
        plan=None,
    )
    other = await store.submit("pyramid", "org/data", "seg")
    assert [job.id for job in await store.newest()] == [other.id, submitted[0].id]
    assert await store.get("none") is None


async def test_one_runner_has_a_job(store: SqlJobStore) -> None:
    ids = {(await store.submit("pyramid", "org/data", f"layer{i}")).id for i in range(4)}
    claims = await asyncio.gather(*(store.claim(f"host{i}", 60) for i in range(8)))
    assert {job.id for job in claims if job is not None} == ids
    assert len([job for job in claims if job is not None]) == len(ids)
    assert {job.state for job in claims if job is not None} == {JobState.RUNNING}


async def test_a_job_without_a_sign_of_life_is_taken_up(store: SqlJobStore) -> None:
    job = await store.submit(*TARGET)
    await store.claim("dead", 0)
    await store.begin(job.id, {"levels": [1]}, 3)
    await store.task_done(job.id, 2)
    taken = await store.claim("other", 60)
    assert taken is not None
    assert (taken.id, taken.done, taken.total, taken.plan) == (job.id, 1, 3, {"levels": [1]})
    assert await store.done_tasks(job.id) == {2}
    assert await store.claim("third", 60) is None
    again = await store.claim("other", 60)
    assert again == taken, "a host takes up at once what was its own"

    assert not await store.renew(job.id, "dead", 60)
    assert await store.renew(job.id, "other", 60)
    await store.end(job.id, "dead", JobState.FAILED, "late")
    assert await store.get(job.id) == taken


async def test_tasks_count_once(store: SqlJobStore) -> None:
    job = await store.submit(*TARGET)
    await store.claim("host", 60)
    await store.begin(job.id, {}, 9)
    await asyncio.gather(*(store.task_done(job.id, n % 5) for n in range(10)))
    assert await store.done_tasks(job.id) == set(range(5))
    assert ((await store.get(job.id)) or job).done == 5
    await store.begin(job.id, {"another": 1}, 4)
    assert await store.done_tasks(job.id) == frozenset()
    assert ((await store.get(job.id)) or job).done == 0


async def test_what_failed_goes_on_and_what_is_done_begins_anew(store: SqlJobStore) -> None:
    job = await store.submit(*TARGET)
    await store.claim("host", 60)
    await store.begin(job.id, {"p": 1}, 2)
    await store.task_done(job.id, 0)
    await store.end(job.id, "host", JobState.FAILED, "why")
    assert ((await store.get(job.id)) or job).message == "why"
    assert (await store.submit(*TARGET)).id == job.id
    again = await store.claim("host", 60)
    assert again is not None
    assert (again.done, again.message) == (1, "")
    assert await store.done_tasks(job.id) == {0}
    await store.end(job.id, "host", JobState.DONE, "made")
    assert not await store.cancel(job.id)
    assert (await store.submit(*TARGET)).id != job.id


async def test_what_is_cancelled_is_left_to_be_cleared_away(store: SqlJobStore) -> None:
    queued, begun = await store.submit(*TARGET), await store.submit("pyramid", "org/data", "seg")
    assert await store.cancel(queued.id)
    await store.claim("host", 60)
    await store.begin(begun.id, {"p": 1}, 2)
    await store.task_done(begun.id, 1)
    assert await store.cancel(begun.id)
    assert not await store.cancel(begun.id)
    assert not await store.renew(begun.id, "host", 60)
    assert await store.claim("host", 60) is None
    assert [job.id for job in await store.discardable()] == [begun.id]
    await store.discarded(begun.id)
    assert await store.discardable() == []
    assert await store.done_tasks(begun.id) == frozenset()


def test_a_database_that_is_up_to_date_needs_no_alembic(url: str) -> None:
    migrate(url)
    code = f"import sys; from wkdvid.metadata.engine import migrate; migrate({url!r}); print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
