"""How fast TensorStore alone reads the boxes that requests are about: in a process of its own, as many in flight.

Run as a program, it takes one JSON object from standard input and prints the seconds of each pass.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorstore as ts

from benchmarks.load import Ask

POOL_BYTES = 2**31
"""Room for every chunk of a source, so that the second pass is warm."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Two passes over the same boxes."""

    cold_s: float
    """With nothing cached."""
    cold_cpu_s: float
    """Of the processor, for all threads."""
    warm_s: float
    """With the decoded chunks cached."""


def measure(folder: Path, asks: Sequence[Ask], in_flight: int, core: int) -> Passes:
    """Read the boxes of all requests twice.

    Args:
        folder: Of the precomputed volume.
        in_flight: Requests at a time; all boxes of one are read together.
    """
    groups = [[[*box.start, *box.stop] for box in ask.boxes] for ask in asks]
    task = {"folder": str(folder), "groups": groups, "in_flight": in_flight}
    output = subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-m", "benchmarks.reference"],
        cwd=Path(__file__).parents[1],
        check=True,
        input=json.dumps(task).encode(),
        stdout=subprocess.PIPE,
    ).stdout
    (cold_s, cold_cpu_s), (warm_s, _) = json.loads(output)
    return Passes(cold_s, cold_cpu_s, warm_s)


def _open(folder: str) -> ts.TensorStore:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "recheck_cached_data": "open",
        "context": {"cache_pool": {"total_bytes_limit": POOL_BYTES}},
    }
    return ts.open(spec, read=True).result()[..., 0]


def _read_all(store: ts.TensorStore, groups: Iterable[Sequence[Sequence[int]]], in_flight: int) -> tuple[float, float]:
    """Seconds, and those of the processor."""
    begin, cpu_begin = time.perf_counter(), time.process_time()
    pending: deque[list[ts.Future[Any]]] = deque()
    for group in groups:
        if len(pending) == in_flight:
            _finish(pending.popleft())
        views = (store[x0:x1, y0:y1, z0:z1] for x0, y0, z0, x1, y1, z1 in group)
        pending.append([view.read(order="F") for view in views])
    while pending:
        _finish(pending.popleft())
    return time.perf_counter() - begin, time.process_time() - cpu_begin


def _finish(reads: Iterable[ts.Future[Any]]) -> None:
    for read in reads:
        read.result()


def main() -> None:
    task = json.load(sys.stdin)
    store = _open(task["folder"])
    json.dump([_read_all(store, task["groups"], task["in_flight"]) for _ in range(2)], sys.stdout)


if __name__ == "__main__":
    main()
