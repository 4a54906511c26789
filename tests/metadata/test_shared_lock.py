"""One holder among hosts that share a PostgreSQL, whatever becomes of the holder and of the database."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import psycopg
import pytest

from tests.metadata.databases import PostgreSQL
from wkdvid.core.host_lock import HostLock
from wkdvid.metadata import shared_lock
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.shared_lock import SharedLock

Host: TypeAlias = Callable[..., SharedLock]


@pytest.fixture
def url(postgresql: PostgreSQL) -> str:
    return postgresql.new_database()


@pytest.fixture
def host(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The lock of a worker of the host of this name."""
    monkeypatch.setattr(shared_lock, "ASK_S", 0.02)
    made: list[SharedLock] = []

    def make(name: str, purpose: str = "reports") -> SharedLock:
        made.append(SharedLock(open_engine(url), purpose, HostLock(tmp_path / name / "lock")))
        return made[-1]

    yield make
    for lock in made:
        lock.release()
    assert comes_true(lambda: not sessions(url)), "nothing is left open"


def comes_true(what: Callable[[], bool]) -> bool:
    """Whether it does, within 20 s."""
    end = time.monotonic() + 20
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_had(lock: SharedLock) -> bool:
    return comes_true(lock.acquire)


def sessions(url: str) -> list[int]:
    """Processes of the database that serve others than who asks."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in found]


def holders(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
        return [pid for (pid,) in found]


def test_one_host_has_it_until_it_lets_go(host: Host, url: str) -> None:
    one, two = host("one"), host("two")
    assert is_had(one)
    assert not any(two.acquire() for _ in range(50))
    assert comes_true(lambda: len(sessions(url)) == 2)
    one.release()
    assert is_had(two)
    assert not any(one.acquire() for _ in range(50))


def test_other_workers_of_a_host_have_no_session(host: Host, url: str) -> None:
    first, second = host("one"), host("one")
    assert is_had(first)
    assert not any(second.acquire() for _ in range(50))
    assert len(sessions(url)) == 1
    first.release()
    assert is_had(second)


def test_another_purpose_is_another_lock(host: Host) -> None:
    assert is_had(host("one"))
    assert is_had(host("two", "reports of another"))


def test_when_its_session_is_broken_off_the_next_one_has_it(host: Host, url: str) -> None:
    one, two = host("one"), host("two")
    assert is_had(one)
    two.acquire()
    assert comes_true(lambda: len(sessions(url)) == 2)
    for _ in range(3):
        (gone,) = holders(url)
        with psycopg.connect(url) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [gone])
        assert comes_true(lambda gone=gone: holders(url) not in ([], [gone]))  # type: ignore[misc]
        assert comes_true(lambda: one.acquire() != two.acquire())


def test_a_host_that_stands_still_loses_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = host("one"), host("two")
    monkeypatch.setattr(shared_lock, "SILENCE_MS", 200)
    monkeypatch.setattr(shared_lock, "ANSWER_S", 0.1)
    monkeypatch.setattr(shared_lock, "ASK_S", 60.0)
    assert comes_true(one.acquire)
    monkeypatch.setattr(shared_lock, "ASK_S", 0.02)
    assert is_had(two)
    assert not one.acquire()


def test_nobody_has_it_while_the_database_hangs_and_nobody_waits(
    host: Host, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_lock, "ANSWER_S", 0.5)
    one = host("one")
    assert is_had(one)
    (process,) = holders(url)
    os.kill(process, signal.SIGSTOP)
    try:
        assert comes_true(lambda: not one.acquire())
    finally:
        os.kill(process, signal.SIGCONT)
    assert is_had(one)


def test_it_is_had_again_after_an_outage(host: Host, postgresql: PostgreSQL) -> None:
    one = host("one")
    assert is_had(one)
    postgresql.stop()
    try:
        assert comes_true(lambda: not one.acquire())
        assert not any(one.acquire() for _ in range(50))
    finally:
        postgresql.start()
    assert is_had(one)
