"""The job ``index`` at a real server: it outlives a kill, leaves nothing when it is cancelled, fits one source only."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.cli.program import wkdvid_here
from tests.jobs.watching import comes_to, ended, has_done
from tests.servers import Server, running
from tests.soak.processes import complaints, kill
from tests.volumes import Voxels, write_precomputed
from wkdvid.backends.label_index.job import _Indexing
from wkdvid.errors import JobFailed
from wkdvid.testing.volume_suite import open_layers

SIZE = (4096, 64, 64)
UUID = "abcd" * 8
ENTRY = {"precomputed": {"org": {"data": {"uuid": UUID, "layers": {"seg": {"source": "seg", "type": "segmentation"}}}}}}
WANTED = {"kind": "index", "dataset": "org/data", "layer": "seg"}
TASKS = 8 + 1


@pytest.fixture(scope="module")
def noise() -> Voxels:
    """Labels without any order, which take a while to count."""
    return np.random.default_rng(8).integers(0, 1000, SIZE, np.uint32)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, noise: Voxels) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    write_precomputed(folder / "seg", [((1, 1, 1), noise)], kind="segmentation")
    return folder


@pytest.fixture
def data_dir(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "data", copy_function=os.link)


def submit(server: Server) -> str:
    answer = server.post("/api/jobs", json=WANTED)
    assert answer.status_code == 200, answer.text
    job: str = answer.json()["id"]
    return job


def sizes(server: Server) -> dict[int, int]:
    answer = server.get(f"/api/node/{UUID}/seg/listlabels", params={"sizes": "true"})
    assert answer.status_code == 200, answer.text
    return dict(np.frombuffer(answer.content, "<u8").reshape(-1, 2).tolist())


def folders(data_dir: Path) -> list[Path]:
    return [*(data_dir / "indexes").glob("org/data/seg/*")]


@pytest.mark.soak  # test_going_on.py kills a server during another job
def test_a_killed_server_goes_on_where_it_was(data_dir: Path, noise: Voxels) -> None:
    with running(data_dir, ENTRY, workers=2) as server:
        job = submit(server)
        last = comes_to(server, job, partial(has_done, 0))
        kill(server)
    assert (last["state"], last["total"]) == ("running", TASKS)
    (folder,) = folders(data_dir)
    assert len([*(folder / "runs").glob("[0-9]*.npy")]) >= last["done"] >= 1
    (folder / "runs" / ".0_0_0.npy.half").write_bytes(b"what a kill leaves")
    with running(data_dir, workers=2) as server:
        last = comes_to(server, job, ended)
        assert (last["state"], last["done"], last["total"]) == ("done", TASKS, TASKS)
        labels, voxels = np.unique(noise, return_counts=True)
        for _ in range(4):  # either worker
            assert sizes(server) == dict(zip(labels[1:].tolist(), voxels[1:].tolist(), strict=True))
        assert complaints(server) == []
    assert {path.name for path in folder.iterdir()} == {
        *("labels.u64", "sizes.u64", "offsets.u64", "blocks.u64", "counts.u32"),
        "index.json",
    }


def test_it_is_cancelled_made_and_made_anew_for_another_source(data_dir: Path) -> None:
    with running(data_dir, ENTRY, workers=2) as server:
        job = submit(server)
        comes_to(server, job, partial(has_done, 0))
        (folder,) = folders(data_dir)
        cancelled = requests.delete(f"{server.base}/api/jobs/{job}", timeout=60)
        assert cancelled.json()["state"] == "cancelled"
        entry = json.loads((data_dir / "datasets.json").read_text())
        assert "indexes" not in entry["precomputed"]["org"]["data"]

        small = np.zeros((130, 70, 64), np.uint64)
        small[5:70, 3, 3] = 2**63 + 7
        _replace(server, small)
        job = submit(server)
        made = comes_to(server, job, ended)
        assert (made["state"], made["message"]) == ("done", "labels are found by their index from now on")
        assert not folder.exists()
        assert sizes(server) == {2**63 + 7: 65}

        assert comes_to(server, submit(server), ended)["message"] == "nothing to do: there is an index"
        small[0, 0, 0] = 4
        _replace(server, np.concatenate([small, small]))
        refused = server.get(f"/api/node/{UUID}/seg/listlabels")
        assert (refused.status_code, "IndexedLabels=false" in refused.text) == (400, True)
        (listed,) = server.get("/data/datasets").json()
        assert "the source is not what it was when this was made" in listed["layers"][0]["notes"][0]
        assert "from now on" in wkdvid_here("index", "org/data", "seg", "--server", server.base, cwd=data_dir).stdout
        assert sizes(server) == {4: 2, 2**63 + 7: 130}

        assert requests.delete(f"{server.base}/data/datasets/org/data", timeout=60).status_code == 200
        assert len(folders(data_dir)) == 2, "what is removed from the catalog keeps its files"


def _replace(server: Server, voxels: Voxels) -> None:
    shutil.rmtree(server.data_dir / "seg")
    write_precomputed(server.data_dir / "seg", [((1, 1, 1), voxels)], kind="segmentation")
    assert server.post("/data/triggers/reload/org/data").status_code == 200


async def test_a_merge_that_was_interrupted_goes_on_and_clears_up(tmp_path: Path) -> None:
    """Killed before the index was whole, and again before what it was made of was gone."""
    voxels = np.random.default_rng(9).integers(0, 9, (600, 64, 64), np.uint8)
    write_precomputed(tmp_path / "seg", [((1, 1, 1), voxels)], kind="segmentation")
    (volume,) = await open_layers("precomputed", {"source": "seg"}, roots=[tmp_path])
    folder = tmp_path / "index"

    async def registered() -> str:
        return "noted"

    work = _Indexing({"of": "this"}, folder, volume, ThreadPoolExecutor(2), 1 << 20, registered)
    await work.begin(anew=True)
    counting, merging = work.stages
    for number in range(counting.count):
        await work.do(0, counting.box(number))
    (folder / "merging" / "0").mkdir(parents=True)
    (folder / "labels.u64").write_bytes(b"half")
    await work.do(1, merging.box(0))
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert np.frombuffer(made["labels.u64"], "<u8").tolist() == list(range(1, 9))
    assert np.frombuffer(made["sizes.u64"], "<u8").tolist() == np.bincount(voxels.ravel())[1:].tolist()
    (folder / "runs").mkdir()
    await work.do(1, merging.box(0))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made

    (folder / "index.json").unlink()
    with pytest.raises(JobFailed, match="merging: No such file or directory"):
        await work.do(1, merging.box(0))
    (folder / "runs").mkdir()
    for number in range(counting.count):
        (folder / "runs" / f"{512 * number}_0_0.npy").write_bytes(b"no array")
    with pytest.raises(JobFailed, match="merging: the magic string is not correct"):
        await work.do(1, merging.box(0))
    await work.aclose()
