"""64 clients ask for buckets of all kinds while some chunks of the source fail: never a wrong voxel."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests.servers import Server, running
from tests.soak.processes import complaints, processes, resident_bytes
from tests.volumes import write_precomputed
from tests.webknossos.acceptance import Taken, take
from wkdvid.core.geometry import Vec3
from wkdvid.testing.faulty import Fault, FileServer

CLIENTS = 64
SECONDS = 60
SIDE = 384
MIB = 1 << 20
GROWTH = 96 * MIB
"""What the allocator may keep; the caches are full before."""
UNKNOWN: Vec3 = (3, 3, 3)
GREY = np.random.default_rng(8).integers(1, 255, (SIDE, SIDE, SIDE), np.uint8)
LEVELS = {(1, 1, 1): GREY, (2, 2, 2): np.asfortranarray(GREY[::2, ::2, ::2])}


def failing(share: float) -> Fault:
    """Chunks, chosen anew each second, so that trying again at once does not help."""

    def fault(path: str) -> int | None:
        chosen = random.Random(f"{int(time.monotonic())} {path}").random() < share
        return 500 if chosen and path.count("_") == 2 else None

    return fault


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FileServer]:
    write_precomputed(tmp_path / "em", list(LEVELS.items()))
    with FileServer(tmp_path) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, far: FileServer) -> Iterator[Server]:
    environ = {"WKDVID_SOURCES__HTTP_HOSTS": far.host, "WKDVID_SOURCES__CACHE_BYTES": "4MiB"}
    datasets = {"precomputed": {"lab": {"ds": {"layers": {"em": {"source": f"{far.url}em"}}}}}}
    with running(tmp_path / "data", datasets, environ=environ) as started:
        yield started


def buckets(chosen: random.Random) -> list[dict[str, Any]]:
    mags = [*LEVELS, UNKNOWN]
    wanted = []
    for _ in range(chosen.choice((1, 1, 4, 16, 32))):
        (mag,) = chosen.choices(mags, (10, 10, 1))
        index = [chosen.randrange(-1, SIDE // mag[0] // 32 + 1) for _ in range(3)]
        position = [32 * m * i for m, i in zip(mag, index, strict=True)]
        wanted.append({"position": position, "mag": mag, "cubeSize": 32, "fourBit": chosen.random() < 0.2})
    return wanted


@cache
def expected(position: Vec3, mag: Vec3, four_bit: bool) -> Taken:
    voxels = LEVELS.get(mag)
    start = [p // m for p, m in zip(position, mag, strict=True)]
    if voxels is None or min(start) < 0 or max(start) >= voxels.shape[0]:
        return "empty"
    x, y, z = (slice(a, a + 32) for a in start)
    part = voxels[x, y, z]
    return (part & 0xF0 if four_bit else part).tobytes("F")


async def client(
    session: aiohttp.ClientSession, url: str, seed: int, until: float, found: Counter[str], took: list[float]
) -> None:
    """Asks until the time has come, and checks every answer as the browser would."""
    chosen = random.Random(seed)
    while time.monotonic() < until:
        wanted = buckets(chosen)
        begin = time.monotonic()
        async with session.post(url, json=wanted) as answer:
            body = await answer.read()
        took.append(time.monotonic() - begin)
        assert answer.status == 200, body[:200]
        count(found, wanted, take(wanted, answer.headers, body, 1, packs=True))


def count(found: Counter[str], wanted: Sequence[dict[str, Any]], taken: Sequence[Taken]) -> None:
    for bucket, one in zip(wanted, taken, strict=True):
        should = expected(tuple(bucket["position"]), bucket["mag"], bucket["fourBit"])
        assert one == should or (one == "failed" and should != "empty"), (bucket, one if one == "empty" else "voxels")
        found[one if isinstance(one, str) else "voxels"] += 1


async def load(server: Server, seconds: float) -> tuple[Counter[str], list[float]]:
    """What came of the buckets, and the seconds that each request took."""
    url = f"{server.base}/data/datasets/lab/ds/layers/em/data"
    found: Counter[str] = Counter()
    took: list[float] = []
    until = time.monotonic() + seconds
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:
        await asyncio.gather(*(client(session, url, i, until, found, took) for i in range(CLIENTS)))
    return found, took


@pytest.mark.soak
async def test_no_wrong_voxel_under_load(server: Server, far: FileServer) -> None:
    """The short form is part of test_everything.py."""
    far.fault = failing(0.01)
    workers = processes(server)
    await load(server, SECONDS / 6)
    before = resident_bytes(server)
    found, took = await load(server, SECONDS)
    after = resident_bytes(server)
    assert found["voxels"] > found["failed"] > 0, found
    assert found["empty"] > 0
    assert after - before < GROWTH, (before, after)
    assert processes(server) == workers
    assert complaints(server) == []
    p50, p99 = (1e3 * float(q) for q in np.quantile(took, (0.5, 0.99)))
    print(f"load: {CLIENTS} clients, {len(took)} requests in {SECONDS} s, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    print(f"buckets: {dict(found)}; resident before {before / MIB:.0f} MiB, after {after / MIB:.0f} MiB")
