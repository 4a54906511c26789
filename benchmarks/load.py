"""Sending requests: each once, keeping the answers; or round and round for some seconds, by wrk."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from wkdvid.core.geometry import Box

CONNECTIONS = 16
TIMEOUT_S = 120.0
SCRIPT = Path(__file__).with_name("requests.lua")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and the voxels that it is about."""

    path: str
    body: str = ""
    """Of a POST; empty: GET."""
    boxes: tuple[Box, ...] = ()
    """In voxels of the finest level."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured."""

    requests: int
    requests_per_s: float
    mb_per_s: float
    """10^6 bytes, heads included."""
    p50_ms: float
    p99_ms: float


class WrongAnswer(Exception):
    """The server did not answer as it should."""


def fetch(base: str, asks: Sequence[Ask], in_flight: int = CONNECTIONS) -> tuple[list[bytes], float]:
    """Send each request once.

    Returns:
        The bodies as they came, and the seconds that all took.
    Raises:
        WrongAnswer: a status other than 200, or no answer.
    """
    bodies = [b""] * len(asks)
    waiting = iter(enumerate(asks))
    begin = time.perf_counter()
    with ThreadPoolExecutor(in_flight) as threads:
        ends = [threads.submit(_work, base, waiting, bodies) for _ in range(min(in_flight, len(asks)))]
    seconds = time.perf_counter() - begin
    for end in ends:
        end.result()
    return bodies, seconds


def _work(base: str, waiting: Iterator[tuple[int, Ask]], bodies: list[bytes]) -> None:
    """Answer what is waiting, over one connection."""
    with contextlib.closing(HTTPConnection(base.removeprefix("http://"), timeout=TIMEOUT_S)) as connection:
        for i, ask in waiting:
            try:
                connection.request("POST" if ask.body else "GET", ask.path, ask.body.encode() or None)
                answer = connection.getresponse()
                bodies[i] = answer.read()
            except (OSError, HTTPException) as error:
                raise WrongAnswer(f"{ask.path[:80]}: {type(error).__name__} {error}") from error
            if answer.status != 200:
                raise WrongAnswer(f"{ask.path[:80]}: {answer.status} {bodies[i][:200].decode(errors='replace')}")


def run_wrk(base: str, asks: Sequence[Ask], seconds: float, core: int, work: Path) -> Load:
    """Load a server with the requests, round and round.

    Args:
        core: That wrk runs on.
        work: Folder for the list of requests.
    Raises:
        WrongAnswer: a status from 400 on, or a connection that broke.
    """
    listed = work / "requests.txt"
    listed.write_text("".join(f"{ask.path}\t{ask.body}\n" if ask.body else f"{ask.path}\n" for ask in asks))
    program = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(round(seconds), 1)}s"]
    output = subprocess.run(
        [*program, "--timeout", "30s", "-s", str(SCRIPT), base, "--", str(listed)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    measured = json.loads(output.strip().rpartition("\n")[2])
    if measured["refused"] or measured["broken"]:
        raise WrongAnswer(f"under load: {measured['refused']} refused, {measured['broken']} broken off, of {measured}")
    duration_s = measured["duration_us"] / 1e6
    return Load(
        measured["requests"],
        measured["requests"] / duration_s,
        measured["bytes"] / duration_s / 1e6,
        measured["p50_us"] / 1e3,
        measured["p99_us"] / 1e3,
    )
