"""The job ``pyramid`` at a real server: what is served stays the same to the bit, and is stored from then on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import zarr

from tests.cli.program import wkdvid_here
from tests.jobs.at_work import at_work, write_entry
from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.jobs import JobState
from wkdvid.errors import SourceGone
from wkdvid.testing.volume_suite import make_backends

SIZE = (270, 131, 70)
START = (7, -3, 65)
MAGS = ((2, 2, 2), (4, 4, 4), (8, 8, 8))
"""All that are offered of a volume of this size beside the stored one."""


def image(dtype: str = "uint8", channels: int = 1) -> Voxels:
    noise = np.random.default_rng(1).integers(0, 255, (*SIZE, channels))
    return noise.astype(dtype)


def labels() -> Voxels:
    """Small bodies, so that each block of 8 voxels holds several, with ties and with 0 among them."""
    coarse = np.random.default_rng(2).integers(0, 5, [-(-s // 3) for s in SIZE]).astype(np.uint64)
    x, y, z = SIZE
    return np.kron(coarse, np.ones((3, 3, 3), np.uint64))[:x, :y, :z] * np.uint64(2**40 + 1)


LAYERS = {
    "em": {"source": "em"},
    "rgb": {"source": "rgb"},
    "pair": {"source": "pair"},
    "float": {"source": "float"},
    "seg": {"source": "seg"},
}
DATASETS = {"precomputed": {"my lab": {"brain": {"layers": LAYERS}}}}
SERVED = ("em", "rgb", "pair_c0", "pair_c1", "float", "seg")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pyramid")
    volumes = {"em": image(), "rgb": image(channels=3), "pair": image("uint16", 2), "float": image("float32")}
    for name, voxels in {**volumes, "seg": labels()}.items():
        kind = "segmentation" if name == "seg" else "image"
        write_precomputed(folder / name, [((1, 1, 1), voxels)], offsets=[START], voxel_size_nm=(4, 4, 4), kind=kind)
    with running(folder, DATASETS, workers=2) as started:
        yield started


def whole(server: Server, layer: str, mag: tuple[int, int, int]) -> bytes:
    """All voxels of a mag, with some from around them."""
    start = {axis: s // m * m - 2 * m for axis, s, m in zip("xyz", START, mag, strict=True)}
    size = {axis: s // m + 6 for axis, s, m in zip(("width", "height", "depth"), SIZE, mag, strict=True)}
    query = {**start, **size, "mag": "-".join(map(str, mag))}
    answer = server.get(f"/data/datasets/my%20lab/brain/layers/{layer}/data", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["MISSING-BUCKETS"] == "[]"
    return answer.content


def make(server: Server, layer: str) -> str:
    done = wkdvid_here("pyramid", "my lab/brain", layer, "--server", server.base, cwd=server.data_dir)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def offered(server: Server) -> dict[str, Any]:
    """What webKnossos is told of each layer."""
    source = server.get("/data/datasets/my%20lab/brain").json()["dataSource"]
    return {layer["name"]: layer for layer in source["dataLayers"]}


def folder_of(server: Server, layer: str) -> Path:
    stored = json.loads((server.data_dir / "datasets.json").read_text())
    folder: str = stored["precomputed"]["my lab"]["brain"]["pyramids"][layer]
    return server.data_dir / folder


@pytest.mark.parametrize("layer", SERVED)
def test_what_is_served_stays_the_same(server: Server, layer: str) -> None:
    before, told = {mag: whole(server, layer, mag) for mag in MAGS}, offered(server)
    assert all(any(voxels) for voxels in before.values())

    assert make(server, layer) == f"my lab/brain, {layer}: mags 2-2-2, 4-4-4, 8-8-8 are served from now on\n"

    for _ in range(4):  # either worker
        assert {mag: whole(server, layer, mag) for mag in MAGS} == before
    assert offered(server) == told
    assert {path.name for path in folder_of(server, layer).iterdir()} == {"pyramid.json", "2-2-2", "4-4-4", "8-8-8"}
    assert make(server, layer) == f"my lab/brain, {layer}: nothing to do: no level is missing\n"


def test_zarrs_own_library_reads_what_is_stored(server: Server) -> None:
    make(server, "em")
    array = zarr.open_array(folder_of(server, "em") / "2-2-2", mode="r")
    assert array.metadata.to_dict()["dimension_names"] == ("c", "z", "y", "x")
    # Offsets: the array begins at a corner of the chunks, 64 or so voxels before (3, -2, 32).
    served = np.frombuffer(whole(server, "em", (2, 2, 2)), np.uint8).reshape([s // 2 + 6 for s in SIZE[::-1]])
    stored = np.asarray(array[0])[32:, 62:, 3:]
    assert np.array_equal(stored, served[2:, 2:, 2:][tuple(slice(n) for n in stored.shape)])


def test_the_stored_levels_are_what_is_read(server: Server) -> None:
    """Not the source: a shard that does not fit its checksum is an error, not voxels computed from elsewhere."""
    make(server, "seg")
    found = (folder_of(server, "seg") / "8-8-8").rglob("*")
    shards = {path: path.read_bytes() for path in found if path.is_file() and path.name != "zarr.json"}
    bucket = {"position": [64, 0, 128], "mag": [8, 8, 8], "cubeSize": 32}
    try:
        for path, good in shards.items():
            path.write_bytes(good[:100] + bytes([good[100] ^ 255]) + good[101:])
        assert server.post("/data/triggers/reload/my%20lab/brain").status_code == 200
        answer = server.buckets("my%20lab/brain/layers/seg", bucket)
        assert answer.headers["Failure-Bucket-Indices"] == "[0]"
    finally:
        for path, good in shards.items():
            path.write_bytes(good)
        server.post("/data/triggers/reload/my%20lab/brain")


async def test_levels_that_go_are_not_empty(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "em", [((1, 1, 1), np.full((130, 64, 64), 9, np.uint8))])
    write_entry(tmp_path, {"em": {"source": "em"}})
    async with at_work(tmp_path) as here:
        assert (await here.ended("pyramid", "em", {})).state is JobState.DONE
    backends = make_backends(roots=[tmp_path], look_s=0.0)
    (entry,), _ = backends.parse(json.loads((tmp_path / "datasets.json").read_text()))
    (opened,) = await backends.open_layers(entry)
    extent = opened.volume.info.levels[1].extent
    assert (await opened.volume.read(1, extent) == 9).all()
    (tmp_path / "volumes").rename(tmp_path / "away")
    with pytest.raises(SourceGone):
        await opened.volume.read(1, extent)
    assert (await opened.volume.read(0, opened.volume.info.levels[0].extent) == 9).all()


def test_levels_of_another_source_are_not_served(tmp_path: Path) -> None:
    """The source is larger than it was: its pyramid would end too early."""
    write_precomputed(tmp_path / "em", [((1, 1, 1), np.full((130, 64, 64), 9, np.uint8))], encoding="jpeg")
    entry = {"precomputed": {"my lab": {"brain": {"layers": {"em": {"source": "em"}}}}}}
    with running(tmp_path, entry, workers=2) as server:
        blocks = f"/api/node/{server.get('/data/datasets').json()[0]['uuid']}/em/specificblocks?blocks=0,0,0,1,0,0"
        handed_on = server.get(blocks).content
        make(server, "em")
        assert server.get(blocks).content == handed_on
        assert handed_on.count((tmp_path / "em" / "1-1-1" / "0-64_0-64_0-64").read_bytes()) == 2
        shutil.rmtree(tmp_path / "em")
        write_precomputed(tmp_path / "em", [((1, 1, 1), np.full((200, 64, 64), 7, np.uint8))])
        assert server.post("/data/triggers/reload/my%20lab/brain").status_code == 200
        for _ in range(8):
            voxels = server.buckets(
                "my%20lab/brain/layers/em", {"position": [128, 0, 0], "mag": [2] * 3, "cubeSize": 32}
            )
            assert set(voxels.content) == {7}
        (listed,) = server.get("/data/datasets").json()
        assert "the source is not what it was when this was made" in listed["layers"][0]["notes"][0]
        old = folder_of(server, "em")
        assert "are served from now on" in make(server, "em")
        assert folder_of(server, "em") != old
        (listed,) = server.get("/data/datasets").json()
        assert listed["layers"][0]["notes"] == []

        assert requests.delete(f"{server.base}/data/datasets/my%20lab/brain", timeout=60).status_code == 200
        assert folder_is_whole(tmp_path), "what is removed from the catalog keeps its voxels"


def folder_is_whole(data_dir: Path) -> bool:
    return len(list((data_dir / "volumes" / "my lab" / "brain" / "em").glob("*/pyramid.json"))) == 2
