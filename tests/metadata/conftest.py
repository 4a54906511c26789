"""A database of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.metadata.databases import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_database(request, tmp_path)
