"""A source that fails or dawdles, seen through both protocols: never as data, never cached, never waited for long."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.testing.faulty import DRIPPING, LOGIN_PAGE, SILENT, Answer, FileServer, none, on

SIDE = 256
UUID = "abcdef"
LAYER = "org/far/layers/image"
CHUNKS = "v/1-1-1/*"
RETRIED = "source answers to try again"


def bucket(x: int, y: int, z: int) -> dict[str, object]:
    return {"position": [x, y, z], "mag": [1, 1, 1], "cubeSize": 32}


@pytest.fixture(scope="module")
def voxels() -> Voxels:
    return np.random.default_rng(2).integers(1, 255, (SIDE, SIDE, SIDE), np.uint8)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, voxels: Voxels) -> Iterator[tuple[Server, FileServer]]:
    """A server with a deadline of 2 s and two datasets, one of which lies on a web server."""
    tmp_path = tmp_path_factory.mktemp("far")
    write_precomputed(tmp_path / "files" / "v", [((1, 1, 1), voxels)])
    write_precomputed(tmp_path / "files" / "photo", [((1, 1, 1), voxels[:64, :64, :64])], encoding="jpeg")
    with FileServer(tmp_path / "files") as source:
        layers = {name: {"source": source.url + path} for name, path in (("image", "v"), ("photo", "photo"))}
        near = {"layers": {"photo": {"source": str(tmp_path / "files/photo")}}}
        entries = {"precomputed": {"org": {"far": {"layers": layers, "uuid": UUID}, "near": near}}}
        environ = {
            "WKDVID_SOURCES__HTTP_HOSTS": source.host,
            "WKDVID_SOURCES__FILE_ROOTS": str(tmp_path),
            "WKDVID_SOURCES__DEADLINE_S": "2",
        }
        with running(tmp_path / "data", entries, environ=environ) as server:
            yield server, source


@pytest.fixture
def far(started: tuple[Server, FileServer]) -> tuple[Server, FileServer]:
    """With nothing wrong and nothing in the caches."""
    server, source = started
    source.fault = none
    assert server.post("/data/triggers/reload/org/far").status_code == 200
    assert server.get("/data/datasets/org/far").json()["dataSource"]["dataLayers"]
    source.requests.clear()
    return server, source


def test_failed_buckets_are_named_failed_and_recover(far: tuple[Server, FileServer], voxels: Voxels) -> None:
    """F2."""
    server, source = far
    assert server.buckets(LAYER, bucket(0, 0, 0)).content == voxels[:32, :32, :32].tobytes("F")
    source.fault = on(CHUNKS, 500)
    answer = server.buckets(LAYER, bucket(0, 0, 0), bucket(128, 0, 0), bucket(1024, 0, 0))
    assert answer.status_code == 200
    assert answer.headers["Failure-Bucket-Indices"] == "[1]"
    assert answer.headers["Empty-Bucket-Indices"] == "[2]"
    assert answer.headers["MISSING-BUCKETS"] == "[1, 2]"
    assert answer.content == voxels[:32, :32, :32].tobytes("F")
    source.fault = none
    answer = server.buckets(LAYER, bucket(128, 0, 0))
    assert (answer.headers["MISSING-BUCKETS"], answer.content) == ("[]", voxels[128:160, :32, :32].tobytes("F"))


@pytest.mark.parametrize(("status", "answered"), [(500, 503), (503, 503), (403, 502), (429, 503)])
@pytest.mark.parametrize(
    "path", ["raw/0_1_2/64_64_64/64_64_64", "specificblocks?blocks=1,1,1,2,2,2", "subvolblocks/64_64_64/128_0_0"]
)
def test_dvid_says_that_the_source_failed(
    far: tuple[Server, FileServer], path: str, status: int, answered: int
) -> None:
    """F2, F4, F5."""
    server, source = far
    source.fault = on(CHUNKS, status)
    answer = server.get(f"/api/node/{UUID}/image/{path}")
    assert answer.status_code == answered
    assert len(answer.content) < 1000
    source.fault = none
    assert server.get(f"/api/node/{UUID}/image/{path}").status_code == 200


def test_a_cutout_says_that_the_source_failed(far: tuple[Server, FileServer]) -> None:
    server, source = far
    source.fault = on(CHUNKS, 503)
    answer = server.get(f"/data/datasets/{LAYER}/data?x=0&y=0&z=0&width=32&height=32&depth=32&mag=1")
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")


def test_two_failures_are_tried_again(far: tuple[Server, FileServer], voxels: Voxels) -> None:
    """F1."""
    server, source = far
    source.fault = on(CHUNKS, 503, times=2)
    before = server.get("/api/load").json()[RETRIED]
    answer = server.get(f"/api/node/{UUID}/image/raw/0_1_2/8_8_8/64_64_64")
    assert answer.content == voxels[64:72, 64:72, 64:72].tobytes("F")
    assert server.get("/api/load").json()[RETRIED] == before + 2


def test_a_refusal_is_the_state_of_the_dataset(far: tuple[Server, FileServer], voxels: Voxels) -> None:
    """F5: until it is opened again. What can be read is served."""
    server, source = far
    assert state_of(server) == ("open", None)
    source.fault = on("v/1-1-1/64-128_64-128_64-128", 403)
    answer = server.buckets(LAYER, bucket(64, 64, 64), bucket(0, 0, 0))
    assert answer.headers["MISSING-BUCKETS"] == "[0]"
    assert answer.content == voxels[:32, :32, :32].tobytes("F")
    state, reason = state_of(server)
    assert state == "credentials"
    assert reason is not None
    assert "the source refuses to be read" in reason
    assert 'class="state credentials"' in server.get("/").text
    source.fault = none
    server.post("/data/triggers/reload/org/far")
    assert server.buckets(LAYER, bucket(64, 64, 64)).headers["MISSING-BUCKETS"] == "[]"
    assert state_of(server) == ("open", None)


def state_of(server: Server) -> tuple[str, str | None]:
    (listed,) = (one for one in server.get("/data/datasets").json() if one["name"] == "far")
    return listed["state"], listed.get("reason")


def test_an_absent_chunk_is_the_fill_value(far: tuple[Server, FileServer]) -> None:
    """F7."""
    server, source = far
    source.fault = on("v/1-1-1/64-128_64-128_64-128", 404)
    answer = server.get(f"/api/node/{UUID}/image/raw/0_1_2/64_64_64/64_64_64")
    assert (answer.status_code, answer.content) == (200, bytes(64**3))
    assert server.buckets(LAYER, bucket(64, 64, 64)).headers["Empty-Bucket-Indices"] == "[0]"


@pytest.mark.parametrize("standstill", [SILENT, DRIPPING, Answer(per_byte_s=0.2)], ids=["F10", "F11", "F11 faster"])
def test_a_source_that_stands_still_costs_the_deadline_and_no_more(
    far: tuple[Server, FileServer], standstill: Answer
) -> None:
    """And is left for a second try before the next request's deadline."""
    server, source = far
    source.fault = on(CHUNKS, standstill)
    answer = server.buckets(LAYER, bucket(0, 0, 0), bucket(64, 64, 64))
    assert answer.headers["Failure-Bucket-Indices"] == "[0, 1]"
    source.fault = none
    assert server.buckets(LAYER, bucket(0, 0, 0)).headers["MISSING-BUCKETS"] == "[]"


