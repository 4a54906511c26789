"""Requests at random: each is answered, none by a failure of ours, and the workers outlive them all."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import Server, running
from tests.soak.processes import complaints, processes
from tests.soak.requests_at_random import SAMPLE, request_at_random
from wkdvid.sample import write_sample

CONNECTIONS = 2
LIMITS = {
    "WKDVID_LIMITS__RESPONSE_BYTES": "4MiB",
    "WKDVID_LIMITS__WORKING_BYTES": "1MiB",
    "WKDVID_LIMITS__BLOCKS": "64",
    "WKDVID_SOURCES__CACHE_BYTES": "64MiB",
}
"""So small that sending what is allowed takes no time."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_sample(tmp_path / "sample", 72)
    with running(tmp_path, SAMPLE, workers=2, environ=LIMITS) as started:
        assert all(dataset["state"] == "open" for dataset in started.get("/data/datasets").json())
        yield started


class Client:
    """One connection for as long as the server keeps it; the bytes of a request are the caller's."""

    def __init__(self, base: str) -> None:
        self._address = (urlsplit(base).hostname, urlsplit(base).port)
        self._connection: socket.socket | None = None

    def ask(self, method: str, request: bytes) -> tuple[int, bytes]:
        fresh = self._connection is None
        try:
            return self._ask(method, request)
        except (http.client.RemoteDisconnected, ConnectionError):
            self.close()
            if fresh:
                raise
            return self._ask(method, request)  # it was kept for a while, and closed as this request came

    def _ask(self, method: str, request: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = socket.create_connection(self._address, timeout=60)
        self._connection.sendall(request)
        with http.client.HTTPResponse(self._connection, method=method) as answer:
            answer.begin()
            body = answer.read()
            if answer.will_close:
                self.close()
            return answer.status, body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def statuses(server: Server, seeds: range) -> Counter[int]:
    """Send the requests of these seeds one after the other."""
    counts: Counter[int] = Counter()
    with contextlib.closing(Client(server.base)) as client:
        for seed in seeds:
            method, request = request_at_random(seed)
            try:
                status, body = client.ask(method, request)
            except (http.client.HTTPException, OSError) as error:
                raise AssertionError(f"case {seed} is not answered: {request!r}") from error
            assert status < 500 or status == HTTPStatus.NOT_IMPLEMENTED, (seed, request, status, body[:500])
            assert b"Traceback" not in body, (seed, request)
            counts[status] += 1
    return counts


@pytest.mark.parametrize("cases", [3_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_no_request_is_answered_by_a_failure_of_ours(server: Server, cases: int) -> None:
    before = processes(server)
    each = cases // CONNECTIONS
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = pool.map(lambda n: statuses(server, range(n * each, (n + 1) * each)), range(CONNECTIONS))
        counts = sum(parts, Counter())
    assert counts.total() == cases
    assert {200, 400, 404} <= counts.keys()
    assert complaints(server) == []
    assert processes(server) == before
    assert server.get("/data/health").text == "Ok"
    print(f"fuzzing: {cases} cases,", ", ".join(f"{count} x {status}" for status, count in sorted(counts.items())))
