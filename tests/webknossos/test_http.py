"""What HTTP asks of both protocols: HEAD as GET without its body, and refusals that name the limit."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import write_precomputed

LAYER = "/data/datasets/org/ds/layers/v"
NODE = "/api/node/ea51/v"
CUTOUT = f"{LAYER}/data?x=0&y=0&z=0&mag=1&width=300&height=300&depth=300"
BLOCKS = ",".join(["0,0,0"] * 200)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("http")
    write_precomputed(folder / "v", [((1, 1, 1), np.ones((64, 64, 64), np.uint8))])
    datasets = {"precomputed": {"org": {"ds": {"uuid": "ea51", "layers": {"v": {"source": "v"}}}}}}
    with running(folder, datasets, environ={"WKDVID_LIMITS__BODY_BYTES": "100000"}) as started:
        yield started
    assert "Traceback" not in (folder / "server.log").read_text()


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=60)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("path", "length"),
    [
        ("/data/health", "2"),
        ("/api/buildinfo", None),
        ("/data/datasets/org/ds", None),
        (CUTOUT, str(300**3)),
        (f"{NODE}/info", None),
        (f"{NODE}/raw/0_1_2/300_300_300/0_0_0", str(300**3)),
        (f"{NODE}/specificblocks?blocks={BLOCKS}&compression=uncompressed", None),
    ],
)
def test_head_is_get_without_a_body(connection: http.client.HTTPConnection, path: str, length: str | None) -> None:
    """The connection goes on: what follows is the next answer."""
    for _ in range(2):
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        if length is not None:
            assert answer.headers["Content-Length"] == length
    connection.request("GET", "/data/health")
    assert connection.getresponse().read() == b"Ok"


def test_a_body_that_is_too_large_is_refused_by_name(server: Server) -> None:
    over_webknossos = server.post(f"{LAYER}/data", data=bytes(100_001))
    assert over_webknossos.status_code == 413
    assert "100000 bytes (limits.body_bytes)" in over_webknossos.json()["messages"][0]["error"]
    over_dvid = server.post("/api/config/dataset?dataset_name=x", data=bytes(100_001))
    assert over_dvid.status_code == 400
    assert "100000 bytes (limits.body_bytes)" in over_dvid.text


@pytest.mark.parametrize("length", [65_536, 66_000, 81_000, 90_000, 1_000_000])
def test_an_address_that_is_too_long_is_refused(connection: http.client.HTTPConnection, length: int) -> None:
    connection.request("GET", f"{NODE}/specificblocks?blocks=".ljust(length, "0"))
    answer = connection.getresponse()
    assert (answer.status, b"65535" in answer.read()) == (414, True)


def test_the_longest_address_is_answered(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/data/health?x=".ljust(65_535, "0"), headers={"X-More": "y" * 15_000})
    assert connection.getresponse().read() == b"Ok"


def test_headers_that_are_too_long_are_refused(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/data/health", headers={"X-More": "y" * 100_000})
    answer = connection.getresponse()
    assert (answer.status, b"81919 bytes" in answer.read()) == (413, True)
