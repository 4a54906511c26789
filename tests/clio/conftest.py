"""One server for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clio.accounts import Clio, clio_server


@pytest.fixture(scope="module")
def clio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    with clio_server(tmp_path_factory.mktemp("data")) as server:
        yield server
