"""A page of another origin reads buckets, as webKnossos's does: after a preflight, and with the headers it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.clients.visit import Visit
from tests.servers import Server, running
from tests.volumes import write_precomputed
from tests.webknossos.acceptance import take
from wkdvid.testing.faulty import Answer, FileServer, Instead

SIDE = 128
GREY = np.random.default_rng(6).integers(1, 255, (SIDE, SIDE, SIDE), np.uint8)
FAILING = "64-128_64-128_64-128"
"""A chunk; the corner that is opposite to the origin."""
PAGE = Answer(body=b"<!doctype html><title>main server</title>", headers={"Content-Type": "text/html"})
TOKEN = "a user's"

FETCH = """
async ([url, wanted]) => {
    const init = {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(wanted)};
    const answer = await fetch(url, init);
    const body = new Uint8Array(await answer.arrayBuffer());
    const names = ["Empty-Bucket-Indices", "Failure-Bucket-Indices", "MISSING-BUCKETS"];
    return {
        status: answer.status,
        type: answer.type,
        headers: Object.fromEntries(names.map((name) => [name, answer.headers.get(name)])),
        body: Array.from(body),
    };
}
"""
"""What webKnossos's page does for a batch of buckets."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    """Holds the volume, and the page of the main server."""
    folder = tmp_path_factory.mktemp("far")
    write_precomputed(folder / "em", [((1, 1, 1), GREY)])
    with FileServer(folder) as server:
        instead: dict[str, Instead] = {"index.html": PAGE, f"em/1-1-1/{FAILING}": 503}
        server.fault = instead.get
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, far: FileServer) -> Iterator[Server]:
    datasets = {"precomputed": {"lab": {"ds": {"layers": {"em": {"source": f"{far.url}em"}}}}}}
    environ = {
        "WKDVID_SOURCES__HTTP_HOSTS": far.host,
        "WKDVID_ACCESS__MODE": "token",
        "WKDVID_ADMIN_TOKEN": "administrators'",
    }
    with running(tmp_path_factory.mktemp("cross"), datasets, environ=environ) as started:
        yield started


@pytest.fixture
def page(browser: Browser, far: FileServer) -> Iterator[Visit]:
    with Visit(browser) as visit:
        visit.page.goto(f"{far.url}index.html")
        yield visit


def bucket(*position: int) -> dict[str, Any]:
    return {
        "position": list(position),
        "mag": [1, 1, 1],
        "cubeSize": 32,
        "fourBit": False,
        "additionalCoordinates": None,
    }


WANTED = [bucket(0, 0, 0), bucket(4096, 0, 0), bucket(64, 64, 64), bucket(32, 64, 0), bucket(0, 0, 0)]


def test_the_page_reads_buckets_and_their_headers(page: Visit, server: Server) -> None:
    url = f"{server.base}/data/datasets/lab/ds/layers/em/data?token={TOKEN}"
    answer = page.page.evaluate(FETCH, [url, WANTED])
    assert (answer["status"], answer["type"]) == (200, "cors")
    assert answer["headers"] == {
        "Empty-Bucket-Indices": "[1]",
        "Failure-Bucket-Indices": "[2]",
        "MISSING-BUCKETS": "[1, 2]",
    }
    taken = take(WANTED, answer["headers"], bytes(answer["body"]), 1, packs=True)
    first = np.asfortranarray(GREY[:32, :32, :32]).tobytes("F")
    fourth = np.asfortranarray(GREY[32:64, 64:96, :32]).tobytes("F")
    assert taken == [first, "empty", "failed", fourth, first]


def test_what_went_wrong_can_be_read_too(page: Visit, server: Server) -> None:
    """Else the page could not tell an error from a network that is down."""
    for path, status in (("lab/none/layers/em", 404), ("lab/ds/layers/none", 404)):
        answer = page.page.evaluate(FETCH, [f"{server.base}/data/datasets/{path}/data", WANTED])
        assert (answer["status"], answer["type"]) == (status, "cors")
        assert json.loads(bytes(answer["body"]))["messages"]
    health = page.page.evaluate("async (url) => (await fetch(url)).text()", f"{server.base}/data/health")
    assert health == "Ok"


def test_a_preflight_goes_before(page: Visit, far: FileServer) -> None:
    """A server that does not answer it, such as the one with the files, is read by no page."""
    failed = page.page.evaluate(
        "async ([url, body]) => fetch(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body})"
        ".then(() => 'read', (error) => String(error))",
        [far.url.replace("127.0.0.1", "localhost") + "index.html", "[]"],
    )
    assert failed == "TypeError: Failed to fetch"
