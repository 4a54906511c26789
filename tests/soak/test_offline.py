"""Two workers over one small cache on disk, whose source comes and goes, and which are killed: no wrong byte."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.servers import Server, running
from tests.soak.processes import complaints
from tests.volumes import Voxels, write_precomputed
from wkdvid.testing.faulty import FileServer, Instead

READERS = 8
SECONDS = 40.0
SIDE = 384
"""54 MiB, in a cache of 32."""
KILLS_S = 7.0
LAYER = "org/far/layers/image"
LIMIT = 32 << 20


def comes_and_goes(path: str) -> Instead | None:
    """Six seconds there, two seconds not."""
    return 500 if int(time.monotonic()) % 8 >= 6 else None


def first_worker(server: Server) -> int | None:
    number = server.process.pid
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    found = (int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes())
    return next(found, None)


@pytest.mark.soak
def test_no_wrong_byte(tmp_path: Path) -> None:
    voxels: Voxels = np.random.default_rng(4).integers(1, 255, (SIDE, SIDE, SIDE), np.uint8)
    write_precomputed(tmp_path / "files/v", [((1, 1, 1), voxels)])
    counts = dict.fromkeys(("right", "missing", "broken off", "kills"), 0)
    with FileServer(tmp_path / "files") as source:
        source.tags = True
        layers = {"image": {"source": f"{source.url}v", "type": "image"}}
        environ = {
            "WKDVID_SOURCES__HTTP_HOSTS": source.host,
            "WKDVID_SOURCES__DISK_CACHE_PATH": str(tmp_path / "kept"),
            "WKDVID_SOURCES__DISK_CACHE_BYTES": str(LIMIT),
            "WKDVID_SOURCES__CACHE_BYTES": "4 MiB",
            "WKDVID_SOURCES__REFRESH_S": "1",
            "WKDVID_SOURCES__DEADLINE_S": "4",
        }
        entries = {"precomputed": {"org": {"far": {"layers": layers}}}}
        with running(tmp_path / "data", entries, workers=2, environ=environ) as server:
            read_until(server, voxels, time.monotonic() + 5, READERS)  # so that it is known what there is
            source.fault = comes_and_goes
            end = time.monotonic() + SECONDS
            killer = threading.Thread(target=kill, args=(server, end, counts))
            killer.start()
            with ThreadPoolExecutor(READERS) as pool:
                for read in pool.map(lambda seed: read_until(server, voxels, end, seed), range(READERS)):
                    for name, count in read.items():
                        counts[name] += count
            killer.join()
            taken = sum(file.stat().st_size for file in (tmp_path / "kept").iterdir())
            said = [line for line in complaints(server) if "status -9" not in line]
    assert counts["right"] > counts["missing"] > 0
    assert counts["kills"] > 0
    assert taken <= LIMIT
    assert [line for line in said if "Traceback" in line or "broken" in line] == []
    print(f"offline: {counts}, {taken >> 20} MiB kept")


def kill(server: Server, end: float, counts: dict[str, int]) -> None:
    while time.monotonic() < end - KILLS_S:
        time.sleep(KILLS_S)
        worker = first_worker(server)
        if worker is not None:
            os.kill(worker, signal.SIGKILL)
            counts["kills"] += 1


def read_until(server: Server, voxels: Voxels, end: float, seed: int) -> dict[str, int]:
    """Buckets at random: each is as it was written, or said to be missing."""
    chosen, counts = random.Random(seed), {"right": 0, "missing": 0, "broken off": 0}
    for _ in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
        x, y, z = (32 * chosen.randrange(SIDE // 32) for _ in range(3))
        try:
            answer = server.buckets(LAYER, {"position": [x, y, z], "mag": [1, 1, 1], "cubeSize": 32})
        except requests.ConnectionError:
            counts["broken off"] += 1
            continue
        if answer.status_code == 503 or answer.headers["MISSING-BUCKETS"] != "[]":
            counts["missing"] += 1
            continue
        assert answer.content == voxels[x : x + 32, y : y + 32, z : z + 32].tobytes("F")
        counts["right"] += 1
    return counts
