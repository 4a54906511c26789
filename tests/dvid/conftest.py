"""A server over small volumes of every type that DVID has, one worker, on a real port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dvid.shelf import Shelf
from tests.servers import running


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("dvid"))
    with running(shelf.folder, shelf.datasets()) as server:
        shelf.server = server
        yield shelf
