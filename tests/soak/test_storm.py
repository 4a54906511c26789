"""A source that falls silent under many readers (F10): what they waited for leaves no thread, slot or memory behind."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tests.backends.test_zarr import create_array
from tests.servers import Server, running
from tests.soak.processes import complaints, open_files, processes, resident_bytes, threads
from tests.volumes import Voxels
from wkdvid.testing.faulty import SILENT, FileServer, none, on

READS = 200
CHUNK = 16
GRID = 6
"""Chunks a side: a few more than are read."""
CORNERS = [tuple(CHUNK * n for n in place) for place in product(range(GRID), repeat=3)][:READS]
MIB = 1 << 20
SLACK = {"threads": 16, "files": 64, "memory": 64 * MIB}
"""Threads that TensorStore ends after a while, connections to the source that are kept, memory of the allocator."""
SETTLE_S = 30.0
UUID = "abcdef"


@pytest.fixture
def voxels() -> Voxels:
    return np.random.default_rng(5).integers(1, 255, (CHUNK * GRID,) * 3, np.uint8)


@pytest.fixture
def source(tmp_path: Path, voxels: Voxels) -> Iterator[FileServer]:
    create_array(str(tmp_path / "v"), shape=voxels.shape, chunks=(CHUNK,) * 3, dtype="uint8")[...] = voxels.T
    with FileServer(tmp_path) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, source: FileServer) -> Iterator[Server]:
    layers = {"v": {"source": f"{source.url}v", "voxel_size": [1, 1, 1]}}
    environ = {
        "WKDVID_SOURCES__HTTP_HOSTS": source.host,
        "WKDVID_SOURCES__DEADLINE_S": "2",
        "WKDVID_SOURCES__CACHE_BYTES": "64MiB",
    }
    with running(
        tmp_path / "data", {"zarr": {"lab": {"far": {"uuid": UUID, "layers": layers}}}}, environ=environ
    ) as started:
        yield started


def read_all(server: Server) -> list[tuple[int, bytes]]:
    """Every chunk by a client of its own, all at a time."""

    def read(corner: tuple[int, ...]) -> tuple[int, bytes]:
        answer = server.get(f"/api/node/{UUID}/v/raw/0_1_2/16_16_16/{'_'.join(map(str, corner))}")
        return answer.status_code, answer.content

    with ThreadPoolExecutor(READS) as pool:
        return list(pool.map(read, CORNERS))


def recovers(server: Server, exact: Sequence[tuple[int, bytes]]) -> bool:
    """At once, but for those who join a transfer that has stood still in all its tries."""
    end = time.monotonic() + SETTLE_S
    while read_all(server) != exact:
        if time.monotonic() > end:
            return False
    return True


def measure(server: Server) -> dict[str, int]:
    return {"threads": threads(server), "files": open_files(server), "memory": resident_bytes(server)}


def settled(server: Server, most: Mapping[str, int]) -> dict[str, int]:
    """What is measured when nothing is more than it may be, or when a while has passed."""
    end, found = time.monotonic() + SETTLE_S, measure(server)
    while any(found[name] > most[name] for name in most) and time.monotonic() < end:
        time.sleep(0.1)
        found = measure(server)
    return found


@pytest.mark.parametrize("storms", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_a_silent_source_leaves_nothing_behind(
    server: Server,
    source: FileServer,
    voxels: Voxels,
    storms: int,
) -> None:
    exact = [(200, voxels[x : x + CHUNK, y : y + CHUNK, z : z + CHUNK].tobytes("F")) for x, y, z in CORNERS]
    workers = processes(server)
    assert read_all(server) == exact
    before = measure(server)
    for _ in range(storms):
        assert server.post("/data/triggers/reload/lab/far").status_code == 200
        assert server.get("/data/datasets/lab/far").status_code == 200
        source.fault = on("v/c/*", SILENT)
        assert Counter(status for status, _ in read_all(server)) == {503: READS}
        source.fault = none
        assert recovers(server, exact)
    most = {name: before[name] + slack for name, slack in SLACK.items()}
    after = settled(server, most)
    assert all(after[name] <= most[name] for name in most), (before, after)
    assert processes(server) == workers
    assert complaints(server) == []
    print(f"storms: {storms} of {READS} silent reads; before {before}, after {after}")
