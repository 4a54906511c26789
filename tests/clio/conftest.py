"""One server for each database, which each module begins anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clio.accounts import Clio, clio_server
from tests.metadata.databases import PostgreSQL


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    with clio_server(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    with clio_server(tmp_path_factory.mktemp("data"), {"CLIO_DB": postgresql.new_database()}) as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def clio(request: pytest.FixtureRequest) -> Clio:
    """With nothing in its database but the users and the dataset of ``accounts``."""
    server: Clio = request.getfixturevalue(f"{request.param}_server")
    server.begin_anew()
    return server
