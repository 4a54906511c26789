"""A server of each mode, all with one dataset for everybody and one that is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.access.links import check_no_link_was_told
from tests.access.routes import LAYERS, SECRET, TOKEN
from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.testing.webknossos import MainServer

DATASETS = {"precomputed": {"org": {"open": LAYERS, "hidden": {**LAYERS, "public": False}}}}
BURST = 8
LIMITS = {
    f"WKDVID_LIMITS__{of}_{what}": str(n) for of in ("USER", "ADDRESS") for what, n in (("RATE", 1), ("BURST", BURST))
}
"""Of callers that are not on this machine."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": TOKEN, **LIMITS}
    with running(folder_with_volume(tmp_path_factory), DATASETS, environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def main() -> Iterator[MainServer]:
    with MainServer() as server:
        server.add_user("alice", organization="org", reads=["org/open"])
        server.add_user(TOKEN, organization="org", is_admin=True)
        yield server
    check_no_link_was_told(server)


@pytest.fixture(scope="module")
def shared(main: MainServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Whose main server has shared one dataset with alice."""
    with running(folder_with_volume(tmp_path_factory), DATASETS, environ=main.environ) as server:
        requests.post(server.base + "/data/triggers/checkInboxBlocking", headers=SECRET, timeout=60).raise_for_status()
        yield server


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(folder_with_volume(tmp_path_factory), DATASETS) as server:
        yield server


def folder_with_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_precomputed(folder / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))])
    return folder
