"""Jobs outlive what befalls them: a killed server, a source that fails, an administrator who changes their mind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.cli.program import command, wkdvid
from tests.jobs.watching import comes_to, ended, has_done, runner
from tests.servers import Server, running
from tests.soak.processes import complaints, kill
from tests.volumes import write_precomputed

LAYER = "org/data/layers/em"
ENTRY = {"precomputed": {"org": {"data": {"layers": {"em": {"source": "em"}}}}}}
WANTED = {"kind": "pyramid", "dataset": "org/data", "layer": "em"}
SIZE = (2048, 512, 64)
MAGS = ("2", "4", "8", "16")
TASKS = 15


def write_noise(folder: Path, size: tuple[int, int, int] = SIZE) -> None:
    voxels = np.random.default_rng(3).integers(0, 256, size, np.uint8)
    write_precomputed(folder / "em", [((1, 1, 1), voxels)])


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a volume that takes a job a second or more."""
    folder = tmp_path_factory.mktemp("noise")
    write_noise(folder)
    return folder


@pytest.fixture
def data_dir(noise: Path, tmp_path: Path) -> Path:
    return shutil.copytree(noise, tmp_path / "data", copy_function=os.link)


def whole(server: Server, mag: str) -> bytes:
    size = {side: n // int(mag) for side, n in zip(("width", "height", "depth"), SIZE, strict=True)}
    size["width"] //= 4  # a request may have 512
    parts = [{**size, "x": part * size["width"] * int(mag), "y": 0, "z": 0, "mag": mag} for part in range(4)]
    answers = [server.get(f"/data/datasets/{LAYER}/data", params=part) for part in parts]
    assert [answer.status_code for answer in answers] == [200] * 4, answers[0].text
    return b"".join(answer.content for answer in answers)


def submit(server: Server) -> dict[str, Any]:
    answer = server.post("/api/jobs", json=WANTED)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_a_killed_server_goes_on_where_it_was(data_dir: Path, kills: int) -> None:
    (data_dir / "datasets.json").write_text(json.dumps(ENTRY))
    before: dict[str, bytes] = {}
    kept = 0
    for _ in range(kills):
        with running(data_dir, workers=2) as server:
            before = before or {mag: whole(server, mag) for mag in MAGS}
            job = submit(server)
            assert submit(server)["id"] == job["id"], "the same work is not begun twice"
            last = comes_to(server, job["id"], partial(has_done, kept))
            os.kill(runner(server), signal.SIGKILL)
            last = comes_to(server, job["id"], partial(has_done, last["done"]))
            kill(server)
        assert (last["state"], last["total"]) == ("running", TASKS)
        kept = last["done"]
        assert "pyramids" not in (data_dir / "datasets.json").read_text()
    with running(data_dir, workers=2) as server:
        assert server.get(f"/api/jobs/{job['id']}").json()["done"] >= kept
        last = comes_to(server, job["id"], ended)
        assert (last["state"], last["done"], last["total"]) == ("done", TASKS, TASKS)
        assert {mag: whole(server, mag) for mag in MAGS} == before
        assert complaints(server) == []
    print(f"jobs: {kills} kills, then exact; the last of them with {kept} of {TASKS} tasks done")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jobs")
    write_noise(folder, (300, 300, 70))
    with running(folder, ENTRY, workers=2) as started:
        yield started


def test_a_chunk_that_cannot_be_read_fails_the_job_until_it_can(server: Server) -> None:
    (chunk,) = (server.data_dir / "em").glob("*/64-128_128-192_0-64")
    good = chunk.read_bytes()
    chunk.write_bytes(good[:1000])
    server.post("/data/triggers/reload/org/data")
    done = wkdvid("pyramid", "org/data", "em", "--server", server.base, cwd=server.data_dir)
    assert done.returncode == 1
    assert done.stderr.startswith("wkdvid pyramid: org/data, em: failed: mag 2-2-2, voxels (0, 0, 0) to (150, 150, 35)")
    assert "level 0, voxels (0, 0, 0) to " in done.stderr
    assert "do not fit their metadata" in done.stderr
    (cancelled,) = server.get("/api/jobs").json()
    assert cancelled["state"] == "failed"
    done = wkdvid("pyramid", "org/data", "em", "--cancel", "--server", server.base, cwd=server.data_dir)
    assert done.stdout == "org/data, em: cancelled\n"
    job = comes_to(server, submit(server)["id"], ended)
    assert job["state"] == "failed"
    assert server.get(f"/data/datasets/{LAYER}/data", params=BOX).status_code == 502

    chunk.write_bytes(good)
    server.post("/data/triggers/reload/org/data")
    done = wkdvid("pyramid", "org/data", "em", "--server", server.base, cwd=server.data_dir)
    assert done.stdout == "org/data, em: mags 2-2-2, 4-4-4, 8-8-8 are served from now on\n"
    assert [one["id"] for one in server.get("/api/jobs").json()] == [job["id"], cancelled["id"]]
    assert server.get(f"/data/datasets/{LAYER}/data", params=BOX).status_code == 200


BOX = {**dict.fromkeys("xyz", 0), "width": 100, "height": 100, "depth": 20, "mag": "2"}


def test_events_tell_the_whole_story(server: Server) -> None:
    job = submit(server)
    with requests.get(f"{server.base}/api/jobs/{job['id']}/events", stream=True, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        told = [json.loads(line.removeprefix(b"data: ")) for line in answer.iter_lines() if line.startswith(b"data: ")]
    assert {one["id"] for one in told} == {job["id"]}
    assert told[-1]["state"] == "done"
    assert [one["done"] for one in told] == sorted(one["done"] for one in told)
    assert server.get(f"/api/jobs/{job['id']}").json() == told[-1]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({**WANTED, "kind": "x"}, 400, "kind: 'x' is not offered; offered are pyramid"),
        ({**WANTED, "dataset": "org/none"}, 404, "there is no dataset org/none"),
        ({**WANTED, "dataset": "org"}, 400, "'org' is not ORGANIZATION/DATASET"),
        ({**WANTED, "dataset": "../data"}, 400, "organization: '..' is not a name"),
        ({**WANTED, "layer": "none"}, 404, "has no layer 'none'"),
        ({**WANTED, "layer": 5}, 400, "expected an object of texts with kind, dataset, layer"),
        ({**WANTED, "more": "x"}, 400, "expected an object of texts"),
        ([], 400, "expected an object of texts"),
        (None, 400, "not valid JSON"),
    ],
)
def test_what_is_no_job_is_refused(server: Server, body: object, status: int, said: str) -> None:
    answer = server.post("/api/jobs", json=body) if body is not None else server.post("/api/jobs", data="{")
    assert (answer.status_code, said in answer.json()["messages"][0]["error"]) == (status, True), answer.text


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("DELETE", "")])
def test_an_unknown_job_is_not_found(server: Server, method: str, path: str) -> None:
    answer = requests.request(method, f"{server.base}/api/jobs/unknown{path}", timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_interrupting_the_command_leaves_the_job_and_cancelling_leaves_nothing(data_dir: Path) -> None:
    with running(data_dir, ENTRY, workers=2) as server:
        watching = subprocess.Popen(
            command("pyramid", "org/data", "em", "--server", server.base), stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + 60
        while not server.get("/api/jobs").json() and time.monotonic() < end:
            time.sleep(0.02)
        (job,) = server.get("/api/jobs").json()
        comes_to(server, job["id"], partial(has_done, 0))
        watching.send_signal(signal.SIGINT)
        cancelled = requests.delete(f"{server.base}/api/jobs/{job['id']}", timeout=60)
        assert cancelled.json()["state"] == "cancelled"
        _, said = watching.communicate(timeout=60)
        assert watching.returncode == 130
        assert "wkdvid pyramid 'org/data' em --cancel" in said

        again = requests.delete(f"{server.base}/api/jobs/{job['id']}", timeout=60)
        assert (again.status_code, "is cancelled already" in again.text) == (400, True)
        made = data_dir / "volumes" / "org" / "data" / "em" / job["id"]
        while made.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not made.exists()
        assert "pyramids" not in (data_dir / "datasets.json").read_text()
        refused = wkdvid("pyramid", "org/data", "em", "--cancel", "--server", server.base, cwd=data_dir)
        assert (refused.returncode, "there is nothing to cancel" in refused.stderr) == (1, True)
        assert submit(server)["id"] != job["id"]
