"""Clients that go away in the middle: what was held for them is let go, and the log has nothing to say of it."""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import Server, come_to, running
from tests.soak.processes import complaints, open_files, processes, resident_bytes
from wkdvid.sample import write_sample

CLIENTS = 8
SETTLE_S = 30.0
RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER`` of no time: closing resets the connection."""
MIB = 1 << 20
SLACK_FILES = 4
"""Of two workers, each of which opens some when it first needs them; the clients that leave are hundreds."""
SLACK_BYTES = 96 * MIB
"""Two workers' worth of what the allocator keeps of bodies that it has freed."""
SETTINGS = {"WKDVID_SOURCES__CACHE_BYTES": "64MiB", "WKDVID_LIMITS__WORKING_BYTES": "4MiB"}
LAYERS = {name: {"source": f"sample/n5/{name}"} for name in ("grey", "segmentation")}
DATASETS = {"n5": {"sample": {"n5": {"layers": LAYERS, "uuid": "abcdef"}}}}
BUCKETS = [
    {"position": [32 * x, 32 * y, 32 * z], "mag": [1, 1, 1], "cubeSize": 32}
    for x in range(4)
    for y in range(4)
    for z in range(3)
]
BLOCKS = ",".join(f"{x},{y},{z}" for x in range(2) for y in range(2) for z in range(2))
PATHS = (
    "/api/node/abcdef/grey/raw/0_1_2/128_128_100/0_0_0",
    "/api/node/abcdef/segmentation/raw/0_1_2/256_256_200/-8_-8_-8",
    "/api/node/abcdef/segmentation/blocks/128_128_64/0_0_0",
    f"/api/node/abcdef/segmentation/specificblocks?blocks={BLOCKS}",
    "/data/datasets/sample/n5/layers/segmentation/data",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_sample(tmp_path / "sample", 128)
    with running(tmp_path, DATASETS, workers=2, environ=SETTINGS) as started:
        come_to(lambda: 'wkdvid_datasets{state="open"} 2.0' in started.get("/metrics").text)  # one in either worker
        yield started


def request(path: str) -> bytes:
    body = json.dumps(BUCKETS).encode() if path.startswith("/data/") else b""
    method = "POST" if body else "GET"
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def ask_and_go(server: Server, dice: random.Random) -> str:
    """Send one request, wait for none or some of the answer, and leave politely or not."""
    address = urlsplit(server.base)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        whole = request(dice.choice(PATHS))
        sent = whole if dice.random() < 0.9 else whole[: dice.randrange(len(whole))]
        connection.sendall(sent)
        if dice.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        time.sleep(dice.choice((0, 0, 0.001, 0.01, 0.05)))
        if sent == whole and dice.random() < 0.5:
            connection.recv(dice.choice((1, 1000, 100_000)))
            return "within the answer"
        return "before the answer" if sent == whole else "within the request"


def load(server: Server, seconds: float) -> Counter[str]:
    end = time.monotonic() + seconds

    def client(seed: int) -> Counter[str]:
        dice, counts = random.Random(seed), Counter[str]()
        while time.monotonic() < end:
            counts[ask_and_go(server, dice)] += 1
        return counts

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(client, range(CLIENTS)), Counter[str]())


def fewest_files(server: Server, seconds: float, enough: int = 0) -> int:
    """The fewest files that are open within a while; not waited for longer than until ``enough`` or fewer are."""
    end, fewest = time.monotonic() + seconds, open_files(server)
    while fewest > enough and time.monotonic() < end:
        time.sleep(0.1)
        fewest = min(fewest, open_files(server))
    return fewest


@pytest.mark.parametrize("seconds", [2.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_what_is_held_for_clients_that_left_is_let_go(server: Server, seconds: float) -> None:
    workers = processes(server)
    load(server, seconds / 2)  # fills the caches and the allocator's reserve
    files = fewest_files(server, 2.0)
    before = resident_bytes(server)

    left = load(server, seconds)

    assert fewest_files(server, SETTLE_S, files + SLACK_FILES) <= files + SLACK_FILES
    after = resident_bytes(server)
    assert after <= before + SLACK_BYTES
    assert processes(server) == workers
    assert complaints(server) == []
    assert server.get("/data/health").text == "Ok"
    when = ", ".join(f"{count} {moment}" for moment, count in sorted(left.items()))
    memory = f"memory {before // MIB} -> {after // MIB} MiB"
    print(f"breaking off: {left.total()} clients left ({when}); {files} open files, {memory}")
