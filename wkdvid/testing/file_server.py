"""A folder over HTTP, with byte ranges, on a port of its own; and faults on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent instead of a file."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """``Content-Length`` may promise more than the body has: the connection then breaks off."""


Fault = Callable[[str], int | Answer | None]
"""From a path below the folder to the status, or the answer, that it gets; None to serve it."""


class FileServer:
    """Serves while it is entered."""

    def __init__(self, folder: Path) -> None:
        self.fault: Fault = lambda path: None
        self.ranges = True
        """Whether parts of a file are served, or the whole where a part is asked for."""
        self.paths: list[str] = []
        """Of every request, in the order of their arrival."""
        self.sent_bytes = 0
        """Of all bodies."""
        self.redirect_to: str | None = None
        """Where every request is sent instead: the begin of a URL, before the path."""
        self._server = _Server(("127.0.0.1", 0), _handler(folder, self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """Ends in ``/``."""
        return f"http://{self.host}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """Connections that wait to be accepted; one too many would be tried again after a second."""


def _handler(folder: Path, server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: apart, each waits for the other's acknowledgement

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            server.paths.append(path)
            file = folder / path
            fault = server.fault(path)
            if server.redirect_to is not None:
                self._answer(HTTPStatus.FOUND, b"", Location=server.redirect_to + path)
            elif isinstance(fault, Answer):
                self._serve(fault.body, **fault.headers)
            elif fault is not None:
                self._answer(fault, b"")
            elif not file.is_file():
                self._answer(HTTPStatus.NOT_FOUND, b"")
            else:
                self._serve(file.read_bytes())

        def _serve(self, content: bytes, **headers: str) -> None:
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if wanted is None or headers or not server.ranges:
                self._answer(HTTPStatus.OK, content, **headers)
                return
            size = len(content)
            start = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
            stop = min(size, int(wanted[2]) + 1) if wanted[1] and wanted[2] else size
            if start >= stop:
                self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", **{"Content-Range": f"bytes */{size}"})
                return
            served = f"bytes {start}-{stop - 1}/{size}"
            self._answer(HTTPStatus.PARTIAL_CONTENT, content[start:stop], **{"Content-Range": served})

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            head = {"Content-Length": str(len(body)), **headers}
            for name, value in head.items():
                self.send_header(name, value)
            self.end_headers()
            server.sent_bytes += len(body)
            self.wfile.write(body)
            self.close_connection = int(head["Content-Length"]) != len(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Silent: a test's output is its failures."""

    return Handler
