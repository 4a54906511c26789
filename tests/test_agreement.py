"""Two workers, one catalog: what one has acknowledged the other knows."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import write_precomputed

POSTS = 200
READERS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("agreement")
    voxels = np.random.default_rng(1).integers(1, 255, (40, 40, 40), np.uint8)
    write_precomputed(folder / "v", [((1, 1, 1), voxels)])
    with running(folder, {}, workers=2) as running_server:
        yield running_server


def ask(server: Server, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    address = urlsplit(server.base)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def entry(name: str, layer: str = "image") -> dict[str, object]:
    return {"precomputed": {"org": {name: {"layers": {layer: {"source": "v", "type": "image"}}}}}}


def test_every_reader_sees_an_acknowledged_dataset(server: Server) -> None:
    with ThreadPoolExecutor(READERS) as pool:
        for n in range(POSTS):
            status, text = ask(server, "POST", "/data/datasets", entry(f"d{n}"))
            assert status == 200, text
            answers = pool.map(partial(ask, server, "GET"), [f"/data/datasets/org/d{n}"] * READERS)
            assert [status for status, _ in answers] == [200] * READERS


def test_every_reader_sees_a_change_and_a_removal(server: Server) -> None:
    with ThreadPoolExecutor(READERS) as pool:
        for layer in ("one", "two"):
            assert ask(server, "POST", "/data/datasets", entry("changing", layer))[0] == 200
            answers = pool.map(lambda _: ask(server, "GET", "/data/datasets/org/changing"), range(READERS))
            names = {json.loads(text)["dataSource"]["dataLayers"][0]["name"] for _, text in answers}
            assert names == {layer}
        assert ask(server, "DELETE", "/data/datasets/org/changing")[0] == 200
        answers = pool.map(lambda _: ask(server, "GET", "/data/datasets/org/changing"), range(READERS))
        assert {status for status, _ in answers} == {404}


def test_a_reload_is_seen_by_both_workers(server: Server) -> None:
    folder = server.data_dir / "changing"
    bucket = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
    body = {"precomputed": {"org": {"data": {"layers": {"image": {"source": "changing", "type": "image"}}}}}}
    for value in (7, 9):
        write_precomputed(folder, [((1, 1, 1), np.full((32, 32, 32), value, np.uint8))])
        if value == 7:
            assert ask(server, "POST", "/data/datasets", body)[0] == 200
        else:
            assert ask(server, "POST", "/data/triggers/reload/org/data")[0] == 200
        for _ in range(READERS):
            _, voxels = ask(server, "POST", "/data/datasets/org/data/layers/image/data", [bucket])
            assert set(voxels) == {value}


def test_the_file_holds_what_was_posted(server: Server) -> None:
    stored = json.loads((server.data_dir / "datasets.json").read_text())
    assert stored["precomputed"]["org"]["d7"] == entry("d7")["precomputed"]["org"]["d7"]  # type: ignore[index]
    assert (server.data_dir / "datasets.json").stat().st_mode & 0o777 == 0o600
    assert not list(server.data_dir.glob(".datasets.json.*"))


def test_a_bad_entry_changes_nothing(server: Server) -> None:
    before = (server.data_dir / "datasets.json").read_bytes()
    good = entry("good")["precomputed"]
    bad: dict[str, object] = {
        "precomputed": {"org": {**good["org"], "bad": {"layers": {"image": {"source": "missing", "type": "image"}}}}},  # type: ignore[index]
    }
    status, text = ask(server, "POST", "/data/datasets", bad)
    assert status == 400
    assert "precomputed.org.bad.layers.image" in json.loads(text)["messages"][0]["error"]
    assert (server.data_dir / "datasets.json").read_bytes() == before
    assert ask(server, "GET", "/data/datasets/org/good")[0] == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"precomputed": {', "line 1, column 18"),
        (b'{"precomputed":\n {"org": 5}}', "precomputed.org: expected an object, got a number"),
        (b'{"prec": {"org": {"d": {"layers": {}}}}}', "unknown backend 'prec'"),
        (b'{"precomputed": {"org": {"d": {"layers": {"a": {"sorce": "v"}}}}}}', "did you mean 'source'?"),
        (b'{"precomputed": {"org": {"../d": {"layers": {"a": {"source": "v"}}}}}}', "precomputed.org.../d"),
        (b'{"precomputed": {"org": {"d": {"layers": {"a": {"source": "/etc"}}}}}}', "outside the directories"),
        (
            b'{"precomputed": {"org": {"d": {"layers": {"a": {"source": "http://127.0.0.1:1/x"}}}}}}',
            "precomputed.org.d.layers.a",
        ),
        (b'{"precomputed": {"org": {"d": {"layers": {"a": {"source": "v"}, "a_1": {"source": "v"}}}}}}', None),
    ],
)
def test_what_is_wrong_is_said_with_its_path(server: Server, body: bytes, said: str | None) -> None:
    import requests

    answer = requests.post(f"{server.base}/data/datasets", data=body, timeout=60)
    if said is None:
        assert answer.status_code == 200  # v is small: over DVID it has no level a_1 that could clash
        return
    assert answer.status_code == 400
    assert said in "\n".join(message["error"] for message in answer.json()["messages"])


def test_start_up_state_is_private(server: Server) -> None:
    assert Path(server.data_dir / ".wkdvid").is_dir()
