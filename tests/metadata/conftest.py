"""A database of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.metadata.databases import PostgreSQL
from wkdvid.metadata.engine import migrate


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/wkdvid.db"
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.new_database()
    migrate(url)
    return url
