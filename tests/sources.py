"""Web servers that hold sources, and fail or dawdle as told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Behaviour:
    """What the server does with a request for a chunk; metadata is always sent."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.status: int | None = None
        """Answer chunks with this status instead."""
        self.failures_left = 0
        """Answer so many with ``status``, then all is well again; -1: all of them."""
        self.chunks = 0
        """Asked for so far."""
        self.lock = threading.Lock()

    def next_status(self) -> int | None:
        with self.lock:
            self.chunks += 1
            if self.status is None or self.failures_left == 0:
                return None
            self.failures_left -= self.failures_left > 0
            return self.status


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, behaviour: Behaviour, **options: Any) -> None:
        self.behaviour = behaviour
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        if "info" in self.path or ".json" in self.path or "/.z" in self.path:
            super().do_GET()
            return
        status = self.behaviour.next_status()
        if self.behaviour.delay_s:
            time.sleep(self.behaviour.delay_s)
        if status is None:
            super().do_GET()
        else:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *args: Any) -> None:
        """Quiet: clients that break off are what some tests are about."""


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[tuple[str, Behaviour]]:
    """Serve a folder on loopback; gives ``127.0.0.1:PORT`` and its behaviour."""
    behaviour = Behaviour()
    server = _Server(("127.0.0.1", 0), partial(_Handler, directory=str(folder), behaviour=behaviour))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", behaviour
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
