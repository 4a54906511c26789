"""The worker processes: one that dies is replaced, none outlives the main one, and one that cannot begin is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import pytest
import requests

import wkdvid
from tests.cli.program import environment
from tests.cli.test_serve import Started, serving
from tests.servers import come_to
from wkdvid.workers import STOPPING, Plan, Workers

WITHIN_S = 30.0


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts back what the main process's part replaces."""
    before = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def workers(server: Started) -> set[int]:
    """Ids of the processes whose parent is the main one, without multiprocessing's own."""
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _is_worker(path, server)}


def _is_worker(path: Path, server: Started) -> bool:
    try:
        parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
        return int(parent) == server.process.pid and b"spawn_main" in (path / "cmdline").read_bytes()
    except OSError:  # ended meanwhile
        return False


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        before = workers(server)
        assert len(before) == 2
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        come_to(lambda: len(workers(server) - before) == 2)
        assert requests.get(f"{server.base}/data/health", timeout=WITHIN_S).text == "Ok"
        assert server.log.count("a worker ended with status -9; another one takes its place") == 2


def test_workers_end_when_the_main_process_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        left = workers(server)
        server.process.kill()
        come_to(lambda: not any(Path(f"/proc/{worker}").exists() for worker in left))
        assert server.log == ""


def test_a_changed_source_file_starts_them_anew(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1", "--reload") as server:
        before = workers(server)
        os.utime(Path(wkdvid.__file__))
        come_to(lambda: bool(workers(server)) and not workers(server) & before)
        assert requests.get(f"{server.base}/data/health", timeout=WITHIN_S).text == "Ok"


WAITING = """
from operator import methodcaller
from wkdvid.errors import ConfigError
from wkdvid.logs import configure_logging
from wkdvid.workers import Plan, Workers

def renew():
    raise asked.pop()

asked = [ConfigError("wrong"), ZeroDivisionError("mistake")]
configure_logging()
workers = Workers(Plan(work=methodcaller("recv"), number=1), renew)
print("heeded", flush=True)
raise SystemExit(workers.run())
"""
"""A main process whose workers wait for orders."""


def test_sighup_renews_and_where_the_terminal_is_gone_ends() -> None:
    master, slave = os.openpty()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=slave, stdout=pipe, stderr=pipe, env=environment(), text=True
    ) as process:
        os.close(slave)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "heeded\n"
        for said in ("the configuration stays as it was\n", "the configuration stays as it was: wrong\n"):
            process.send_signal(signal.SIGHUP)
            while not process.stderr.readline().endswith(said):
                assert process.poll() is None
        os.close(master)
        process.send_signal(signal.SIGHUP)
        assert process.wait(WITHIN_S) == 0


def test_workers_that_cannot_begin_end_the_server(signals: None, caplog: pytest.LogCaptureFixture) -> None:
    plan = Plan(work=cast("Callable[[Connection], None]", sys.exit), number=2)
    assert Workers(plan, lambda: plan).run() == 1
    assert "a worker ended with status 1 as it began" in caplog.text


SERVES_ONCE = """
import sys

def work(mark, post):
    if not mark.exists():
        mark.touch()
        post.send("serving")
    sys.exit(3)
"""
"""Fails, but for the first time only when it has told that it serves."""


def test_who_has_served_is_replaced_and_who_never_does_ends_the_server(
    signals: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "serves_once.py").write_text(SERVES_ONCE)
    monkeypatch.syspath_prepend(tmp_path)
    plan = Plan(work=partial(import_module("serves_once").work, tmp_path / "mark"), number=1)
    assert Workers(plan, lambda: plan).run() == 1
    replaced, ended = (record.getMessage() for record in caplog.records)
    assert replaced == "a worker ended with status 3; another one takes its place"
    assert ended == "a worker ended with status 3 as it began"


ONE_FAILS = """
import sys
import time
from functools import partial
from pathlib import Path
from wkdvid import workers
from wkdvid.logs import configure_logging

def work(folder, post):
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        if not (folder / "mended").exists():
            while not (folder / "serving").exists():
                time.sleep(0.05)
            sys.exit(3)
        (folder / "again").touch()
    post.send("serving")
    (folder / "serving").touch()
    post.recv()

if __name__ == "__main__":
    configure_logging()
    workers.PAUSE_S = 0.1
    plan = workers.Plan(work=partial(work, Path(sys.argv[1])), number=2)
    sys.exit(workers.Workers(plan, lambda: plan).run())
"""
"""The second worker fails as it begins, until a file is there."""


def test_one_that_cannot_begin_is_tried_again_while_others_serve(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(ONE_FAILS)
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(), text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().endswith("a worker ended with status 3 as it began\n")
        assert process.stderr.readline().endswith("a worker ended with status 3; another one takes its place\n")
        (tmp_path / "mended").touch()
        come_to((tmp_path / "again").exists)
        process.terminate()
        assert process.wait(WITHIN_S) == 0
