"""The file in which sources are kept: bounded, checked, shared, and never in the way."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wkdvid.backends.disk_cache.store import DOCUMENT, FILE, DiskStore
from wkdvid.core.freshness import SMALLEST
from wkdvid.core.limits import KIB, MIB

NAME = b"object"
ONE = range(-1, 0)
RESTS = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path, SMALLEST)
    yield store
    store.close()


def value_of(store: DiskStore, name: bytes = NAME) -> bytes | None:
    return store.get(name, ONE)[-1].value


def test_what_is_put_is_there_for_others_and_later(tmp_path: Path, store: DiskStore) -> None:
    store.put(NAME, {-1: b"voxels"}, b"v1", 5.0)
    store.put(b"hole", {-1: None}, b"", 6.0)
    for _ in range(2):
        other = DiskStore(tmp_path, SMALLEST)
        (piece,) = other.get(NAME, ONE).values()
        assert (piece.value, piece.validator, piece.checked) == (b"voxels", b"v1", 5.0)
        assert (value_of(other, b"hole"), other.get(b"else", ONE)) == (None, {})
        other.close()


def test_pages_of_one_version(store: DiskStore) -> None:
    store.put(NAME, {0: b"a", 1: b"b", 2: b"c"}, b"v1", 1.0)
    assert {number: piece.value for number, piece in store.get(NAME, range(1, 9)).items()} == {1: b"b", 2: b"c"}
    store.confirm(NAME, b"v1", 7.0)
    store.confirm(NAME, b"v0", 8.0)
    assert {piece.checked for piece in store.get(NAME, range(3)).values()} == {7.0}
    store.put(NAME, {1: b"B"}, b"v2", 9.0)
    assert {number: piece.value for number, piece in store.get(NAME, range(9)).items()} == {1: b"B"}
    store.drop(NAME)
    assert store.get(NAME, range(9)) == {}


def test_it_never_takes_more_than_it_may(tmp_path: Path, store: DiskStore) -> None:
    """What was confirmed longest ago goes first."""
    most = 0
    store.put(b"used", {-1: b"u" * 100 * KIB}, b"", 0.0)
    for n in range(300):  # of twice the room
        store.put(b"%d" % n, {-1: bytes([n % 256]) * 100 * KIB}, b"", float(n))
        store.confirm(b"used", b"", float(n))
        most = max(most, sum(file.stat().st_size for file in tmp_path.iterdir()))
    assert 4 * MIB < most <= SMALLEST
    there = [n for n in range(300) if store.get(b"%d" % n, ONE)]
    assert there[-1] == 299
    assert there == list(range(there[0], 300))
    assert value_of(store, b"used") == b"u" * 100 * KIB
    store.put(b"large", {-1: bytes(SMALLEST // 16 + 1)}, b"", 1e9)
    assert store.get(b"large", ONE) == {}
    assert 4 * MIB < store.used_bytes() <= SMALLEST


def test_metadata_goes_last(store: DiskStore) -> None:
    """Without it a server could not begin while its source is down."""
    store.put(NAME, {-2: b"document"}, b"", 0.0)
    for n in range(120):
        store.put(b"%d" % n, {-1: bytes(100 * KIB)}, b"", 1.0 + n)
    assert store.get(b"0", ONE) == {}
    assert store.get(NAME, DOCUMENT)[-2].value == b"document"
    for n in range(120):
        store.put(b"d%d" % n, {-2: bytes(100 * KIB)}, b"", 1000.0 + n)
    assert store.get(NAME, DOCUMENT) == {}


def test_a_smaller_limit_begins_anew(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, 4 * SMALLEST)
    for n in range(20):
        store.put(b"%d" % n, {-1: bytes(MIB)}, b"", 1.0)
    store.close()
    smaller = DiskStore(tmp_path, SMALLEST)
    assert smaller.get(b"1", ONE) == {}
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= SMALLEST
    smaller.close()


@pytest.mark.parametrize("column", ["value", "validator", "number"])
def test_a_piece_that_is_not_what_was_written_is_removed(
    tmp_path: Path, store: DiskStore, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F30: a bit that flips on the disk shows by the check sum."""
    store.put(NAME, {-1: b"voxels"}, b"v1", 1.0)
    store.put(b"other", {-1: b"others"}, b"v1", 1.0)
    values = {"value": b"voxelt", "validator": b"v2", "number": 0}
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute(f"UPDATE pieces SET {column} = ? WHERE object = ?", (values[column], NAME))
    database.close()
    numbers = range(-1, 1)
    with caplog.at_level(logging.WARNING):
        assert store.get(NAME, numbers) == store.get(NAME, numbers) == {}
    assert (store.mended, len(caplog.records)) == (1, 1)
    assert value_of(store, b"other") == b"others"
    store.put(NAME, {-1: b"voxels"}, b"v1", 1.0)
    assert value_of(store) == b"voxels"


