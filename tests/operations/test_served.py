"""A running server, as those see it who operate it: probes, metrics, who may read them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.operations.collector import Collector
from tests.servers import Server, come_to, running
from tests.volumes import write_precomputed
from wkdvid.testing.faulty import Answer, FileServer, none, on

BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
TOKEN = "administrator's-secret"
SHOWN = {"X-Auth-Token": TOKEN}
BUCKETS = "/data/datasets/<organization>/<name>/layers/<layer>/data"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    folder = tmp_path_factory.mktemp("far")
    write_precomputed(folder / "v", [((1, 1, 1), np.full((128, 64, 64), 5, np.uint8))])
    with FileServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, far: FileServer, collector: Collector) -> Iterator[Server]:
    entry = {"layers": {"image": {"source": f"{far.url}v", "type": "image"}}}
    environ = {
        "WKDVID_ACCESS__MODE": "token",
        "WKDVID_ADMIN_TOKEN": TOKEN,
        "WKDVID_LOG__ACCESS": "all",
        "WKDVID_LOG__FORMAT": "auto",
        "WKDVID_LOG__SLOW_S": "0.5",
        "WKDVID_SOURCES__HTTP_HOSTS": far.host,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20for-the-collector",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    with running(tmp_path_factory.mktemp("data"), {"precomputed": {"lab": {"em": entry}}}, environ=environ) as one:
        yield one


def counted(server: Server) -> dict[tuple[str, ...], float]:
    """Samples by name and labels, these in alphabetical order."""
    families = text_string_to_metric_families(server.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return {(one.name, *(value for _, value in sorted(one.labels.items()))): one.value for one in samples}


def test_probes_need_no_token(server: Server) -> None:
    assert (server.get("/health/live").status_code, server.get("/health/live").text) == (200, "ok\n")
    ready = server.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "catalog": True, "database": True, "draining": False}
    assert requests.head(server.base + "/health/ready", timeout=10).status_code == 200


def test_requests_are_counted_by_their_routes(server: Server) -> None:
    before = counted(server)
    for _ in range(3):
        assert len(server.buckets("lab/em/layers/image", BUCKET).content) == 32**3
    server.get("/data/datasets/lab/none")
    after = counted(server)

    def more(*key: str) -> float:
        return after[key] - before.get(key, 0)

    assert more("wkdvid_requests_total", "POST", BUCKETS, "200") == 3
    assert more("wkdvid_sent_bytes_total", "POST", BUCKETS) == 3 * 32**3
    assert more("wkdvid_request_seconds_count", "POST", BUCKETS) == 3
    assert more("wkdvid_request_seconds_bucket", "+Inf", "POST", BUCKETS) == 3
    assert more("wkdvid_requests_total", "GET", "/data/datasets/<organization>/<name>", "404") == 1
    assert more("wkdvid_body_cache_hits_total") >= 2
    assert after[("wkdvid_workers",)] == 1
    assert after["wkdvid_jobs", "running"] == 0


def test_what_clients_make_up_adds_no_series(server: Server) -> None:
    """Paths, methods, endpoints and what nobody can parse."""
    for i in range(3):
        server.get(f"/made/up/{i}")
        server.get(f"/api/node/00{i}/made/up{i}/{i}")
        requests.request(f"MADE{i}", server.base + "/", timeout=10)
    with socket.create_connection(("127.0.0.1", urlsplit(server.base).port)) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    seen = counted(server)
    routes = {key[2] for key in seen if key[0] == "wkdvid_requests_total"}
    assert not [route for route in routes if "made" in route or re.search(r"up\d", route)]
    assert seen["wkdvid_requests_total", "GET", "/api/node/<uuid>/<name>/<endpoint>/<part0>", "400"] >= 3
    assert seen["wkdvid_requests_total", "other", "none", "405"] >= 3
    assert seen["wkdvid_requests_total", "other", "none", "400"] >= 1


def test_what_is_read_from_sources_is_counted(server: Server, far: FileServer) -> None:
    def driver(name: str) -> float:
        return counted(server).get((f"wkdvid_driver_{name}", "http"), 0)

    server.buckets("lab/em/layers/image", BUCKET)
    come_to(lambda: driver("reads_total") >= 1 and driver("read_bytes_total") >= 64**3)
    assert counted(server)["wkdvid_driver_responses_total", "200"] >= 1
    come_to(lambda: counted(server)[("wkdvid_open_volumes",)] == 1)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "203.0.113.9"}, 401),
        ({"Host": "em.example.org"}, 401),
        ({"X-Forwarded-For": "203.0.113.9", "X-Auth-Token": "wrong"}, 403),
        ({"X-Forwarded-For": "203.0.113.9", **SHOWN}, 200),
    ],
)
def test_metrics_are_for_this_machine_and_administrators(server: Server, headers: dict[str, str], status: int) -> None:
    answer = server.get("/metrics", headers=headers)
    assert answer.status_code == status
    assert ("wkdvid_requests_total" in answer.text) == (status == 200)
    assert (status == 200) != ("Access-Control-Allow-Origin" in answer.headers)


def test_openmetrics_for_those_who_ask_for_it(server: Server) -> None:
    answer = server.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("given", ["trace-1:from/a.proxy", None, "with a space", "x" * 200])
def test_every_answer_names_its_request(server: Server, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    for path in ("/health/live", "/nothing", "/data/datasets/lab/none", "/api/node/0/x/info"):
        answer = server.get(path, headers=headers)
        told = answer.headers["x-request-id"]
        assert (told == given) == (given == "trace-1:from/a.proxy")
        assert re.fullmatch(r"[\w.:/-]{1,128}", told)
        if "requestId" in answer.text:
            assert answer.json()["requestId"] == told


@pytest.mark.parametrize("path", ["/data/health", "/data/datasets", "/docs", "/static/none"])
def test_an_answer_is_the_same_however_it_is_sent(server: Server, path: str) -> None:
    """Plain ones go out in one step: on a connection that stays open, of another method than HEAD, to who waits."""

    def ask(method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        sent = {**SHOWN, "X-Request-ID": "one", **headers}
        answer = requests.request(method, server.base + path, headers=sent, timeout=60)
        told = {name.lower(): value for name, value in answer.headers.items()}
        told.pop("alt-svc", None)  # Sanic's is empty
        return answer.status_code, told, answer.content

    status, told, body = ask()
    assert int(told["content-length"]) == len(body) > 0
    assert told["connection"] == "keep-alive"
    assert ask(Expect="100-continue") == (status, told, body)
    assert ask(Connection="close") == (status, {**told, "connection": "close"}, body)
    assert ask("HEAD")[2] == b""


def lines(server: Server, request_id: str) -> list[dict[str, Any]]:
    """Of the log, those of one request."""
    text = (server.data_dir / "server.log").read_text()
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("request") == request_id]


def test_what_is_no_terminal_gets_json_with_a_line_for_each_request(server: Server) -> None:
    answer = server.get("/data/datasets/lab/em", headers=SHOWN, params={"token": TOKEN})
    come_to(lambda: len(lines(server, answer.headers["x-request-id"])) == 1)  # the line follows the answer
    (line,) = lines(server, answer.headers["x-request-id"])
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert 0 < line.pop("seconds") < 60
    assert line.pop("message").startswith("GET /data/datasets/<organization>/<name>: 200, ")
    assert line == {
        "level": "info",
        "logger": "wkdvid.access",
        "request": answer.headers["x-request-id"],
        "method": "GET",
        "route": "/data/datasets/<organization>/<name>",
        "status": 200,
        "bytes": len(answer.content),
        "client": "127.0.0.1",
    }
    assert TOKEN not in (server.data_dir / "server.log").read_text()


def test_a_slow_request_and_a_failed_one_have_their_lines(server: Server, far: FileServer) -> None:
    far.fault = on("v/1-1-1/64*", Answer(delay_s=1, status=403))
    try:
        answer = server.buckets("lab/em/layers/image", {**BUCKET, "position": [64, 0, 0]})
    finally:
        far.fault = none
    come_to(lambda: len(lines(server, answer.headers["x-request-id"])) == 2)
    failed, slow = lines(server, answer.headers["x-request-id"])
    assert failed["level"] == slow["level"] == "warning"
    assert (failed["logger"], slow["logger"]) == ("wkdvid.buckets", "wkdvid.access")
    assert slow["message"].startswith(f"slow: POST {BUCKETS}: 200, ")
    assert slow["seconds"] >= 1


def test_a_request_and_what_it_asks_of_a_source_are_a_trace(server: Server, collector: Collector) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-ID": "traced"}
    bucket = {**BUCKET, "position": [32, 32, 32], "cubeSize": 16}
    server.post("/data/datasets/lab/em/layers/image/data", json=[bucket], headers=headers, params={"token": TOKEN})
    come_to(lambda: len(collector.spans(trace)) == 2)
    asked, answered = collector.spans(trace)
    assert answered.name == f"POST {BUCKETS}"
    assert answered.parent == "00f067aa0ba902b7"
    assert answered.attributes == {
        "http.request.method": "POST",
        "http.route": BUCKETS,
        "http.response.status_code": 200,
        "wkdvid.request": "traced",
    }
    assert asked.name.startswith("read 127.0.0.1:")
    assert asked.parent == answered.id
    assert asked.attributes["wkdvid.boxes"] == 1
    assert answered.resource == {"service.name": "wkdvid", "deployment.environment.name": "test"}
    assert {sent["authorization"] for sent in collector.headers} == {"Bearer for-the-collector"}
    assert TOKEN.encode() not in b"".join(collector.bodies)


def test_what_is_asked_of_each_host_is_counted(server: Server, far: FileServer) -> None:
    def of_host(name: str, *labels: str) -> float:
        return counted(server).get((f"wkdvid_source_{name}", *labels), 0)

    server.buckets("lab/em/layers/image", BUCKET)
    assert of_host("requests_total", far.host, "200") >= 1  # the metadata
    assert of_host("reads_total", far.host) >= 1
    assert of_host("read_seconds_total", far.host) > 0
    before = of_host("failures_total", "auth_rejected", far.host)
    far.fault = on("v/1-1-1/64*", 403)
    try:
        server.buckets("lab/em/layers/image", {**BUCKET, "position": [96, 0, 0]})
    finally:
        far.fault = none
    assert of_host("failures_total", "auth_rejected", far.host) > before


def test_retries_are_counted(server: Server, far: FileServer) -> None:
    """Of the metadata, which we ask for, and of chunks, which TensorStore does."""

    def retries() -> tuple[float, float]:
        seen = counted(server)
        return seen.get(("wkdvid_source_retries_total", far.host), 0), seen["wkdvid_driver_retries_total", "http"]

    before = retries()
    for path in ("v/info", "v/1-1-1/0-*"):
        far.fault = on(path, 503, 2)
        server.post("/data/triggers/reload/lab/em", headers=SHOWN)
        assert server.buckets("lab/em/layers/image", BUCKET).content == bytes([5]) * 32**3
    far.fault = none
    come_to(lambda: retries() == (before[0] + 2, before[1] + 2))
