"""Two servers of two workers each, with data directories of their own, on one PostgreSQL: one catalog."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.metadata.databases import PostgreSQL
from tests.servers import Server, running
from tests.soak.processes import complaints, kill
from tests.volumes import write_precomputed
from wkdvid.core.entries import DatasetKey, default_uuid

READERS = 6
MANY = 8
LAYERS = {"image": {"source": "v", "type": "image"}}
OLD = {"precomputed": {"org": {"old": {"layers": LAYERS}}}}
BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}


@pytest.fixture(scope="module")
def url(postgresql: PostgreSQL) -> str:
    return postgresql.new_database()


@pytest.fixture(scope="module")
def hosts(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    other = {"precomputed": {"org": {"other": {"layers": LAYERS}}}}
    with host(one, url, OLD) as first, host(two, url, other) as second:
        yield first, second


def host(folder: Path, url: str, datasets: Mapping[str, object] | None = None) -> AbstractContextManager[Server]:
    write_precomputed(folder / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))])
    return running(folder, datasets, workers=2, environ={"WKDVID_METADATA__DATABASE_URL": url})


def register(server: Server, name: str, layer: str = "image") -> None:
    answer = server.post("/data/datasets", json=entry(name, layer))
    assert (answer.status_code, answer.json()) == (200, {"added": [["org", name]]})


def entry(name: str, layer: str = "image") -> dict[str, object]:
    return {"precomputed": {"org": {name: {"layers": {layer: {"source": "v", "type": "image"}}}}}}


def remove(server: Server, name: str) -> None:
    answer = requests.delete(f"{server.base}/data/datasets/org/{name}", timeout=60)
    assert answer.status_code == 200, answer.text


def layers(server: Server, name: str) -> list[str] | None:
    """Of each connection anew, so that either worker may answer."""
    answer = server.get(f"/data/datasets/org/{name}")
    if answer.status_code == 404:
        return None
    return [layer["name"] for layer in answer.json()["dataSource"]["dataLayers"]]


def comes_to(holds: Callable[[], bool]) -> bool:
    """Whether it holds soon, and then for as many requests as reach both workers."""
    end = time.monotonic() + 20
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return all(holds() for _ in range(READERS))


def test_the_first_servers_file_is_taken_over_and_the_seconds_is_not(hosts: tuple[Server, Server]) -> None:
    assert [layers(server, "old") for server in hosts] == [["image"], ["image"]]
    assert [layers(server, "other") for server in hosts] == [None, None]
    logs = [(server.data_dir / "server.log").read_text() for server in hosts]
    assert f"{hosts[0].data_dir}/datasets.json: 1 datasets taken over into the database" in logs[0]
    assert f"{hosts[1].data_dir}/datasets.json: not read, the catalog is in the database" in logs[1]
    assert all("catalog               in the database" in log for log in logs)


def test_a_name_that_one_does_not_know_is_looked_up(hosts: tuple[Server, Server]) -> None:
    one, two = hosts
    for n, address in enumerate(("/data/datasets/org/{name}", "/data/datasets/{id}", "/api/node/{uuid}/image/info")):
        register(one, f"new{n}")
        uuid = default_uuid(DatasetKey("org", f"new{n}"))
        asked = address.format(name=f"new{n}", id=uuid[:24], uuid=uuid)
        with ThreadPoolExecutor(READERS) as pool:
            answers = list(pool.map(two.get, [asked] * READERS))
        assert [answer.status_code for answer in answers] == [200] * READERS, address
    assert two.buckets("org/new0/layers/image", BUCKET).content == bytes([5]) * 32**3


def test_a_change_and_a_removal_are_seen_by_the_other(hosts: tuple[Server, Server]) -> None:
    one, two = hosts
    register(one, "changing", "first")
    assert layers(two, "changing") == ["first"]
    register(two, "changing", "second")
    assert {*map(str, (layers(two, "changing") for _ in range(READERS)))} == {"['second']"}  # at once where it was made
    assert comes_to(lambda: layers(one, "changing") == ["second"])
    remove(one, "changing")
    assert {layers(one, "changing") for _ in range(READERS)} == {None}
    assert comes_to(lambda: layers(two, "changing") is None)


def test_a_reload_reaches_the_other(hosts: tuple[Server, Server]) -> None:
    one, two = hosts
    register(one, "reloaded")
    assert two.buckets("org/reloaded/layers/image", BUCKET).content == bytes([5]) * 32**3
    write_precomputed(two.data_dir / "v", [((1, 1, 1), np.full((32, 32, 32), 6, np.uint8))])
    assert one.post("/data/triggers/reload/org/reloaded").status_code == 200
    assert comes_to(lambda: two.buckets("org/reloaded/layers/image", BUCKET).content == bytes([6]) * 32**3)


def test_two_that_register_at_the_same_time_lose_nothing(hosts: tuple[Server, Server]) -> None:
    names = [f"both{n}" for n in range(MANY)]
    with ThreadPoolExecutor(MANY) as pool:
        list(pool.map(lambda n: register(hosts[n % 2], names[n]), range(MANY)))
        same = pool.map(lambda n: register(hosts[n % 2], "same", f"layer{n}"), range(MANY))
        list(same)
    for name in names:
        assert [layers(server, name) for server in hosts] == [["image"], ["image"]]
    assert comes_to(lambda: layers(hosts[0], "same") == layers(hosts[1], "same"))


def test_repositories_are_the_same_on_both(hosts: tuple[Server, Server]) -> None:
    one, two = hosts
    assert one.post("/api/repos", json={"root": "shared"}).json() == {"root": "shared"}
    assert {two.get("/api/node/shared/status").text for _ in range(READERS)} == {'{"Locked":false}'}
    with ThreadPoolExecutor(READERS) as pool:
        for action, body in (("commit", {}), ("newversion", {}), ("tag", {"tag": "v1"})):
            asked = [(hosts[n % 2], f"/api/node/shared/{action}") for n in range(READERS)]
            answers = pool.map(lambda one, body=body: one[0].post(one[1], json=body), asked)
            assert sorted(answer.status_code for answer in answers) == [200, *[400] * (READERS - 1)], action
    assert two.get("/api/node/v1/status").json() == {"Locked": True}
    for server in hosts:
        assert comes_to(lambda server=server: len(nodes(server)) == 3)  # type: ignore[misc]


def nodes(server: Server) -> dict[str, object]:
    found: dict[str, object] = server.get("/api/repo/shared/info").json()["DAG"]["Nodes"]
    return found


def test_without_the_database_what_was_opened_is_served(hosts: tuple[Server, Server], postgresql: PostgreSQL) -> None:
    one, two = hosts
    register(one, "kept")
    for server in hosts:
        assert comes_to(lambda server=server: layers(server, "kept") == ["image"])  # type: ignore[misc]
        with ThreadPoolExecutor(READERS) as pool:  # so many at a time that both workers know of it
            assert all(pool.map(lambda _, server=server: layers(server, "kept"), range(10 * READERS)))
            assert all(pool.map(lambda _, server=server: len(nodes(server)) == 3, range(10 * READERS)))
    postgresql.stop()
    try:
        for server in hosts:
            for _ in range(READERS):
                assert server.buckets("org/kept/layers/image", BUCKET).status_code == 200
                assert "kept" in server.get("/data/datasets").text
            for refused in (
                server.post("/data/datasets", json=entry("lost")),
                server.get("/data/datasets/org/lost"),
                requests.delete(f"{server.base}/data/datasets/org/kept", timeout=60),
            ):
                assert refused.status_code == 503
                assert "the database cannot be used" in refused.json()["messages"][0]["error"]
            assert server.get("/api/node/ffff/image/info").status_code == 503
            assert server.post("/api/repos", json={"root": "lost"}).status_code == 503
            assert len(nodes(server)) == 3
    finally:
        postgresql.start()
    assert comes_to(lambda: layers(one, "lost") is None)
    assert two.post("/api/repos", json={"root": "after"}).status_code == 200
    assert one.get("/api/node/after/status").json() == {"Locked": False}
    register(two, "after")
    assert layers(one, "after") == ["image"]
    assert layers(one, "kept") == ["image"]


def test_nothing_of_this_is_a_mistake_of_the_server(hosts: tuple[Server, Server]) -> None:
    assert [complaints(server) for server in hosts] == [[], []]


@pytest.mark.soak
def test_what_was_acknowledged_survives_a_kill(hosts: tuple[Server, Server], url: str) -> None:
    """The second server is killed while it registers and removes; its file stays out of it when it runs again."""
    one, two = hosts
    there: set[str] = set()
    gone: set[str] = set()

    def write(writer: int) -> None:
        try:
            for n in range(10_000):
                register(two, name := f"killed{writer}n{n}")
                if n % 3 == 0:
                    remove(two, name)
                    gone.add(name)
                else:
                    there.add(name)
        except requests.RequestException:
            return

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, n) for n in range(3)]
        while len(there) < 2 * MANY:
            time.sleep(0.01)
        kill(two)
        for writer in writing:
            writer.result()
    with host(two.data_dir, url) as again:
        for server in (one, again):
            listed = {dataset["name"] for dataset in server.get("/data/datasets").json()}
            assert there <= listed
            assert not (gone | {"other"}) & listed
        assert layers(again, "old") == ["image"]