@pytest.mark.parametrize("kind", ["garbage", "cut", "overwritten"])
def test_a_file_that_is_broken_is_begun_anew(
    tmp_path: Path, store: DiskStore, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F30: by whichever worker meets it; the others go over to the new file."""
    for n in range(50):
        store.put(b"%d" % n, {-1: bytes(60 * KIB)}, b"", 1.0)
    store.close()
    other = DiskStore(tmp_path, SMALLEST)
    content = (tmp_path / FILE).read_bytes()
    broken = {
        "garbage": b"no database at all" * 5000,
        "cut": content[: len(content) // 3],
        "overwritten": content[:4096] + b"\xff" * (len(content) - 4096),
    }
    (tmp_path / FILE).write_bytes(broken[kind])
    with caplog.at_level(logging.WARNING):
        for n in range(50):
            store.get(b"%d" % n, ONE)
        store.put(NAME, {-1: b"voxels"}, b"v1", 1.0)
        store.put(NAME, {-1: b"voxels"}, b"v1", 1.0)
    assert "begun anew" in caplog.text
    assert value_of(store) == value_of(other) == b"voxels"
    other.close()


def test_two_workers_over_one_file_that_is_replaced(tmp_path: Path, store: DiskStore) -> None:
    """One that has the old file open goes over to the new one."""
    store.put(NAME, {-1: b"old"}, b"", 1.0)
    for file in tmp_path.iterdir():
        file.unlink()
    other = DiskStore(tmp_path, SMALLEST)
    other.put(NAME, {-1: b"new"}, b"", 1.0)
    assert value_of(store) == b"new"
    other.close()


def test_where_there_can_be_no_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F30: said once."""
    (tmp_path / "file").write_text("")
    store = DiskStore(tmp_path / "file", SMALLEST)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.put(NAME, {-1: b"voxels"}, b"", 1.0)
            assert store.get(NAME, ONE) == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert store.used_bytes() == 0


FULL = """
import logging, resource, signal, sys
from pathlib import Path
from wkdvid.backends.disk_cache.store import DiskStore
logging.basicConfig(format="%(message)s")
store = DiskStore(Path(sys.argv[1]), 1 << 26)
store.put(b"first", {-1: b"there"}, b"", 1.0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for n in range(40):
    store.put(b"%d" % n, {-1: bytes(100_000)}, b"", 2.0)
print(store.get(b"first", range(-1, 0))[-1].value)
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """F30: what is there is still read; a limit of the operating system stands for the disk's end."""
    ended = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ended.stdout == "b'there'\n"
    assert ended.stderr.count("\n") == 1
    assert "cannot be kept" in ended.stderr


KILLED = """
import os, sys
from pathlib import Path
from wkdvid.backends.disk_cache.store import DiskStore
store = DiskStore(Path(sys.argv[1]), 1 << 26)
print("begun", flush=True)
for n in range(1 << 30):
    store.put(b"%d" % (n % 500), {-1: bytes([n % 256]) * 50_000}, b"", float(n))
"""


def test_a_killed_writer_leaves_it_whole(tmp_path: Path, store: DiskStore) -> None:
    """Kill -9 in the middle of writing, beside another that goes on."""
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    end = time.monotonic() + RESTS
    while not store.get(b"40", ONE) and time.monotonic() < end:
        time.sleep(0.01)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    store.put(NAME, {-1: b"voxels"}, b"", 1.0)
    assert value_of(store) == b"voxels"
    for n in range(500):
        for piece in store.get(b"%d" % n, ONE).values():
            assert piece.value == bytes([int(piece.checked) % 256]) * 50_000
    assert store.mended == 0


def test_reloads_are_noted_for_workers_that_begin_later(tmp_path: Path, store: DiskStore) -> None:
    store.renew({"lab/a": 10.0, "lab/b": 20.0})
    other = DiskStore(tmp_path, SMALLEST)
    assert other.renewed(15.0) == {"lab/b": 20.0}
    other.close()
