"""Web sites on loopback, for a browser: a page of somebody's, and Neuroglancer as anybody serves it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

from neuroglancer.static import ImportlibResourcesContentSource

END_S = 30.0


class Site:
    """Answers every GET with what ``content`` has for its path."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": self}))
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def content(self, path: str) -> tuple[bytes, str] | None:
        """Bytes and Content-Type; None: a stream of events that stays open, and empty."""
        raise NotImplementedError


class Page(Site):
    """One page, at every path."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html

    def content(self, path: str) -> tuple[bytes, str]:
        return self.html.encode(), "text/html; charset=utf-8"


class Neuroglancer(Site):
    """The client of the package ``neuroglancer``: without a Python beside it, it takes its state from its address."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"{self.origin}/v/any/"
        self._files = ImportlibResourcesContentSource()

    def content(self, path: str) -> tuple[bytes, str] | None:
        if path.startswith("/events/"):
            return None
        if not path.startswith("/v/"):
            return b"", "text/plain"  # a browser looks for an icon
        found: tuple[bytes, str] = self._files.get(path.removeprefix("/v/any/"), "")
        return found


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        found = self.site.content(urlsplit(self.path).path)
        body, kind = found or (b"", "text/event-stream")
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if found is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if found is None:
            self.wfile.flush()
            self.site.ended.wait(END_S)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""
