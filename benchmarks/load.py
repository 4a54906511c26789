"""Sending requests: each once, keeping the answers; or round and round for some seconds, by wrk."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httptools
import uvloop

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
    return uvloop.run(_fetch(base.removeprefix("http://"), asks, in_flight))


async def _fetch(address: str, asks: Sequence[Ask], in_flight: int) -> tuple[list[bytes], float]:
    waiting, bodies, (host, _, port) = iter(enumerate(asks)), [b""] * len(asks), address.rpartition(":")
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(min(in_flight, len(asks)))]
    begin = time.perf_counter()
    for end in ends:
        await loop.create_connection(partial(_Connection, address, waiting, bodies, end), host, int(port))
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*ends)
    return bodies, time.perf_counter() - begin


class _Connection(asyncio.Protocol):
    """Answers what is waiting, with as little work as that takes: http.client is slower to receive than we to send."""

    def __init__(
        self, address: str, waiting: Iterator[tuple[int, Ask]], bodies: list[bytes], end: asyncio.Future[None]
    ) -> None:
        self._address = address
        self._waiting = waiting
        self._bodies = bodies
        self._end = end
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send_next()

    def _send_next(self) -> None:
        following = next(self._waiting, None)
        if following is None:
            self._end.set_result(None)
            self._transport.close()
            return
        self._index, self._ask = following
        method, body = "POST" if self._ask.body else "GET", self._ask.body.encode()
        head = f"{method} {self._ask.path} HTTP/1.1\r\nHost: {self._address}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.connection_lost(error)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        body, status = b"".join(self._parts), self._parser.get_status_code()
        self._parts.clear()
        if status == 200:
            self._bodies[self._index] = body
            self._send_next()
        else:
            self.connection_lost(WrongAnswer(f"{status} {body[:200].decode(errors='replace')}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._end.done():
            self._end.set_exception(WrongAnswer(f"{self._ask.path[:80]}: {exc or 'the connection was closed'}"))
            self._transport.close()


def run_wrk(
    base: str, asks: Sequence[Ask], seconds: float, core: int, work: Path, connections: int = CONNECTIONS
) -> Load:
    """Load a server with the requests, round and round.

    Args:
        core: That wrk runs on.
        work: Folder for the list of requests.
    Raises:
        WrongAnswer: a status from 400 on, or a connection that broke.
    """
    listed = work / "requests.txt"
    listed.write_text("".join(f"{ask.path}\t{ask.body}\n" if ask.body else f"{ask.path}\n" for ask in asks))
    program = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s"]
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
