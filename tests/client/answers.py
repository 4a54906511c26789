"""A server on loopback that answers what a test wants it to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

Answer: TypeAlias = tuple[int, bytes]


@dataclass
class Answering:
    """``answer`` is asked for each request: its method, target and body -> status and body.

    A body that begins with ``broken:`` is sent cut short.
    """

    answer: Callable[[str, str, bytes], Answer]
    base: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def answering(answer: Callable[[str, str, bytes], Answer]) -> Iterator[Answering]:
    state = Answering(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.asked.append(f"{self.command} {self.path}")
            state.headers.append(dict(self.headers))
            status, data = state.answer(self.command, self.path, body)
            with contextlib.suppress(ConnectionError):  # the client has gone away
                self._send(status, data)

        def _send(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if data.startswith(b"broken:"):
                self.close_connection, data = True, data[:-1]
            if self.command != "HEAD" and status != 204:
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.base = f"http://127.0.0.1:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
