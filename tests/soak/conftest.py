"""What several long tests are about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.failing_source import LEVELS
from tests.volumes import write_precomputed
from wkdvid.testing.faulty import FileServer


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FileServer]:
    write_precomputed(tmp_path / "em", list(LEVELS.items()))
    with FileServer(tmp_path) as server:
        yield server
