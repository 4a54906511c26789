"""Two servers on one PostgreSQL that are the same datastore: one reports, and when it is gone the other does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from tests.metadata.databases import PostgreSQL
from tests.servers import Server, running
from tests.soak.processes import complaints, kill
from tests.volumes import write_precomputed
from wkdvid.testing.webknossos import MainServer

LAYERS = {"image": {"source": "v", "type": "image"}}
ADMINISTRATOR = {"X-Auth-Token": "boss"}


def host(folder: Path, main: MainServer, url: str) -> AbstractContextManager[Server]:
    write_precomputed(folder / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))])
    environ = {**main.environ, "WKDVID_METADATA__DATABASE_URL": url}
    return running(folder, entries("old"), workers=2, environ=environ)


def entries(name: str) -> dict[str, object]:
    return {"precomputed": {"lab": {name: {"layers": LAYERS}}}}


def register(server: Server, name: str) -> None:
    assert server.post("/data/datasets", json=entries(name), headers=ADMINISTRATOR).ok


def comes_true(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_one_of_them_reports_and_the_other_when_that_is_gone(postgresql: PostgreSQL, tmp_path: Path) -> None:
    url = postgresql.new_database()

    with MainServer() as main:
        main.add_user("boss", is_admin=True)

        def reporters() -> list[str]:
            return [request.json()["url"] for request in main.requests if request.path.endswith("/status")]

        with host(tmp_path / "one", main, url) as one, host(tmp_path / "two", main, url) as two:
            assert comes_true(lambda: "lab/old" in main.reported)
            for server, name in ((one, "first"), (two, "second")):
                register(server, name)
                assert comes_true(lambda name=name: f"lab/{name}" in main.reported)  # type: ignore[misc]
            time.sleep(2.5)  # the other one has seen the change too
            assert set(reporters()) == {one.base}

            kill(one)
            assert comes_true(lambda: two.base in reporters())
            register(two, "third")
            assert comes_true(lambda: "lab/third" in main.reported)
            assert complaints(two) == []
