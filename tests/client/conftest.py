"""A server over the volumes of the DVID tests, and clients of it: each test that takes ``client`` runs with both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.client.either import Either
from tests.dvid.shelf import Shelf
from tests.servers import running
from wkdvid.client import AsyncClient, Client


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("client"))
    with running(shelf.folder, shelf.datasets()) as server:
        shelf.server = server
        yield shelf


@pytest.fixture
def sync_client(shelf: Shelf) -> Iterator[Client]:
    with Client(shelf.server.base) as client:
        yield client


@pytest.fixture(params=["sync", "async"])
async def client(request: pytest.FixtureRequest, shelf: Shelf) -> AsyncIterator[Either]:
    if request.param == "sync":
        with Client(shelf.server.base) as client:
            yield client
    else:
        async with AsyncClient(shelf.server.base) as client:
            yield client
