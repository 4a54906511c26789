"""A server that starts while its source is down: what is kept is served over every protocol, and said to be old."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.disk_cache.reading import reading
from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Box
from wkdvid.testing.faulty import FileServer, none, on

UUID = "abcdef"
STALE = "X-Wkdvid-Stale"
BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
LAYER = "org/far/layers/image"
PATHS = (
    "/data/datasets/org/far",
    "/data/zarr/org/far/image/zarr.json",
    f"/api/repo/{UUID}/info",
    f"/api/node/{UUID}/image/info",
    f"/api/node/{UUID}/image/raw/0_1_2/32_32_32/0_0_0",
    f"/api/node/{UUID}/image/subvolblocks/64_64_64/0_0_0?compression=uncompressed",
)


@pytest.fixture(scope="module")
def voxels() -> Voxels:
    return np.random.default_rng(3).integers(1, 255, (128, 64, 64), np.uint8)


async def read_half(folder: Path, source: FileServer) -> None:
    """What a server has read that ran before."""
    async with reading(folder, source.host) as one:
        volume = await one.open("precomputed", {"source": f"{source.url}v"})
        await volume.read(0, Box((0, 0, 0), (64, 64, 64)))


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, voxels: Voxels) -> Iterator[tuple[Server, FileServer]]:
    """It finds half of the volume kept, from a source that fails."""
    folder = tmp_path_factory.mktemp("offline")
    write_precomputed(folder / "files/v", [((1, 1, 1), voxels)])
    with FileServer(folder / "files") as source:
        asyncio.run(read_half(folder / "kept", source))
        source.fault = on("*", 500)
        layers = {"image": {"source": f"{source.url}v"}}
        entries = {"precomputed": {"org": {"far": {"layers": layers, "uuid": UUID}}}}
        environ = {
            "WKDVID_SOURCES__HTTP_HOSTS": source.host,
            "WKDVID_SOURCES__DISK_CACHE_PATH": str(folder / "kept"),
            "WKDVID_SOURCES__DISK_CACHE_BYTES": "64 MiB",
            "WKDVID_SOURCES__REFRESH_S": "0.5",
            "WKDVID_SOURCES__DEADLINE_S": "4",
        }
        with running(folder / "data", entries, environ=environ) as server:
            yield server, source


def bucket(server: Server, x: int = 0) -> requests.Response:
    return server.buckets(LAYER, {**BUCKET, "position": [x, 0, 0]})


def test_what_is_kept_is_served_over_every_protocol(started: tuple[Server, FileServer], voxels: Voxels) -> None:
    server, _ = started
    for path in PATHS:
        answer = server.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert 0 <= int(answer.headers[STALE]) < 3600, path
        assert STALE in answer.headers["Access-Control-Expose-Headers"]
    answer = bucket(server)
    assert answer.content == voxels[:32, :32, :32].tobytes("F")
    assert answer.headers["MISSING-BUCKETS"] == "[]"
    assert {"MISSING-BUCKETS", STALE} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))


def test_what_is_not_kept_fails(started: tuple[Server, FileServer]) -> None:
    server, _ = started
    answer = bucket(server, 64)
    assert (answer.status_code, answer.headers["MISSING-BUCKETS"]) == (200, "[0]")
    assert server.get(f"/api/node/{UUID}/image/raw/0_1_2/32_32_32/64_0_0").status_code == 503


def test_the_listings_say_so(started: tuple[Server, FileServer]) -> None:
    server, _ = started
    (listed,) = server.get("/data/datasets").json()
    assert listed["state"] == "stale"
    assert "its source does not answer" in listed["reason"]
    assert 'class="state stale"' in server.get("/").text
    with requests.Session() as session:  # one connection: its next answer is about no dataset
        assert STALE in session.get(f"{server.base}/api/repo/{UUID}/info", timeout=60).headers
        assert STALE not in session.get(f"{server.base}/data/health", timeout=60).headers


def test_it_recovers_and_sees_what_has_changed(started: tuple[Server, FileServer], voxels: Voxels) -> None:
    server, source = started
    changed = voxels[::-1].copy()
    write_precomputed(source.folder / "v", [((1, 1, 1), changed)])
    source.fault = none
    assert server.post("/data/triggers/reload/org/far").status_code == 200
    answer = bucket(server)
    assert answer.content == changed[:32, :32, :32].tobytes("F")
    assert STALE not in answer.headers
    (listed,) = server.get("/data/datasets").json()
    assert listed["state"] == "open"
