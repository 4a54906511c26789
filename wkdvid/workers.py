"""The worker processes: as many as are asked for, replaced when one ends by itself, ended together."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from wkdvid.config import Config
from wkdvid.errors import ConfigError
from wkdvid.logs import configure_logging

log = logging.getLogger("wkdvid.workers")

BACKLOG = 1024
"""Connections that wait to be accepted."""
STOPPING = (signal.SIGTERM, signal.SIGINT)
END_S = 15.0
"""For the ending of all; a worker gives its last answers ten seconds."""
AGAIN_S = 1.0
"""Between two requests to end: a worker that is just starting may not heed the first."""
BEGINNING_S = 5.0
"""A worker that fails so soon would do so again; one that was killed would not."""

SPAWN = multiprocessing.get_context("spawn")
"""TensorStore does not survive a fork."""
MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Without these glibc maps and faults every large body anew. Workers are spawned, so they are in time for them."""


def listen(host: str, port: int) -> socket.socket:
    """The socket that all workers accept from; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"server.httpAddress: cannot listen on {host} port {port}: {reason}") from error


def serve(config: Config, work: Callable[[], None], announcement: str, *, reload: bool = False) -> int:
    """Run the server until it is told to stop by SIGTERM or SIGINT.

    Args:
        work: What each worker does.
        announcement: Printed when both signals are heeded.
        reload: Start anew when a source file changes.
    Returns:
        The exit status.
    """
    for name, value in (MALLOC | _silence(config.sources.deadline_s)).items():
        os.environ.setdefault(name, value)
    configure_logging()
    watched = Path(__file__).parent if reload else None
    workers = Workers(work, config.server.worker_count, watched)
    print(announcement, flush=True)
    return workers.run()


def _silence(deadline_s: float) -> dict[str, str]:
    """Have TensorStore give up a transfer that stands still: who reads the same chunk next would wait for it too.

    That takes so long that a second try fits into the deadline. What brings a few bytes a second stands still as well.
    """
    return {
        "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": str(max(round(deadline_s * 0.4), 1)),
        "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1024",
    }


class Workers:
    """The main process's part. From its making on, SIGTERM and SIGINT are heeded by ``run``."""

    def __init__(self, work: Callable[[], None], number: int, watched: Path | None = None) -> None:
        """
        Args:
            work: What each worker does, to be pickled.
            number: Of workers.
            watched: Start all anew when a Python file below this folder changes.
        """
        self._work = work
        self._number = number
        self._watched = watched
        self._signals, told = SPAWN.Pipe(duplex=False)
        self._processes: list[tuple[SpawnProcess, float]] = []
        for heeded in STOPPING:
            signal.signal(heeded, lambda number, _: told.send(number))

    def run(self) -> int:
        """Run the workers until a signal comes.

        Returns:
            The exit status: 1 if a worker ended as it began, else 0.
        """
        try:
            return self._keep()
        finally:
            self._end()

    def _keep(self) -> int:
        sources = self._newest_source()
        self._processes = [self._begun() for _ in range(self._number)]
        while not self._told():
            if self._newest_source() != sources:
                log.info("a source file changed: all workers start anew")
                self._end()
                return self._keep()
            for index, (process, began) in enumerate(self._processes):
                if process.is_alive():
                    continue
                if (process.exitcode or 0) > 0 and time.monotonic() - began < BEGINNING_S:
                    log.error("a worker ended with status %s as it began", process.exitcode)
                    return 1
                log.error("a worker ended with status %s; another one takes its place", process.exitcode)
                self._processes[index] = self._begun()
        return 0

    def _begun(self) -> tuple[SpawnProcess, float]:
        process = SPAWN.Process(target=self._work)
        process.start()
        return process, time.monotonic()

    def _newest_source(self) -> float:
        return max((path.stat().st_mtime for path in self._watched.rglob("*.py")), default=0) if self._watched else 0

    def _told(self) -> bool:
        """Whether a signal came; waits for one, for the end of a worker, or to look at the sources again."""
        sentinels = [process.sentinel for process, _ in self._processes]
        ready = wait([self._signals, *sentinels], AGAIN_S if self._watched else None)
        if self._signals not in ready:
            return False
        self._signals.recv()
        return True

    def _end(self) -> None:
        """End all, by force after a while or at the next signal."""
        deadline = time.monotonic() + END_S
        while running := [process for process, _ in self._processes if process.is_alive()]:
            forced = time.monotonic() > deadline or self._signals.poll()
            for process in running:
                process.kill() if forced else process.terminate()
            wait([self._signals, *(process.sentinel for process in running)], AGAIN_S)


def heed_the_end(stop: Callable[[], None]) -> None:
    """Have ``stop`` called in a worker's event loop, once, when the main process tells it to end or is no more."""
    loop = asyncio.get_running_loop()
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process is nobody's worker")

    def end() -> None:
        loop.remove_reader(parent.sentinel)
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop()

    loop.add_reader(parent.sentinel, end)
    loop.add_signal_handler(signal.SIGTERM, end)