def test_a_corrupt_chunk_fails_alone(far: tuple[Server, FileServer], voxels: Voxels) -> None:
    """F14."""
    server, source = far
    source.fault = on("v/1-1-1/0-64_0-64_0-64", LOGIN_PAGE)
    answer = server.buckets(LAYER, bucket(0, 0, 0), bucket(64, 0, 0))
    assert answer.headers["Failure-Bucket-Indices"] == "[0]"
    assert answer.content == voxels[64:96, :32, :32].tobytes("F")
    assert server.get(f"/api/node/{UUID}/image/raw/0_1_2/8_8_8/0_0_0").status_code == 502
    assert "html" not in server.get(f"/api/node/{UUID}/image/raw/0_1_2/8_8_8/0_0_0").text


def test_many_reads_have_one_deadline(far: tuple[Server, FileServer]) -> None:
    """F10: these are computed one after the other. A client that waits much longer than the deadline would give up."""
    server, source = far
    source.fault = on(CHUNKS, SILENT)
    wanted = [{"position": [64 * n, 0, 0], "mag": [2, 2, 2], "cubeSize": 32} for n in range(4)]
    wanted += [{"position": [128 * n, 64, 0], "mag": [4, 4, 4], "cubeSize": 32} for n in range(2)]
    answer = requests.post(f"{server.base}/data/datasets/{LAYER}/data", json=wanted, timeout=8)
    assert answer.headers["Failure-Bucket-Indices"] == "[0, 1, 2, 3, 4, 5]"


