"""One server for each module and database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clio.accounts import Clio, clio_server
from tests.metadata.databases import PostgreSQL


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def clio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    environ = {}
    if request.param == "postgresql":
        postgresql: PostgreSQL = request.getfixturevalue("postgresql")
        environ["CLIO_DB"] = postgresql.new_database()
    with clio_server(tmp_path_factory.mktemp("data"), environ) as server:
        yield server
