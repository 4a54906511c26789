"""Jobs whose tasks two workers of a Dask cluster do: what they make is what one process makes, killed or not."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.jobs.at_work import AtWork, at_work, write_entry
from tests.jobs.clusters import Cluster, running_cluster
from tests.servers import free_port
from tests.volumes import write_precomputed
from wkdvid.cluster import executor as executor_module
from wkdvid.cluster.executor import OnDask
from wkdvid.cluster.task import Failure, Task, make_mark
from wkdvid.cluster.worker import do_task
from wkdvid.core.geometry import Box
from wkdvid.core.jobs import Job, JobState

SIZE = (1024, 256, 64)
CUBE = {"model": "identity", "center": "300,100,32", "size": "256,192,64"}
JOBS: list[tuple[str, str, dict[str, str]]] = [("index", "seg", {}), ("transfer", "em", CUBE), ("pyramid", "em", {})]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    dice = np.random.default_rng(5)
    write_precomputed(folder / "em", [((1, 1, 1), dice.integers(0, 256, SIZE, np.uint8))])
    labels = dice.integers(0, 50, SIZE, np.uint16)
    write_precomputed(folder / "seg", [((1, 1, 1), labels)], kind="segmentation")
    write_entry(folder, {"em": {"source": "em"}, "seg": {"source": "seg", "type": "segmentation"}})
    return folder


@pytest.fixture(scope="module")
def data_dir(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(noise, tmp_path_factory.mktemp("cluster") / "data")


@pytest.fixture(scope="module")
def cluster(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("dask"), data_dir, workers=2) as running:
        yield running


def made(data_dir: Path) -> Mapping[str, bytes]:
    """Every file that jobs have made, by its path without what is random in it."""
    found = {}
    for kind in ("volumes", "indexes", "transfers"):
        for path in sorted((data_dir / kind).rglob("*")):
            parts = path.relative_to(data_dir).parts
            random = 1 if kind == "transfers" else 4
            if path.is_file():
                found["/".join(part for i, part in enumerate(parts) if i != random)] = path.read_bytes()
    return found


async def all_ended(here: AtWork) -> list[Job]:
    return [await here.ended(*job) for job in JOBS]


async def killed_at_work(here: AtWork, process: subprocess.Popen[bytes], kind: str, layer: str) -> Job:
    """The job as it has ended, a process of the cluster killed when tasks were under way."""
    job = await here.services.jobs.submit(kind, "lab/brain", layer)
    while job.done >= job.total:  # none while it is not known how many there are
        assert not job.state.ended
        await asyncio.sleep(0.005)
        job = await here.services.jobs.get(job.id)
    process.kill()
    process.wait()
    return [job async for job in here.services.jobs.changes(job.id) if job is not None][-1]


async def test_two_workers_make_what_one_process_makes(
    noise: Path, data_dir: Path, cluster: Cluster, tmp_path: Path
) -> None:
    alone = shutil.copytree(noise, tmp_path / "alone")
    async with at_work(alone) as here:
        expected = await all_ended(here)
    async with at_work(data_dir, cluster.address) as here:
        *jobs, (kind, layer, _) = JOBS
        ended = [await here.ended(*job) for job in jobs]
        ended.append(await killed_at_work(here, cluster.workers[0], kind, layer))
    assert [(job.state, job.done, job.total) for job in ended] == [
        (JobState.DONE, job.total, job.total) for job in expected
    ]
    assert [job.message for job in ended] == [job.message for job in expected]
    assert made(data_dir) == made(alone)


async def test_a_job_that_has_lost_the_scheduler_says_so_and_goes_on_without_one(
    data_dir: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "CONNECT_S", 0.5)
    async with at_work(data_dir, cluster.address) as here:
        job = await killed_at_work(here, cluster.scheduler, "pyramid", "seg")
        assert job.state is JobState.FAILED
        assert f"jobs.scheduler: {cluster.address}: " in job.message
        assert job.done < job.total
    async with at_work(data_dir) as here:
        again = await here.ended("pyramid", "seg", {})
    assert (again.id, again.state, again.done) == (job.id, JobState.DONE, job.total)


async def test_where_nobody_is_no_job_is_done(noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "CONNECT_S", 0.5)
    nobody = f"tcp://127.0.0.1:{free_port()}"
    async with at_work(shutil.copytree(noise, tmp_path / "data"), nobody) as here:
        job = await here.ended("pyramid", "em", {})
    assert (job.state, job.done) == (JobState.FAILED, 0)
    assert job.message.startswith(f"jobs.scheduler: {nobody}: it does not answer")


JOB = Job(
    id="j",
    kind="pyramid",
    dataset="lab/brain",
    layer="em",
    state=JobState.RUNNING,
    done=0,
    total=1,
    message="",
    plan={},
)


def task_of(source: str, mark: str) -> Task:
    document = {"precomputed": {"lab": {"brain": {"layers": {"em": {"source": source}}}}}}
    return Task(JOB, document, mark, 0, Box((0, 0, 0), (64, 64, 64)))


async def test_a_worker_refuses_what_would_come_to_something_else(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = make_mark(noise)
    assert make_mark(noise) == mark
    monkeypatch.setenv("WKDVID_DATA_DIR", str(tmp_path))
    elsewhere = await do_task(task_of("em", mark))
    monkeypatch.setenv("WKDVID_DATA_DIR", str(noise))
    other_source = await do_task(task_of("em", mark))
    no_source = await do_task(task_of("gone", mark))
    told = [failure.text for failure in (elsewhere, other_source, no_source) if isinstance(failure, Failure)]
    assert "data directory (WKDVID_DATA_DIR, or 'data' where it was started) is not the server's" in told[0]
    assert told[1] == "the source, as a worker sees it, is not what the server has seen when it began"
    assert "gone" in told[2]


async def test_no_key_of_an_account_is_sent_to_the_cluster(tmp_path: Path) -> None:
    """One that stands in datasets.json itself, in a layer; what this process has of it stays as it is."""
    key = {
        "type": "service_account",
        "client_email": "a@b.example",
        "private_key": "PEM",
        "token_uri": "https://t.example",
    }
    write_entry(tmp_path, {"em": {"source": "em", "credentials": key}})
    async with at_work(tmp_path) as here:
        catalog = here.services.catalog
        await catalog.catch_up()
        sent = OnDask("tcp://127.0.0.1:1", tmp_path, catalog)._document(JOB)
        assert catalog.find(("lab", "brain")).entry.options["layers"]["em"]["credentials"] == key
    assert "file:.wkdvid/credentials/" in str(sent)
    assert "PEM" not in str(sent)
