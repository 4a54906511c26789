"""A folder over HTTP, with byte ranges, on a port of its own; and faults on demand.

All connections live on one event loop in one thread, so that any number of them may be silent, and all end with it.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self, TypeAlias
from urllib.parse import unquote, urlsplit

from aiohttp import web

BACKLOG = 512
"""Connections that wait to be accepted; one too many would be tried again after a second."""
CLOSING_S = 0.01
"""How long an answer under way is waited for when the server ends."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""``SO_LINGER`` of no time: closing resets the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent instead of a file, or how a file is sent."""

    status: int = HTTPStatus.OK
    body: bytes | None = None
    """None: the file, or nothing where ``status`` is not 200."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """``Content-Length`` may promise more than the body has: the connection then breaks off."""
    delay_s: float = 0.0
    """Before the first byte. ``math.inf``: there is none."""
    per_byte_s: float = 0.0
    """After each byte of the body."""
    reset_after: int | None = None
    """Bytes of the body after which the connection is reset."""


Instead: TypeAlias = int | Answer
"""A number is a status without a body."""
Fault: TypeAlias = Callable[[str], Instead | None]
"""From a path below the folder to what is sent instead; None to serve it."""

SILENT = Answer(delay_s=math.inf)
DRIPPING = Answer(per_byte_s=1.0)
RESET = Answer(reset_after=0)
LOGIN_PAGE = Answer(
    body=b"<!DOCTYPE html><html><body>Please log in</body></html>", headers={"Content-Type": "text/html"}
)
BUSY = Answer(status=HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": "1"})


def redirected(location: str) -> Answer:
    return Answer(status=HTTPStatus.FOUND, headers={"Location": location})


def broken_off(body: bytes) -> Answer:
    """Half of what ``Content-Length`` promises."""
    return Answer(body=body[: len(body) // 2], headers={"Content-Length": str(len(body))})


def flipped(body: bytes, bit: int) -> Answer:
    """One bit of it the other way, counted from the lowest of the first byte."""
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    return Answer(body=bytes(changed))


def on(pattern: str, instead: Instead, times: float = math.inf) -> Fault:
    """What is sent, so many times, for the paths that match (``fnmatch``)."""
    left = times

    def fault(path: str) -> Instead | None:
        nonlocal left
        if left <= 0 or not fnmatchcase(path, pattern):
            return None
        left -= 1
        return instead

    return fault


def none(path: str) -> None:
    """Every path is served."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    target: str
    """As it came: path, percent-encoded, and query."""
    part: str
    """``Range``; empty for the whole."""
    unless: str = ""
    """``If-None-Match``"""

    @property
    def path(self) -> str:
        """Below the folder."""
        return unquote(urlsplit(self.target).path).lstrip("/")


class FileServer:
    """Serves while it is entered."""

    def __init__(self, folder: Path) -> None:
        self.fault: Fault = none
        self.ranges = True
        """Whether parts of a file are served, or the whole where a part is asked for."""
        self.tags = False
        """Whether files have an ``ETag``, by which clients can ask whether they have changed."""
        self.requests: list[Asked] = []
        """In the order of their arrival."""
        self.sent_bytes = 0
        """Of all bodies, those being sent included."""
        self.folder = folder
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = Thread(target=self._run, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Ends in ``/``."""
        return f"http://{self.host}/"

    @property
    def paths(self) -> list[str]:
        """Of every request."""
        return [asked.path for asked in self.requests]

    def count(self, pattern: str) -> int:
        """Requests of paths that match (``fnmatch``)."""
        return sum(fnmatchcase(path, pattern) for path in self.paths)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = web.Server(self._answer, access_log=None)
        listener = await self._loop.create_server(server, sock=self._socket)
        await self._end.wait()
        # asyncio forgets the sockets of what it is accepting when the listener is closed (Python 3.11: Server._attach).
        self._loop.remove_reader(self._socket)
        await _some_rounds()
        listener.close()
        transports = [connection.transport for connection in server.connections]
        await server.shutdown(CLOSING_S)
        for transport in transports:
            if transport is not None:
                transport.abort()  # closing would wait for what its client does not read
        await _some_rounds()  # they let go of their sockets

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        told = request.headers
        asked = Asked(request.raw_path, told.get("Range", ""), told.get("If-None-Match", ""))
        self.requests.append(asked)
        found = self.fault(asked.path)
        answer = found if isinstance(found, Answer) else Answer(status=found or HTTPStatus.OK)
        await asyncio.sleep(answer.delay_s)
        response, body = self._response(answer, asked)
        if int(response.headers["Content-Length"]) != len(body):
            response.force_close()
        await response.prepare(request)
        self.sent_bytes += len(body)
        await _send(request, response, answer, body)
        return response

    def _response(self, answer: Answer, asked: Asked) -> tuple[web.StreamResponse, bytes]:
        status, body, headers = int(answer.status), answer.body, dict(answer.headers)
        file = self.folder / asked.path
        if body is None and status == HTTPStatus.OK and not file.is_file():
            status = HTTPStatus.NOT_FOUND
        elif body is None and status == HTTPStatus.OK:
            body = file.read_bytes()
        if body is not None and status == HTTPStatus.OK and not headers:
            tagged = {"ETag": f'"{zlib.crc32(body)}"'} if self.tags else {}
            if asked.unless in tagged.values():
                status, body = HTTPStatus.NOT_MODIFIED, b""
            elif self.ranges:
                status, body, headers = _part(body, asked.part)
            headers |= tagged
        body = body or b""
        return web.StreamResponse(status=status, headers={"Content-Length": str(len(body)), **headers}), body


def _part(content: bytes, part: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of what a ``Range`` asks for (RFC 9110, 14.2)."""
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", part)
    if wanted is None:
        return HTTPStatus.OK, content, {}
    size = len(content)
    start = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
    stop = min(size, int(wanted[2]) + 1) if wanted[1] and wanted[2] else size
    if start >= stop:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", {"Content-Range": f"bytes */{size}"}
    return HTTPStatus.PARTIAL_CONTENT, content[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}


async def _send(request: web.BaseRequest, response: web.StreamResponse, answer: Answer, body: bytes) -> None:
    if request.method == "HEAD":
        return
    with suppress(ConnectionError):  # the client has left
        if answer.per_byte_s:
            for byte in body:
                await response.write(bytes([byte]))
                await asyncio.sleep(answer.per_byte_s)
        else:
            await response.write(body[: answer.reset_after])
    if answer.reset_after is not None and request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        request.transport.abort()


async def _some_rounds() -> None:
    """Let the loop do what it has to do now: a time would not say how much of that it comes to on a busy machine."""
    for _ in range(10):
        await asyncio.sleep(0)
