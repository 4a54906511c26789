"""Measuring one case: check the answers, load the server, then nginx with as many bytes, then TensorStore."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import reference
from benchmarks.cases import DESCRIPTION, Case
from benchmarks.load import CONNECTIONS, Ask, Load, WrongAnswer, fetch, run_wrk
from benchmarks.servers import Server
from benchmarks.table import Cold, Row
from benchmarks.volumes import Volume, scale_key

ROUNDS = 3
"""The server and nginx take turns, and the best round of each counts: what else the machine does only ever slows."""
CHECKED = 8
"""Answers of a case that are compared with the array."""
FILES = 64
"""Different files that nginx sends; no fewer than there are different answers, up to this."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cases share."""

    volume: Volume
    work: Path
    seconds: float
    """Of load for each of a case's two servers, in all rounds together."""
    server_core: int
    load_core: int
    nginx: Server
    """On the server's core; serves ``answers`` in the folder ``work``."""

    def load(self, server: Server, case: Case, *, with_tensorstore: bool = True) -> Row:
        """Measure a case warm: every request has been answered once before.

        Raises:
            WrongAnswer: an answer is not what it should be.
        """
        server.forget_peak()
        bodies, _ = fetch(server.base, case.asks)
        check(case, bodies)
        (ours, cpu_us), (nginx, nginx_cpu_us) = self._take_turns(
            (server, case.asks), (self.nginx, self._write_answers(bodies, case.files))
        )
        return Row(
            case=case.name,
            load=ours,
            nginx=nginx,
            peak_mb=server.memory().worker_peak,
            nginx_share=ours.requests_per_s * case.files / nginx.requests_per_s,
            cpu_us=cpu_us,
            nginx_cpu_us=nginx_cpu_us * case.files,
            tensorstore_share=ours.requests_per_s * self._tensorstore(case).warm_s / len(case.asks)
            if with_tensorstore
            else None,
            target_share=case.target_share,
            target_rate=case.target_rate,
            rival=case.rival,
        )

    def cold(self, case: Case, start: Callable[[], AbstractContextManager[Server]]) -> Cold:
        """Measure a case on new servers, which have opened the dataset but read nothing.

        Files are in the page cache, for the servers and for TensorStore.

        Raises:
            WrongAnswer: an answer is not what it should be.
        """
        folder = self.volume.folder / case.source
        for file in (folder / scale_key()).iterdir():
            file.read_bytes()
        rounds = [(self._cold(case, start), self._tensorstore(case)) for _ in range(ROUNDS)]
        return Cold(
            case=case.name,
            requests=len(case.asks),
            seconds=min(seconds for (seconds, _), _ in rounds),
            cpu_s=min(cpu_s for (_, cpu_s), _ in rounds),
            tensorstore_s=min(alone.cold_s for _, alone in rounds),
            tensorstore_cpu_s=min(alone.cold_cpu_s for _, alone in rounds),
        )

    def _cold(self, case: Case, start: Callable[[], AbstractContextManager[Server]]) -> tuple[float, float]:
        """Seconds for all requests, and of the processor for the server."""
        with start() as server:
            fetch(server.base, [DESCRIPTION])
            before = server.cpu_s()
            bodies, seconds = fetch(server.base, case.asks)
            cpu_s = server.cpu_s() - before
        check(case, bodies)
        return seconds, cpu_s

    def _take_turns(self, *turns: tuple[Server, Sequence[Ask]]) -> list[tuple[Load, float]]:
        """For each server its best round, and its processor time a request (us) in all of them."""
        before = [server.cpu_s() for server, _ in turns]
        rounds = [[self._run_wrk(*turn) for turn in turns] for _ in range(ROUNDS)]
        used = [server.cpu_s() - cpu_s for (server, _), cpu_s in zip(turns, before, strict=True)]
        return [_best(loads, cpu_s) for loads, cpu_s in zip(zip(*rounds, strict=True), used, strict=True)]

    def _run_wrk(self, server: Server, asks: Sequence[Ask]) -> Load:
        return run_wrk(server.base, asks, self.seconds / ROUNDS, self.load_core, self.work)

    def _write_answers(self, bodies: Sequence[bytes], files: int) -> list[Ask]:
        """Give nginx files like the answers, each cut into so many."""
        answers = self.work / "answers"
        shutil.rmtree(answers, ignore_errors=True)
        answers.mkdir()
        chosen = bodies[:FILES]
        for i, body in enumerate(chosen):
            (answers / str(i)).write_bytes(body[: len(body) // files])
        return [Ask(f"/{i}") for i in range(len(chosen))]

    def _tensorstore(self, case: Case) -> reference.Passes:
        return reference.measure(self.volume.folder / case.source, case.asks, CONNECTIONS, self.server_core)


def _best(rounds: Sequence[Load], cpu_s: float) -> tuple[Load, float]:
    """The best round, and processor time a request (us), of ``cpu_s`` in all rounds."""
    answered = sum(load.requests for load in rounds)
    if not answered:
        raise WrongAnswer(f"under load: not one answer in {len(rounds)} rounds")
    return max(rounds, key=lambda load: load.requests_per_s), 1e6 * cpu_s / answered


def check(case: Case, bodies: Sequence[bytes]) -> None:
    for ask, body in list(zip(case.asks, bodies, strict=True))[:CHECKED]:
        if not case.is_right(ask, body):
            raise WrongAnswer(f"{ask.path[:100]}: {len(body)} bytes that are not the voxels asked for")
