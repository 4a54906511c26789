"""Volumes that datastores serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.main_server.datastores import write_volumes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datastore")
    write_volumes(folder)
    return folder
