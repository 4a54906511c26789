"""Two workers agree on what there is: tests/test_agreement.py at ten times the length, with removals in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.servers import running
from tests.soak.processes import complaints
from tests.test_agreement import READERS, ask, entry
from tests.volumes import write_precomputed

POSTS = 2000
KEPT = 50
"""Datasets that are there at a time."""


@pytest.mark.soak
def test_every_reader_sees_every_change(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", [((1, 1, 1), np.ones((40, 40, 40), np.uint8))])
    with running(tmp_path, {}, workers=2) as server, ThreadPoolExecutor(READERS) as pool:

        def statuses(name: str) -> set[int]:
            answers = pool.map(partial(ask, server, "GET"), [f"/data/datasets/org/{name}"] * READERS)
            return {status for status, _ in answers}

        for n in range(POSTS):
            status, text = ask(server, "POST", "/data/datasets", entry(f"d{n}"))
            assert status == 200, text
            assert statuses(f"d{n}") == {200}
            if n >= KEPT:
                assert ask(server, "DELETE", f"/data/datasets/org/d{n - KEPT}")[0] == 200
                assert statuses(f"d{n - KEPT}") == {404}
        assert complaints(server) == []
    print(f"agreement: {POSTS} POSTs, {POSTS - KEPT} removals, {(2 * POSTS - KEPT) * READERS} GETs, none disagreed")
