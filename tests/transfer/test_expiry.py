"""What transfers have made is removed by age and by size."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.servers import running
from wkdvid.transfer.expiry import DAY_S, Made, expire, expired

NOW = 1000 * DAY_S


def test_by_age_and_size() -> None:
    made = [
        Made("old", NOW - 8 * DAY_S, 5),
        Made("new", NOW, 40),
        Made("first", NOW - 3 * DAY_S, 30),
        Made("second", NOW - 2 * DAY_S, 30),
        Made(".half", NOW - 4 * DAY_S, 1000),
        Made(".forgotten", NOW - 9 * DAY_S, 1),
    ]
    assert sorted(expired(made, NOW, 7, 100)) == [".forgotten", "old"]
    assert sorted(expired(made, NOW, 7, 99)) == [".forgotten", "first", "old"]
    assert sorted(expired(made, NOW, 7, 30)) == [".forgotten", "first", "new", "old", "second"]
    assert expired(made[1:2], NOW, 7, 40) == []


names = st.integers(0, 10**6).map(str)
things = st.builds(Made, names, st.floats(NOW - 20 * DAY_S, NOW), st.integers(0, 100))


@given(st.lists(things, unique_by=lambda one: one.name, max_size=20), st.integers(1, 500))
def test_no_more_than_has_to_be(made: list[Made], keep_bytes: int) -> None:
    gone = set(expired(made, NOW, 10, keep_bytes))
    kept = [one for one in made if one.name not in gone]
    assert all(NOW - one.changed <= 10 * DAY_S for one in kept)
    assert sum(one.size for one in kept) <= keep_bytes
    young = [one for one in made if one.name in gone and NOW - one.changed <= 10 * DAY_S]
    if young:
        last = max(young, key=lambda one: (one.changed, one.name))
        assert all((one.changed, one.name) > (last.changed, last.name) for one in kept), "the oldest go first"
        assert sum(one.size for one in [*kept, last]) > keep_bytes, "the last one had to go too"


def test_the_server_removes_them(tmp_path: Path) -> None:
    old, new = tmp_path / "transfers" / "old", tmp_path / "transfers" / "new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 8 * DAY_S,) * 2)
    with running(tmp_path, {}) as server:
        end = time.monotonic() + 60
        while old.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert server.get("/data/health").text == "Ok"
    assert [path.name for path in (tmp_path / "transfers").iterdir()] == ["new"]


def test_folders_are_removed(tmp_path: Path) -> None:
    assert expire(tmp_path / "transfers", NOW, 7, 100) == []
    for name, age, size in (("a", 8, 10), ("b", 2, 50), ("c", 1, 70), (".d", 1, 500)):
        folder = tmp_path / "transfers" / name
        (folder / "8_8_8").mkdir(parents=True)
        (folder / "8_8_8" / "chunk").write_bytes(bytes(size))
        os.utime(folder, (NOW - age * DAY_S,) * 2)
    assert sorted(expire(tmp_path / "transfers", NOW, 7, 100)) == ["a", "b"]
    assert sorted(path.name for path in (tmp_path / "transfers").iterdir()) == [".d", "c"]
    assert expire(tmp_path / "transfers", NOW, 7, 100) == []
