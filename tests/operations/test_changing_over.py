"""A server under load that is given another configuration, a broken one, and then told to stop: no request fails."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests.cli.test_serve import Started, serving
from tests.servers import come_to
from tests.volumes import write_precomputed
from wkdvid.testing.faulty import Answer, FileServer, on

WITHIN_S = 60.0
MADE = "Administrators' token for this run"
PATHS = ("/data/health", "/data/datasets", "/health/live", "/")


@dataclass
class Client:
    """Asks again and again on one connection, and opens another one only where an answer has closed it."""

    base: str
    path: str
    statuses: list[int] = field(default_factory=list)
    failure: Exception | None = None
    stopped: bool = False

    def run(self) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=WITHIN_S)
        try:
            while not self.stopped:
                connection.request("GET", self.path)
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
                if answer.will_close:
                    connection.close()
                time.sleep(0.05)
        except (OSError, http.client.HTTPException) as error:
            self.failure = error
        finally:
            connection.close()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FileServer]:
    write_precomputed(tmp_path / "far" / "v", [((1, 1, 1), np.full((64, 64, 64), 5, np.uint8))])
    with FileServer(tmp_path / "far") as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, far: FileServer) -> Iterator[Started]:
    write(tmp_path, "")
    entry = {"layers": {"em": {"source": f"{far.url}v", "type": "image"}}}
    arguments = ("--config", "wkdvid.toml", "--workers", "1", "--data-dir", "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "datasets.json").write_text(json.dumps({"precomputed": {"lab": {"em": entry}}}))
    with serving(tmp_path, *arguments, WKDVID_SOURCES__HTTP_HOSTS=far.host) as one:
        yield one


def write(folder: Path, text: str) -> None:
    (folder / "wkdvid.toml").write_text(f"[server]\nshutdownDelay = 3\n{text}")


def renew(server: Started, config: str, said: str, times: int = 1) -> None:
    """Have the configuration read again, until the log says something, so many times in all."""
    write(server.folder, config)
    server.process.send_signal(signal.SIGHUP)
    come_to(lambda: server.log.count(said) == times)


@pytest.mark.parametrize(
    ("number", "times"), [(1, 1), pytest.param(8, 8, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_no_request_fails_while_it_changes_over_and_stops(
    server: Started, far: FileServer, number: int, times: int
) -> None:
    clients = [Client(server.base, path) for path in PATHS * number]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    in_flight: list[bytes] = []
    try:
        renew(server, "[limits]\nbuckets = 1\nbukets = 2\n", "did you mean 'limits.buckets'?")
        renew(server, "[datasets]\npath = 'elsewhere.json'\n", "datasets.path: cannot change while the server runs")
        assert server.log.count("the configuration stays as it was") == 2
        assert status_of_jobs(server) == 200
        write(server.folder, "[access]\nmode = 'token'\n")
        server.process.send_signal(signal.SIGHUP)  # and once more while its workers begin
        come_to(lambda: MADE in server.output)
        for time_of in range(1, times + 1):
            renew(server, "[access]\nmode = 'token'\n", "the new configuration is in use, by 1 workers", time_of)
        come_to(lambda: status_of_jobs(server) == 401)
        ready = requests.get(server.base + "/health/ready", timeout=WITHIN_S)
        assert ready.status_code == 200
        late = threading.Thread(target=lambda: in_flight.append(voxels(server)))
        far.fault = on("v/1-1-1/*", Answer(delay_s=5))
        late.start()
        come_to(lambda: any(asked.path.startswith("v/1-1-1/") for asked in far.requests))
        server.process.terminate()
        told_not_ready(server)
        assert [client.failure for client in clients] == [None] * len(clients)
        assert server.output.count(MADE) == 1, "a token that was made holds as long as the server runs"
    finally:
        for client in clients:
            client.stopped = True
        for thread in threads:
            thread.join()
    assert server.process.wait(WITHIN_S) == 0
    late.join()
    assert in_flight == [bytes([5]) * 32**3]  # asked for before SIGTERM, there long after nothing more was accepted
    assert {status for client in clients for status in client.statuses} == {200}
    assert min(len(client.statuses) for client in clients) > 10


def voxels(server: Started) -> bytes:
    bucket = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
    url = f"{server.base}/data/datasets/lab/em/layers/em/data"
    return requests.post(url, json=[bucket], timeout=WITHIN_S).content


def status_of_jobs(server: Started) -> int:
    """200 where anybody may do everything, 401 in mode token."""
    return requests.get(server.base + "/api/jobs", timeout=WITHIN_S).status_code


def told_not_ready(server: Started) -> None:
    answer = requests.get(server.base + "/health/ready", timeout=WITHIN_S)
    while answer.status_code == 200:
        answer = requests.get(server.base + "/health/ready", timeout=WITHIN_S)
    assert answer.json()["draining"] is True
    assert answer.headers["connection"] == "close"
