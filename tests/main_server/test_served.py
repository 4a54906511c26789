"""A server of two workers that is a main server's datastore: what it reports, and whom it lets read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import requests

from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.testing.webknossos import MainServer

BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
CHOSEN = "c" * 24
KEY = "secret-key-of-the-datastore"


def entry(source: str, **options: Any) -> dict[str, Any]:
    return {"layers": {"image": {"source": source, "type": "image"}}, **options}


DATASETS = {"precomputed": {"lab": {"a": entry("a"), "b": entry("b"), "chosen": entry("a", dataset_id=CHOSEN)}}}


@pytest.fixture(scope="module")
def main() -> Iterator[MainServer]:
    with MainServer(key=KEY) as server:
        server.add_user("alice", reads=["lab/a"])
        server.add_user("boss", is_admin=True)
        yield server


@pytest.fixture(scope="module")
def server(main: MainServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("datastore")
    for value, name in enumerate(("a", "b"), 5):
        write_precomputed(folder / name, [((1, 1, 1), np.full((40, 40, 40), value, np.uint8))])
    with running(folder, DATASETS, workers=2, environ=main.environ) as started:
        assert has_reported(main, *DATASETS["precomputed"]["lab"])
        yield started
    log = (folder / "server.log").read_text()
    assert all(secret not in log for secret in (KEY, "alice", "boss", main.token))


def comes_true(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def has_reported(main: MainServer, *names: str) -> bool:
    return comes_true(lambda: set(main.reported) == {f"lab/{name}" for name in names})


def as_user(token: str) -> dict[str, Any]:
    return {"headers": {"X-Auth-Token": token}}


def buckets(server: Server, dataset: str, token: str | None) -> requests.Response:
    query = {} if token is None else {"token": token}
    return server.post(f"/data/datasets/{dataset}/layers/image/data", json=[BUCKET], params=query)


def test_what_there_is_is_reported_by_one_worker(main: MainServer, server: Server) -> None:
    time.sleep(1.5)  # the other worker has looked too
    assert len([r for r in main.requests if r.path.endswith("/status")]) == 1
    assert main.state.datastore_url == server.base
    (layer,) = main.reported["lab/a"]["dataLayers"]
    voxels = requests.get(f"{layer['mags'][0]['path']}/0.0.0.0", **as_user("alice"), timeout=60)
    assert voxels.content[:32] == bytes([5]) * 32


@pytest.mark.parametrize("name", ["lab/a", "id of it"])
def test_a_dataset_is_read_by_whom_it_is_shared_with(main: MainServer, server: Server, name: str) -> None:
    dataset = main.dataset_id("lab/a") if name != "lab/a" else name
    for good in ("alice", "boss", main.token):
        assert buckets(server, dataset, good).content == bytes([5]) * 32**3
    for bad in (None, "", "mallory"):
        answer = buckets(server, dataset, bad)
        assert answer.status_code == 403
        assert answer.text.startswith("Token may be expired, consider reloading. Access forbidden: there is no dataset")


def test_who_may_not_read_is_told_the_same_of_what_is_not_there(main: MainServer, server: Server) -> None:
    hidden, missing = buckets(server, "lab/b", "alice"), buckets(server, "lab/x", "alice")
    assert hidden.status_code == missing.status_code == 403
    assert hidden.text.replace("lab/b", "lab/x") == missing.text
    assert buckets(server, main.dataset_id("lab/b"), "alice").status_code == 403
    assert buckets(server, "0" * 24, "alice").status_code == 403
    assert buckets(server, "0" * 24, "boss").status_code == buckets(server, "lab/x", "boss").status_code == 404


def test_a_chosen_id_goes_before_the_main_servers(main: MainServer, server: Server) -> None:
    main.state.rows[("lab", "chosen")].id = CHOSEN
    main.add_user("dave", reads=["lab/chosen"])
    for name in (CHOSEN, "lab/chosen"):
        assert buckets(server, name, "dave").status_code == 200
    asked = [r.json()["resourceId"] for r in main.requests if r.query.get("token") == "dave"]
    assert set(asked) == {CHOSEN}


def test_a_public_dataset_needs_no_token(main: MainServer, server: Server) -> None:
    assert server.post("/data/datasets", json={"precomputed": {"lab": {"open": entry("a")}}}, **as_user("boss")).ok
    assert has_reported(main, "a", "b", "chosen", "open")
    main.state.public.add("lab/open")
    assert buckets(server, "lab/open", None).status_code == 200
    assert server.get("/data/datasets").json()[0]["name"] == "open"


def test_changes_are_reported_and_what_is_removed_disappears(main: MainServer, server: Server) -> None:
    path = "/data/datasets/lab/passing"
    assert server.post("/data/datasets", json={"precomputed": {"lab": {"passing": entry("a")}}}, **as_user("boss")).ok
    assert comes_true(lambda: "lab/passing" in main.reported)
    assert requests.delete(server.base + path, **as_user("alice"), timeout=60).status_code == 403
    assert requests.delete(server.base + path, **as_user("boss"), timeout=60).ok
    assert comes_true(lambda: "lab/passing" not in main.reported)


@pytest.mark.parametrize("trigger", ["checkInboxBlocking?organizationId=lab", "reload/lab/b", "reload/lab/{id}"])
def test_a_trigger_has_reported_when_it_answers(main: MainServer, server: Server, trigger: str) -> None:
    main.state.rows[("lab", "b")].is_active = False
    path = f"/data/v15/triggers/{trigger}".format(id=main.dataset_id("lab/b"))
    assert server.post(path, **as_user("alice")).status_code == 403
    assert server.post(path, **as_user(main.token)).text == "Ok"
    assert "lab/b" in main.reported


def test_the_main_server_may_have_an_id_forgotten(main: MainServer, server: Server) -> None:
    """Of a dataset that it has deleted and made anew."""
    for dataset_id in (main.dataset_id("lab/b"), "0" * 24):
        path = f"{server.base}/data/datasets/{dataset_id}"
        assert requests.delete(path, **as_user(main.token), timeout=60).status_code == 200
    row = main.state.rows[("lab", "b")]
    known, row.id = row.id, "9" * 24
    try:
        requests.delete(f"{server.base}/data/datasets/{known}", **as_user(main.token), timeout=60)
        for _ in range(8):  # either worker
            assert buckets(server, "9" * 24, "boss").content[:1] == bytes([6])
            assert buckets(server, known, "boss").status_code == 404
    finally:
        row.id = known


def test_one_question_is_enough(main: MainServer, server: Server) -> None:
    """H21, for the worker that keeps the connection."""
    main.add_user("carol", reads=["lab/a"])
    dataset_id = main.dataset_id("lab/a")
    with requests.Session() as session:
        for _ in range(5):
            address = f"{server.base}/data/v14/zarr/{dataset_id}/image/1/.zarray"
            assert session.get(address, **as_user("carol"), timeout=60).status_code == 200
    asked = [r for r in main.requests if r.query.get("token") == "carol"]
    assert [r.json() for r in asked] == [{"resourceId": dataset_id, "resourceType": "dataset", "mode": "read"}]


def test_a_source_that_is_gone_is_reported_with_its_reason(main: MainServer, server: Server) -> None:
    (server.data_dir / "b").rename(server.data_dir / "away")
    assert server.post("/data/triggers/reload/lab/b", **as_user("boss")).ok
    assert main.reported["lab/b"]["status"]
    (server.data_dir / "away").rename(server.data_dir / "b")
    assert server.post("/data/triggers/reload/lab/b", **as_user("boss")).ok
    assert "dataLayers" in main.reported["lab/b"]


def test_nobody_is_refused_because_the_main_server_is_down(main: MainServer, server: Server) -> None:
    """F31. Who was let in lately still is."""
    uuid = hashlib.sha256(b"lab/a").hexdigest()[:32]
    with requests.Session() as session:  # one connection, so one worker
        path = f"{server.base}/data/datasets/lab/a/layers/image/histogram"
        assert session.get(path, **as_user("alice"), timeout=60).status_code == 200
        main.faults.down = True
        assert session.get(path, **as_user("alice"), timeout=60).status_code == 200
    for path in (
        "/",
        "/data/datasets",
        f"/data/datasets/{'1' * 24}",
        "/data/datasets/lab/a",
        f"/api/node/{uuid}/status",
    ):
        assert server.get(path, **as_user("new")).status_code == 503
    assert server.get("/data/health").text == "Ok"
    log = (server.data_dir / "server.log").read_text()
    assert "the main server of webKnossos breaks off its answers" in log
    assert "MainServerUnavailable" not in log, "requests that meet it have no line each"
