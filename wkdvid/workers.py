"""The worker processes: as many as are asked for, replaced when one ends or when the configuration is read anew, ended
together.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from multiprocessing.connection import Connection, wait
from pathlib import Path

from wkdvid.errors import ConfigError, WkdvidError

log = logging.getLogger("wkdvid.workers")

BACKLOG = 1024
"""Connections that wait to be accepted."""
STOPPING = (signal.SIGTERM, signal.SIGINT)
END_S = 15.0
"""For the ending of all; a worker gives its last answers ten seconds."""
AGAIN_S = 1.0
"""Between two requests to end: a worker that is just starting may not heed the first."""
PAUSE_S = 10.0
"""Until another one takes the place of a worker that failed as it began."""
READY_S = 120.0
"""For workers with a new configuration to begin to serve."""

SPAWN = multiprocessing.get_context("spawn")
"""TensorStore does not survive a fork."""
LIBRARIES = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Without the latter glibc maps and faults every large body anew. Threads for linear algebra are
a good part of what importing numpy takes, and a worker has no use for them. Workers are spawned, so these are in
time."""
OPERATORS = frozenset(os.environ)
"""What was set when the server was started."""


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


def serve(plan: Plan, renew: Callable[[], Plan], announcement: str, *, reload: bool = False) -> int:
    """Run the server until it is told to stop by SIGTERM or SIGINT.

    Args:
        renew: What is to run from the next SIGHUP on. Raises ConfigError: then what runs goes on.
        announcement: Printed when all signals are heeded.
        reload: Start anew when a source file changes.
    Returns:
        The exit status.
    """
    watched = Path(__file__).parent if reload else None
    workers = Workers(plan, renew, watched)
    print(announcement, flush=True)
    return workers.run()


def environment(deadline_s: float) -> Mapping[str, str]:
    """What workers are to find in theirs, where the operator has not set it.

    TensorStore gives up a transfer that stands still, as who reads the same chunk next would wait for it too. That
    takes so long that a second try fits into the deadline. What brings a few bytes a second stands still as well.
    """
    silence = {
        "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": str(max(round(deadline_s * 0.4), 1)),
        "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1024",
    }
    return {name: value for name, value in (LIBRARIES | silence).items() if name not in OPERATORS}


class Order(Enum):
    """What the main process tells a worker; SIGTERM, or its own end, tells it to end at once."""

    DRAIN = "drain"
    """Say that no requests should be sent here any more, and go on."""
    RETIRE = "retire"
    """Others are there: accept no connection, let those that are there end, and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to run."""

    work: Callable[[Connection], None]
    """What each worker does, to be pickled. It sends something by the connection when it serves, and gets orders."""
    number: int
    """Of workers."""
    drain_s: float = 0
    """Between SIGTERM, when the server says that it is not ready any more, and its end."""
    environ: Mapping[str, str] = field(default_factory=dict)


class _Worker:
    def __init__(self, plan: Plan) -> None:
        os.environ.update(plan.environ)
        self.post, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=plan.work, args=(theirs,))
        self.process.start()
        theirs.close()
        self._began = time.monotonic()
        self._serves = False
        self.replaced_from: float | None = None
        """``time.monotonic()`` from which on another one takes its place: it failed as it began. None: at once."""

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    @property
    def failed_as_it_began(self) -> bool:
        """It would do so again, however long that took: one that was killed, or has served, would not."""
        return (self.process.exitcode or 0) > 0 and not self.serves

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def serves(self) -> bool:
        with contextlib.suppress(EOFError, OSError):
            if not self._serves and self.post.poll():
                self.post.recv()
                self._serves = True
        return self._serves

    def tell(self, order: Order) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self.post.send(order)


