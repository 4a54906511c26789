"""64 clients on all front ends while chunks of the source fail, datasets come and go and a worker is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import blosc
import numpy as np
import pytest

from tests.servers import Server, running
from tests.soak.failing_source import CLIENTS, GREY, GROWTH, MIB, SIDE, buckets, count, failing
from tests.soak.processes import complaints, processes, resident_bytes
from tests.webknossos.acceptance import take
from wkdvid.core.entries import DatasetKey, default_uuid
from wkdvid.core.geometry import Vec3
from wkdvid.testing.faulty import FileServer

WORKERS = 2
CHUNK = 64
KEY = DatasetKey("lab", "ds")
NODE = f"/api/node/{default_uuid(KEY)}/em"
FAILED = {502, 503}
"""What a chunk that cannot be read is, wherever an answer has one status for all."""


@dataclass(slots=True)
class Found:
    answers: Counter[str] = field(default_factory=Counter)
    """By front end and outcome."""
    took: list[float] = field(default_factory=list)
    dropped: list[float] = field(default_factory=list)
    """When a connection was lost."""


Ask: TypeAlias = Callable[[aiohttp.ClientSession, random.Random, Found], Awaitable[None]]


def at_random(chosen: random.Random) -> tuple[Vec3, bytes]:
    """Where a chunk begins, and its voxels, x fastest."""
    x, y, z = (CHUNK * chosen.randrange(SIDE // CHUNK) for _ in range(3))
    return (x, y, z), GREY[x : x + CHUNK, y : y + CHUNK, z : z + CHUNK].tobytes("F")


async def whole(
    session: aiohttp.ClientSession, found: Found, name: str, path: str, is_right: Callable[[bytes], bool]
) -> None:
    async with session.get(path) as answer:
        body = await answer.read()
    if answer.status in FAILED:
        found.answers[f"{name} failed"] += 1
        return
    assert answer.status == 200, (path, answer.status, body[:200])
    assert is_right(body), path
    found.answers[name] += 1


async def webknossos(session: aiohttp.ClientSession, chosen: random.Random, found: Found) -> None:
    wanted = buckets(chosen)
    async with session.post("/data/datasets/lab/ds/layers/em/data", json=wanted) as answer:
        body = await answer.read()
    assert answer.status == 200, body[:200]
    counted: Counter[str] = Counter()
    count(counted, wanted, take(wanted, answer.headers, body, 1, packs=True))
    found.answers.update({f"bucket {outcome}": number for outcome, number in counted.items()})


async def dvid(session: aiohttp.ClientSession, chosen: random.Random, found: Found) -> None:
    (x, y, z), voxels = at_random(chosen)
    await whole(session, found, "dvid", f"{NODE}/raw/0_1_2/64_64_64/{x}_{y}_{z}", voxels.__eq__)


async def precomputed(session: aiohttp.ClientSession, chosen: random.Random, found: Found) -> None:
    start, voxels = at_random(chosen)
    name = "_".join(f"{a}-{a + CHUNK}" for a in start)
    await whole(session, found, "precomputed", f"/precomputed/lab/ds/em/1/{name}", voxels.__eq__)


async def zarr(session: aiohttp.ClientSession, chosen: random.Random, found: Found) -> None:
    (x, y, z), voxels = at_random(chosen)
    path = f"/zarr/lab/ds/em/1/c/{z // CHUNK}/{y // CHUNK}/{x // CHUNK}"
    await whole(session, found, "zarr", path, lambda body: blosc.decompress(body) == voxels)


async def page(session: aiohttp.ClientSession, chosen: random.Random, found: Found) -> None:
    (x, y, z), _ = at_random(chosen)
    path = chosen.choice(["/", f"/datasets/lab/ds?x={x}&y={y}&z={z}", f"/datasets/lab/ds/layers/em/slices/xy?at={z}"])
    await whole(session, found, "page", path, lambda body: body[:1] in b"<\xff\x89")


ASKS: tuple[Ask, ...] = (webknossos, webknossos, dvid, precomputed, zarr, page)


async def client(session: aiohttp.ClientSession, seed: int, until: float, found: Found) -> None:
    chosen = random.Random(seed)
    while time.monotonic() < until:
        begin = time.monotonic()
        try:
            await chosen.choice(ASKS)(session, chosen, found)
        except aiohttp.ClientConnectionError:
            found.dropped.append(time.monotonic())
        else:
            found.took.append(time.monotonic() - begin)


async def register(session: aiohttp.ClientSession, url: str, until: float, found: Found) -> None:
    """Adds and removes datasets; each is there once it is acknowledged, and then gone."""
    number = 0
    while time.monotonic() < until:
        number += 1
        entry = {"precomputed": {"lab": {f"t{number}": {"layers": {"em": {"source": url}}}}}}
        path = f"/data/datasets/lab/t{number}"
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.post("/data/datasets", json=entry) as answer:
                assert answer.status == 200, await answer.text()
            async with session.get(path) as answer:
                assert answer.status == 200
            async with session.delete(path) as answer:
                assert answer.status == 200
            async with session.get(path) as answer:
                assert answer.status == 404
            found.answers["datasets come and gone"] += 1


async def load(server: Server, url: str, seconds: float) -> Found:
    found, until = Found(), time.monotonic() + seconds
    timeout, connector = aiohttp.ClientTimeout(60), aiohttp.TCPConnector(limit=CLIENTS + 1)
    async with aiohttp.ClientSession(server.base, connector=connector, timeout=timeout) as session:
        clients = (client(session, seed, until, found) for seed in range(CLIENTS))
        await asyncio.gather(register(session, url, until, found), *clients)
    return found


def kill_a_worker(server: Server, after_s: float) -> float:
    """When."""
    time.sleep(after_s)
    before = processes(server)
    os.kill(max(before - {server.process.pid}), signal.SIGKILL)
    killed = time.monotonic()
    while len(processes(server)) < len(before):
        time.sleep(0.05)
    return killed


@pytest.fixture
def server(tmp_path: Path, far: FileServer) -> Iterator[Server]:
    environ = {"WKDVID_SOURCES__HTTP_HOSTS": far.host, "WKDVID_SOURCES__CACHE_BYTES": "16MiB"}
    datasets: dict[str, Any] = {"precomputed": {"lab": {"ds": {"layers": {"em": {"source": f"{far.url}em"}}}}}}
    with running(tmp_path / "data", datasets, workers=WORKERS, environ=environ) as started:
        yield started


@pytest.mark.parametrize(
    ("seconds", "share"),
    [pytest.param(2, 0.3, id="short"), pytest.param(300, 0.01, id="long", marks=pytest.mark.soak)],
)
async def test_nothing_wrong_is_ever_shown(server: Server, far: FileServer, seconds: float, share: float) -> None:
    """In the short form more fails, so that enough does."""
    far.fault, url = failing(share), f"{far.url}em"
    await load(server, url, max(seconds / 10, 1))
    before = resident_bytes(server)
    found, killed = await asyncio.gather(
        load(server, url, seconds), asyncio.to_thread(kill_a_worker, server, seconds / 2)
    )
    after = resident_bytes(server)
    for ask in ("dvid", "precomputed", "zarr", "page", "bucket voxels", "datasets come and gone"):
        assert found.answers[ask] > 0, found.answers
    assert sum(number for outcome, number in found.answers.items() if outcome.endswith("failed")) > 0
    assert len(found.dropped) <= CLIENTS
    assert all(0 <= when - killed < 5 for when in found.dropped)
    assert after - before < WORKERS * GROWTH, (before, after)
    assert [line for line in complaints(server) if "another one takes its place" not in line] == []
    p50, p99 = (1e3 * float(q) for q in np.quantile(found.took, (0.5, 0.99)))
    print(f"all front ends: {len(found.took)} requests in {seconds} s, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    print(f"{dict(found.answers)}; {len(found.dropped)} connections lost with the worker that was killed")
    print(f"resident before {before / MIB:.0f} MiB, after {after / MIB:.0f} MiB")
