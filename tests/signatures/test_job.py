"""Computing signatures: as a job of a server, and without one; all places of the layer, each with its own signature."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.cli.program import wkdvid_here
from tests.jobs.at_work import at_work, emptied, write_entry
from tests.servers import Server, running
from tests.signatures.test_records import RECORDS, packed, write_blocks
from tests.volumes import Voxels, write_precomputed
from wkdvid.cli import main
from wkdvid.core.jobs import JobState
from wkdvid.signatures import job as job_module
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.index import SignatureIndex, open_index
from wkdvid.signatures.search import at_location, like_location
from wkdvid.signatures.signer import PATCH, Signer, describe

KEY = ("lab", "brain")
AT_A_TIME = 2
"""Tasks, as ``jobs.workers`` has it."""
OFFSET = (7, -30, 65)
SIZE = (130, 150, 100)
FIRST = (32, 0, 96)
"""The first multiple of the stride around which there is a whole patch."""


def write_volumes(folder: Path, grey: Voxels) -> None:
    x, y, z = SIZE
    kinds = {"em": grey[:x, :y, :z], "seg": grey[:x, :y, :z].astype(np.uint64), "thin": grey[:x, :y, :40]}
    for name, voxels in kinds.items():
        kind = "segmentation" if name == "seg" else "image"
        write_precomputed(folder / name, [((1, 1, 1), voxels)], offsets=[OFFSET], voxel_size_nm=(8, 8, 8), kind=kind)
    write_entry(folder, {name: {"source": name} for name in kinds})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, medulla: Mapping[str, Voxels]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("signatures")
    write_volumes(folder, medulla["grayscale"])
    with running(folder, workers=1) as started:
        yield started


def places(stride: int) -> list[tuple[int, ...]]:
    """All multiples of the stride around which there is a whole patch."""
    axes = [
        [n for n in range(start, start + size) if n % stride == 0 and start <= n - 24 and n + 24 <= start + size]
        for start, size in zip(OFFSET, SIZE, strict=True)
    ]
    return [(x, y, z) for x in axes[0] for y in axes[1] for z in axes[2]]


def assert_signed(index: SignatureIndex, grey: Voxels, stride: int) -> None:
    """Each place has the signature of the patch around it."""
    assert sorted(map(tuple, index.points.tolist())) == sorted(places(stride))
    document = index.about["signer"]
    projection = np.unpackbits(np.frombuffer(bytes.fromhex(document["projection"]), np.uint8))
    signer = Signer(projection.reshape(-1, 64).astype(np.float32) * 2 - 1, np.array(document["thresholds"], np.float32))
    for number in np.random.default_rng(0).integers(0, len(index.points), 20):
        start = index.points[number] - 24 - np.array(OFFSET)
        patch = grey[tuple(slice(n, n + PATCH) for n in start)]
        (signature,) = signer.sign(describe(patch[None], stride)[0])
        assert signature == index.signatures[number]


def test_a_layer_of_the_server(server: Server, medulla: Mapping[str, Voxels]) -> None:
    done = wkdvid_here("signatures", "build", "lab/brain/em", "--server", server.base, cwd=server.data_dir)
    count = len(places(16))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"lab/brain, em: places that look alike are found from now on: {count} signatures\n"
    index = SignatureFolders(server.data_dir / "signatures").index(KEY)
    assert index is not None
    assert {key: index.about[key] for key in ("count", "block", "stride", "layer")} == {
        "count": count,
        "block": 160,
        "stride": 16,
        "layer": "em",
    }
    assert_signed(index, medulla["grayscale"], 16)
    found = at_location(index, (60, 20, 130))
    assert found is not None
    assert found.point == (64, 16, 128)
    assert like_location(index, (60, 20, 130)) is not None
    assert list((server.data_dir / "signatures" / ".work").iterdir()) == [], "what is not needed any more is removed"

    alone = wkdvid_here("signatures", "build", "em", "--out", "here", cwd=server.data_dir)
    assert (alone.returncode, alone.stderr) == (0, "")
    same = open_index(server.data_dir / "here")
    assert same is not None
    assert np.array_equal(same.points, index.points)
    assert np.array_equal(same.signatures, index.signatures)


def test_over_http(server: Server) -> None:
    wanted = {"kind": "signatures", "dataset": "lab/brain", "layer": "em", "parameters": {"stride": "32"}}
    job = server.post("/api/jobs", json=wanted).json()
    assert job["parameters"] == {"block": "160", "stride": "32"}
    with requests.get(f"{server.base}/api/jobs/{job['id']}/events", stream=True, timeout=60) as events:
        last = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith(b"data: ")][-1]
    assert (last["state"], last["done"]) == ("done", last["total"]), last
    index = SignatureFolders(server.data_dir / "signatures").index(KEY)
    assert index is not None
    assert sorted(map(tuple, index.points.tolist())) == places(32)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"parameters": {"stride": "6"}}, "stride: 6 is no multiple of 4"),
        ({"parameters": {"stride": "0"}}, "stride: '0' is not a number of voxels from 4 to 1024"),
        ({"parameters": {"block": "1e9"}}, "block: '1e9' is not a number of voxels from 4 to 1024"),
        ({"parameters": {"colour": "red"}}, "unknown are colour; there are block and stride"),
        ({"parameters": {"stride": 16}}, "parameters (texts too)"),
        ({"parameters": ["stride"]}, "parameters (texts too)"),
        ({"kind": "signature"}, "offered are pyramid, index, signatures, transfer"),
    ],
)
def test_odd_jobs_are_refused(server: Server, body: dict[str, object], why: str) -> None:
    answer = server.post("/api/jobs", json={"kind": "signatures", "dataset": "lab/brain", "layer": "em", **body})
    assert answer.status_code == 400
    assert why in answer.json()["messages"][0]["error"]


@pytest.mark.parametrize(("layer", "why"), [("seg", "holds labels"), ("thin", "is smaller than a patch of 48")])
def test_layers_without_signatures(server: Server, layer: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("signatures", "build", f"lab/brain/{layer}", "--server", server.base)
    assert main(command) == 1
    assert why in capsys.readouterr().err


async def test_it_goes_on_where_it_was(
    tmp_path: Path, medulla: Mapping[str, Voxels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "SIDE", 32)
    write_volumes(tmp_path, medulla["grayscale"])
    given = {"stride": "16", "block": "32"}
    async with at_work(tmp_path) as here:
        job = await here.services.jobs.submit("signatures", "lab/brain", "em", given)
        async for now in here.services.jobs.changes(job.id):
            if now is not None and now.done > 70:
                break
    assert not (tmp_path / "signatures" / "lab").exists()
    work = tmp_path / "signatures" / ".work" / job.id
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.npy")}
    async with at_work(tmp_path) as here:
        again = asyncio.create_task(_written_again(kept))
        ended = await here.ended("signatures", "em", given)
        assert len(await again) <= AT_A_TIME, "but for what was under way"
    assert (ended.id, ended.state) == (job.id, JobState.DONE)
    index = open_index(tmp_path / "signatures" / "lab" / "brain")
    assert index is not None
    assert_signed(index, medulla["grayscale"], 16)


async def _written_again(kept: Mapping[Path, int]) -> set[Path]:
    """Which files are, as long as they are there."""
    found: set[Path] = set()
    while True:
        for path, time in kept.items():
            try:
                if path.stat().st_mtime_ns != time:
                    found.add(path)
            except FileNotFoundError:
                return found
        await asyncio.sleep(0.02)


async def test_what_a_cancelled_one_has_made_is_removed(tmp_path: Path, medulla: Mapping[str, Voxels]) -> None:
    write_volumes(tmp_path, medulla["grayscale"])
    async with at_work(tmp_path) as here:
        job = await here.services.jobs.submit("signatures", "lab/brain", "em", {})
        async for now in here.services.jobs.changes(job.id):
            if now is not None and now.done:
                break
        await here.services.jobs.cancel(job.id)
        await emptied(tmp_path / "signatures" / ".work")
    assert not (tmp_path / "signatures" / "lab").exists()


async def test_an_end_that_was_interrupted_is_an_end(tmp_path: Path, medulla: Mapping[str, Voxels]) -> None:
    """The index was in its place, but the job not yet told to be done."""
    write_volumes(tmp_path, medulla["grayscale"])
    async with at_work(tmp_path) as here:
        first = await here.ended("signatures", "em", {"stride": "32"})
        assert first.plan is not None
        again = await here.store.submit("signatures", "lab/brain", "em", first.parameters)
        await here.store.claim("gone", 0)
        await here.store.begin(again.id, first.plan, first.total)
        for number in range(first.total):
            await here.store.task_done(again.id, number)
        folder = tmp_path / "signatures" / "lab" / "brain"
        meta = json.loads((folder / "meta.json").read_text())
        (folder / meta["arrays"]).rename(folder / f"of{again.id}")
        (folder / "meta.json").write_text(json.dumps({**meta, "arrays": f"of{again.id}"}))
        last = [job async for job in here.services.jobs.changes(again.id) if job is not None][-1]
    assert (last.state, last.message) == (JobState.DONE, first.message)


def test_import_where_the_server_looks(server: Server, tmp_path: Path) -> None:
    (tmp_path / "all.bin").write_bytes(packed([*RECORDS, (2**32 - 1, 0, 0, 0)]))
    place = {"WKDVID_CLIO__SIGNATURES": str(tmp_path / "elsewhere")}
    done = wkdvid_here("signatures", "import", "all.bin", "my lab/brain", cwd=tmp_path, **place)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "elsewhere" / "my lab" / "brain"
    assert done.stdout == f"{folder}: {len(RECORDS)} signatures; 1 record that is none was left out\n"
    index = SignatureFolders(tmp_path / "elsewhere").index(("my lab", "brain"))
    assert index is not None
    assert (index.side, index.about["source"]) == (160, "all.bin")

    write_blocks(tmp_path / "out", RECORDS, side=100)
    done = wkdvid_here("signatures", "import", "out", "--out", "index", cwd=tmp_path)
    assert done.stdout == f"index: {len(RECORDS)} signatures\n"
    other = open_index(tmp_path / "index")
    assert other is not None
    assert other.side == 100


@pytest.mark.parametrize(
    ("arguments", "why", "code"),
    [
        (("import", "all.bin"), "say either whose they are, ORG/DATASET, or where to: --out FOLDER", 2),
        (("import", "all.bin", "--out", "index", "--block", "5000"), "block: 5000 is not a number of voxels", 1),
        (("import", "nothing", "--out", "index"), "nothing: neither a file of records nor a folder", 1),
        (("build", "gs://bucket/em"), "of a source say where to: --out FOLDER", 2),
        (("build", "lab/brain"), "'lab/brain' is not ORGANIZATION/DATASET/LAYER", 2),
        (("build", "em", "--out", "index", "--stride", "5"), "stride: 5 is no multiple of 4", 1),
        (("build", "em", "--out", "index"), "em", 1),
        ((), "build | import", 2),
    ],
)
def test_wrong_commands(
    tmp_path: Path,
    arguments: tuple[str, ...],
    why: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "all.bin").write_bytes(packed(RECORDS))
    monkeypatch.chdir(tmp_path)
    assert main(["signatures", *arguments]) == code
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""
    assert not (tmp_path / "index" / "meta.json").exists()
