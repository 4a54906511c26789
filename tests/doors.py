"""Web servers that let in only who shows what they want, and remember what they were shown."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Door:
    """A web server that lets in whoever shows what it wants."""

    folder: Path
    wanted: Mapping[str, str]
    seen: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Path and headers of every request."""
    token: Callable[[str], str | None] | None = None
    """From a posted assertion to an access token: Google's token endpoint."""
    redirect_to: str | None = None
    host: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}"


class _Handler(BaseHTTPRequestHandler):
    door: Door

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        self.door.seen.append((path, {name.title(): value for name, value in self.headers.items()}))
        file = self.door.folder / path
        if self.door.redirect_to is not None:
            self._answer(302, b"", Location=f"{self.door.redirect_to}/{path}")
        elif any(self.headers.get(name) != value for name, value in self.door.wanted.items()):
            self._answer(403, b"")
        elif file.is_file():
            self._answer(200, file.read_bytes(), ETag='"1"')  # on which S3's clients insist
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        token = self.door.token(body["assertion"][0]) if self.door.token else None
        if token is None:
            self._answer(400, b'{"error": "invalid_grant"}')
        else:
            answer = {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}
            self._answer(200, json.dumps(answer).encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent."""


@contextlib.contextmanager
def door(folder: Path, **wanted: str) -> Iterator[Door]:
    one = Door(folder, {name.replace("_", "-"): value for name, value in wanted.items()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"door": one}))
    one.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