@pytest.mark.parametrize(
    ("chunk", "request_of"),
    [
        ("v/1-1-1/64-128_0-64_0-64", lambda server: server.buckets(LAYER, bucket(64, 0, 0))),
        ("v/1-1-1/64-128_0-64_0-64", lambda server: server.get(f"/api/node/{UUID}/image_1/raw/0_1_2/32_32_32/32_0_0")),
        (
            "photo/1-1-1/0-64_0-64_0-64",
            lambda server: server.get(f"/api/node/{UUID}/photo/specificblocks?blocks=0,0,0"),
        ),
    ],
    ids=["decoded", "computed", "handed on"],
)
def test_a_hundred_clients_are_one_read(
    far: tuple[Server, FileServer], chunk: str, request_of: Callable[[Server], requests.Response]
) -> None:
    """F29. (What stands still for a second is given up and asked for again, so it does not.)"""
    server, source = far
    source.fault = on(chunk, Answer(delay_s=0.25))
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: request_of(server), range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert source.count(chunk) == 1


def test_a_dataset_that_is_gone_is_unavailable_alone(far: tuple[Server, FileServer]) -> None:
    """F9."""
    server, source = far
    source.fault = on("*/info", 404)
    server.post("/data/triggers/reload/org/far")
    assert server.buckets(LAYER, bucket(0, 0, 0)).status_code == 503
    assert server.get(f"/api/node/{UUID}/image/raw/0_1_2/8_8_8/0_0_0").status_code == 503
    listed = {dataset["name"]: dataset for dataset in server.get("/data/datasets").json()}
    assert (listed["far"]["state"], listed["near"]["state"]) == ("unavailable", "open")
    assert "there is no info file" in listed["far"]["reason"]
    assert server.buckets("org/near/layers/photo", bucket(0, 0, 0)).headers["MISSING-BUCKETS"] == "[]"


@pytest.mark.parametrize("protocol", ["webknossos", "dvid"])
def test_a_client_that_goes_away_stops_the_reading(far: tuple[Server, FileServer], protocol: str) -> None:
    """F28. All 64 chunks would be asked for by the time that the first 32 come."""
    server, source = far
    source.fault = on(CHUNKS, Answer(delay_s=0.75))
    chunks = [(x, y, z) for x in range(4) for y in range(4) for z in range(4)]
    body = json.dumps([bucket(64 * x, 64 * y, 64 * z) for x, y, z in chunks]).encode()
    host, port = server.base.removeprefix("http://").split(":")
    if protocol == "webknossos":
        head = (
            f"POST /data/datasets/{LAYER}/data HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        request = head + body
    else:
        blocks = ",".join(f"{x},{y},{z}" for x, y, z in chunks)
        request = f"GET /api/node/{UUID}/image/specificblocks?blocks={blocks} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request)
        while not source.count(CHUNKS):
            time.sleep(0.01)
    time.sleep(1.75)
    assert source.count(CHUNKS) < 64
    assert server.get("/data/health").text == "Ok"