class Workers:
    """The main process's part. From its making on, signals are heeded by ``run``."""

    def __init__(self, plan: Plan, renew: Callable[[], Plan], watched: Path | None = None) -> None:
        """
        Args:
            renew: As ``serve`` has it.
            watched: Start all anew when a Python file below this folder changes.
        """
        self._plan = plan
        self._renew = renew
        self._watched = watched
        self._signals, told = SPAWN.Pipe(duplex=False)
        self._serving: list[_Worker] = []
        self._next: tuple[Plan, list[_Worker]] | None = None
        """Those that are to take the place of the others when all of them serve."""
        self._leaving: list[_Worker] = []
        self._has_terminal = os.isatty(0)
        for heeded in (*STOPPING, signal.SIGHUP):
            signal.signal(heeded, lambda number, _: told.send(number))

    def run(self) -> int:
        """Run the workers until a signal says to stop.

        Returns:
            The exit status: 1 if a worker ended as it began while none served, else 0.
        """
        try:
            return self._keep()
        finally:
            self._end()

    def _keep(self) -> int:
        sources = self._newest_source()
        self._serving, self._next = self._begun(self._plan), None
        while True:
            told = self._told()
            if told in STOPPING or (told == signal.SIGHUP and self._terminal_is_gone):
                self._drain(self._plan.drain_s if told == signal.SIGTERM else 0)
                return 0
            if told == signal.SIGHUP:
                self._take_over()
            if self._newest_source() != sources:
                log.info("a source file changed: all workers start anew")
                self._end()
                return self._keep()
            self._change_over()
            if not self._replace_dead():
                return 1

    def _replace_dead(self) -> bool:
        """False: one failed as it began, and none serves."""
        self._leaving = [worker for worker in self._leaving if worker.alive]
        for index, worker in enumerate(self._serving):
            if worker.alive or time.monotonic() < (worker.replaced_from or 0):
                continue
            status = worker.process.exitcode
            if worker.failed_as_it_began and worker.replaced_from is None:
                log.error("a worker ended with status %s as it began", status)
                if not any(other.alive and other.serves for other in self._serving):
                    return False
                worker.replaced_from = time.monotonic() + PAUSE_S
                continue
            log.error("a worker ended with status %s; another one takes its place", status)
            self._serving[index] = _Worker(self._plan)
        return True

    def _take_over(self) -> None:
        """Begin what is to run from now on. The others go on until all of it serves."""
        try:
            plan = self._renew()
        except WkdvidError as error:
            log.error("the configuration stays as it was: %s", error)
            return
        except Exception:  # a mistake of ours must not end what runs well
            log.exception("the configuration stays as it was")
            return
        self._give_up_next()
        self._next = plan, self._begun(plan)

    def _change_over(self) -> None:
        if self._next is None:
            return
        plan, coming = self._next
        if not all(worker.alive for worker in coming) or any(w.age_s > READY_S and not w.serves for w in coming):
            log.error("the configuration stays as it was: with the new one workers do not begin to serve")
            self._give_up_next()
        elif all(worker.serves for worker in coming):
            log.info("the new configuration is in use, by %d workers", len(coming))
            self._retire(self._serving)
            self._plan, self._serving, self._next = plan, coming, None

    def _give_up_next(self) -> None:
        if self._next is not None:
            _, coming = self._next
            self._next = None
            for worker in coming:
                if not worker.serves:
                    worker.process.kill()
            self._retire(coming)

    def _retire(self, workers: Sequence[_Worker]) -> None:
        for worker in workers:
            worker.tell(Order.RETIRE)
        self._leaving += workers

    def _begun(self, plan: Plan) -> list[_Worker]:
        return [_Worker(plan) for _ in range(plan.number)]

    @property
    def _terminal_is_gone(self) -> bool:
        """It sends SIGHUP too. Who has started the server there wants it to end with it."""
        return self._has_terminal and not os.isatty(0)

    @property
    def _all(self) -> list[_Worker]:
        return [*self._serving, *(self._next[1] if self._next else ()), *self._leaving]

    def _newest_source(self) -> float:
        return max((path.stat().st_mtime for path in self._watched.rglob("*.py")), default=0) if self._watched else 0

    def _told(self) -> int | None:
        """A signal that came; waits for one, for the end of a worker, or to look at what changes by itself."""
        sentinels = [worker.process.sentinel for worker in self._all if worker.replaced_from is None]
        coming = [] if self._next is None else [worker.post for worker in self._next[1] if not worker.serves]
        looks = self._watched or self._next or any(worker.replaced_from for worker in self._serving)
        ready = wait([self._signals, *sentinels, *coming], AGAIN_S if looks else None)
        return self._signals.recv() if self._signals in ready else None

    def _drain(self, seconds: float) -> None:
        """Go on for a while as a server that is not ready, until the next signal at most."""
        if seconds:
            for worker in self._serving:
                worker.tell(Order.DRAIN)
            self._signals.poll(seconds)

    def _end(self) -> None:
        """End all, by force after a while or at the next signal."""
        deadline = time.monotonic() + END_S
        while running := [worker.process for worker in self._all if worker.alive]:
            forced = time.monotonic() > deadline or self._signals.poll()
            for process in running:
                process.kill() if forced else process.terminate()
            wait([self._signals, *(process.sentinel for process in running)], AGAIN_S)
