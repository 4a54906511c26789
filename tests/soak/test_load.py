"""64 clients ask for buckets of all kinds while some chunks of the source fail: never a wrong voxel."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from tests.servers import Server, running
from tests.soak.failing_source import CLIENTS, GROWTH, MIB, buckets, count, failing
from tests.soak.processes import complaints, processes, resident_bytes
from tests.webknossos.acceptance import take
from wkdvid.testing.faulty import FileServer

SECONDS = 60


@pytest.fixture
def server(tmp_path: Path, far: FileServer) -> Iterator[Server]:
    environ = {"WKDVID_SOURCES__HTTP_HOSTS": far.host, "WKDVID_SOURCES__CACHE_BYTES": "4MiB"}
    datasets = {"precomputed": {"lab": {"ds": {"layers": {"em": {"source": f"{far.url}em"}}}}}}
    with running(tmp_path / "data", datasets, environ=environ) as started:
        yield started


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
