"""Two workers agree on voxels: tests/dvid/test_writing.py at ten times the length."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dvid.repository import new_repository
from tests.dvid.test_writing import READERS, agree
from tests.servers import running
from tests.soak.processes import complaints

POSTS = 200


@pytest.mark.soak
def test_every_reader_sees_every_block(tmp_path: Path) -> None:
    with running(tmp_path, {}, workers=2) as server:
        repository = new_repository(server)
        repository.add("many", typename="uint8blk", BlockSize="16,16,16")
        agree(repository, POSTS)
        assert complaints(server) == []
    print(f"agreement: {POSTS} blocks, {POSTS * READERS} GETs on connections of their own, none disagreed")
