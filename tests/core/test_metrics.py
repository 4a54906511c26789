"""Counting: alone, with others in one folder, in the place of a worker that was killed, and within bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from wkdvid.core import metrics
from wkdvid.core.metrics import MOST, OTHER, Board, Distribution, Family, Metric, Series
from wkdvid.frontends.operations.exposition import exposition

READS = Family("counter", "reads_total", "Reads", ("host",))
OPEN = Family("gauge", "open", "What is open")
TOOK = Family("histogram", "took_seconds", "Time", (), (0.1, 1.0))


KILLED = """
import os, pathlib, signal, sys
from wkdvid.core import metrics
metrics.counter("reads_total", "Reads", ("host",)).of("a").add(7)
metrics.gauge("open", "What is open").of().set(9)
metrics.BOARD.share(pathlib.Path(sys.argv[1]))
with open(sys.argv[1] + "/1.names", "ab") as names:
    names.write(b'["counter", "half wri')
os.kill(os.getpid(), signal.SIGKILL)
"""


class Worker:
    def __init__(self, folder: Path | None = None) -> None:
        self.board = Board()
        self.reads = Metric(self.board, READS, Series)
        self.open = Metric(self.board, OPEN, Series)
        self.took = Metric(self.board, TOOK, Distribution)
        if folder is not None:
            self.board.share(folder)


def told(worker: Worker) -> dict[str, float]:
    """Samples by name and labels, as Prometheus reads them."""
    _, readings = worker.board.readings()
    text = exposition(readings, "")[0].decode()
    families = text_string_to_metric_families(text)
    return {",".join((s.name, *s.labels.values())): s.value for family in families for s in family.samples}


def test_what_is_counted_is_read_by_prometheus() -> None:
    worker = Worker()
    worker.reads.of("a").add()
    worker.reads.of("a").add(2)
    worker.open.of().set(5)
    for seconds in (0.05, 0.1, 0.2, 7.0):
        worker.took.of().observe(seconds)
    assert told(worker) == {
        "reads_total,a": 3,
        "open": 5,
        "took_seconds_bucket,0.1": 2,
        "took_seconds_bucket,1.0": 3,
        "took_seconds_bucket,+Inf": 4,
        "took_seconds_count": 4,
        "took_seconds_sum": pytest.approx(7.35),
    }


def test_every_worker_tells_what_all_have_counted(tmp_path: Path) -> None:
    first = Worker()
    first.reads.of("a").add(3)  # before it is shared
    first.board.share(tmp_path)
    second = Worker(tmp_path)
    second.reads.of("b").add(5)
    second.reads.of("a").add(1)
    for worker in (first, second):
        worker.open.of().set(2)
        worker.took.of().observe(0.5)
    assert told(first) == told(second)
    assert told(first)["reads_total,a"] == 4
    assert told(first)["reads_total,b"] == 5
    assert told(first)["open"] == 4
    assert told(first)["took_seconds_bucket,1.0"] == 2
    assert first.board.readings()[0] == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_a_worker_that_is_just_beginning_does_no_harm(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.reads.of("a").add()
    (tmp_path / "1.values").touch()
    assert told(worker) == {"reads_total,a": 1}


def test_counts_outlive_a_killed_worker_and_go_on_in_its_place(tmp_path: Path) -> None:
    first = Worker(tmp_path)
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert told(first)["reads_total,a"] == 7
    assert "open" not in told(first)
    assert first.board.readings()[0] == 1
    third = Worker(tmp_path)
    third.reads.of("b").add(1)
    third.reads.of("a").add(1)
    assert (told(first)["reads_total,a"], told(first)["reads_total,b"]) == (8, 1)
    assert {path.name for path in tmp_path.iterdir()} == {f"{i}.{what}" for i in "01" for what in ("values", "names")}


def test_labels_that_others_choose_are_bounded() -> None:
    worker = Worker()
    for i in range(MOST + 50):
        worker.reads.of(f"host{i}").add()
    counted = told(worker)
    assert len(counted) == MOST + 1
    assert counted[f"reads_total,{OTHER}"] == 50


def test_more_series_than_there_is_room_for_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SLOTS", 128)
    worker = Worker()
    worker.took.of().observe(1)
    for i in range(200):
        worker.reads.of(str(i)).add()
    assert told(worker)["took_seconds_count"] == 1


def test_a_disk_without_room_costs_counts_alone(tmp_path: Path) -> None:
    worker, other = Worker(tmp_path), Worker(tmp_path)
    worker.reads.of("a").add()
    assert worker.board._names is not None
    with Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), worker.board._names)
        worker.reads.of("b").add(2)
    worker.reads.of("a").add()
    assert {name: value for name, value in told(other).items() if name.startswith("reads")} == {"reads_total,a": 2}


def test_wrong_labels_are_a_mistake() -> None:
    with pytest.raises(TypeError, match="reads_total has the labels"):
        Worker().reads.of("a", "b")
