"""Fifty ends without warning while clio's clients write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clio.kills import write_until_killed

KILLS = 50


@pytest.mark.soak
def test_acknowledged_writes_outlive_kills(tmp_path: Path) -> None:
    count = write_until_killed(tmp_path, times=KILLS)
    print(f"{KILLS} kills, {count} acknowledged lists, all there")
