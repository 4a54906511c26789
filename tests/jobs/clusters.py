"""A Dask scheduler and its workers, as processes of their own on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

START_S = 60.0


@dataclass(frozen=True, slots=True)
class Cluster:
    address: str
    scheduler: subprocess.Popen[bytes]
    workers: Sequence[subprocess.Popen[bytes]]


@contextlib.contextmanager
def running_cluster(folder: Path, data_dir: Path, workers: int) -> Iterator[Cluster]:
    """
    Args:
        folder: For what the processes write and log.
        data_dir: Of the workers' configuration.
    """
    here = folder / "scheduler.json"
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(
            _process(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", here)
        )
        address = _address(here)
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", folder)
        environ = {"WKDVID_DATA_DIR": str(data_dir)}
        started = [
            stack.enter_context(_process(folder, f"worker{n}", address, *options, **environ)) for n in range(workers)
        ]
        yield Cluster(address, scheduler, started)


@contextlib.contextmanager
def _process(folder: Path, name: str, *options: str | Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dask", name.rstrip("0123456789"), *map(str, options), "--no-dashboard"]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _address(scheduler_file: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):  # not there, or half written
            address: str = json.loads(scheduler_file.read_text())["address"]
            return address
        time.sleep(0.05)
    raise RuntimeError(f"the scheduler did not start:\n{(scheduler_file.parent / 'scheduler.log').read_text()}")
