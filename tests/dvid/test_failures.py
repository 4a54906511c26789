"""A source that fails is never shown as data; what is large is sent in pieces, within the limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import requests

from tests.dvid.shelf import cut, wire_bytes
from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.testing.faulty import FileServer, none, on

UUID = "abcdef01"
SIDE = 256


@pytest.fixture(scope="module")
def voxels() -> Voxels:
    return np.random.default_rng(2).integers(1, 255, (SIDE, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, voxels: Voxels) -> Iterator[FileServer]:
    folder = tmp_path_factory.mktemp("store")
    write_precomputed(folder / "em", [((1, 1, 1), voxels)])
    with FileServer(folder) as store:
        yield store


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, store: FileServer) -> Iterator[Server]:
    layers = {"em": {"source": f"{store.url}em", "compression": "none"}}
    environ = {
        "WKDVID_SOURCES__HTTP_HOSTS": store.host,
        "WKDVID_LIMITS__WORKING_BYTES": "1MiB",
        "WKDVID_LIMITS__RESPONSE_BYTES": "32MiB",
        "WKDVID_LIMITS__BLOCKS": "60",
    }
    entries = {"precomputed": {"lab": {"em": {"uuid": UUID, "layers": layers}}}}
    with running(tmp_path_factory.mktemp("data"), entries, environ=environ) as server:
        yield server


@pytest.fixture
def server(started: Server, store: FileServer) -> Server:
    """With nothing wrong and nothing in the caches."""
    store.fault = none
    assert started.post("/data/triggers/reload/lab/em").status_code == 200
    assert started.get(f"/api/node/{UUID}/em/info").status_code == 200
    return started


def test_a_failed_block_fails_the_request(server: Server, store: FileServer) -> None:
    path = f"/api/node/{UUID}/em"
    store.fault = on("*64-128_0-64_0-64*", 503)
    for request in ("specificblocks?blocks=0,0,0,1,0,0", "subvolblocks/64_64_64/64_0_0", "raw/0_1_2/8_8_8/70_8_8"):
        response = server.get(f"{path}/{request}")
        assert response.status_code == 503, response.content[:100]
        assert response.headers["X-Request-Id"]
    store.fault = none
    assert len(server.get(f"{path}/specificblocks?blocks=0,0,0,1,0,0").content) == 2 * (16 + 64**3)


def test_a_late_failure_breaks_the_connection_off(server: Server, store: FileServer) -> None:
    store.fault = on("*192-256_0-64_0-64*", 503)
    blocks = "0,0,0,1,0,0,2,0,0,3,0,0"  # sent two by two
    for path in (f"specificblocks?blocks={blocks}", "blocks/0_0_0/4"):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            server.get(f"/api/node/{UUID}/em/{path}")
    store.fault = on("*_192-256*", 503)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        server.get(f"/api/node/{UUID}/em/raw/0_1_2/64_64_256/0_0_0")


def test_large_answers_come_in_pieces(server: Server, voxels: Voxels) -> None:
    path = f"/api/node/{UUID}/em"
    box = server.get(f"{path}/raw/0_1_2/250_200_260/-3_5_-2")
    assert box.headers["Content-Length"] == str(250 * 200 * 260)
    assert box.content == wire_bytes(cut(voxels, (-3, 5, -2), (250, 200, 260)))
    span = server.get(f"{path}/blocks/-1_1_1/6").content
    assert span == b"".join(wire_bytes(cut(voxels, (64 * x, 64, 64), (64, 64, 64))) for x in range(-1, 5))
    for _ in range(2):  # cold, then from the cache
        stream = server.get(f"{path}/subvolblocks/256_128_64/0_0_0").content
        assert len(stream) == 8 * (16 + 64**3)
        assert stream[16 : 16 + 64**3] == wire_bytes(voxels[:64, :64, :64])
    outside_first = server.get(f"{path}/subvolblocks/256_64_64/-192_0_0").content
    assert outside_first == stream[: 16 + 64**3]
    head = requests.head(f"{server.base}{path}/raw/0_1_2/250_200_260/0_0_0", timeout=60)
    assert (head.headers["Content-Length"], head.content) == (str(250 * 200 * 260), b"")


def test_limits_are_named_at_once(server: Server) -> None:
    """F27."""
    path = f"/api/node/{UUID}/em"
    refusals = {
        "subvolblocks/256_256_256/0_0_0": "64 blocks in one request, the limit is 60 (limits.blocks)",
        "raw/0_1_2/400_400_400/0_0_0": (
            "Requested payload (64000000 bytes) exceeds this DVID server's set limit (33554432)"
        ),
    }
    for request, text in refusals.items():
        response = server.get(f"{path}/{request}")
        assert (response.status_code, response.text) == (400, f"{text} ({path}/{request}).\n")
