"""The stand-in as a web server on loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from wkdvid.testing.bossdb.accounts import Accounts
from wkdvid.testing.bossdb.faults import Faults
from wkdvid.testing.bossdb.routes import Reply, Request, Routes, json_reply
from wkdvid.testing.bossdb.volume import Experiment


class BossDouble:
    """Serves an experiment while it is entered."""

    def __init__(self, experiment: Experiment, port: int = 0) -> None:
        """
        Args:
            port: 0 takes a free one.
        """
        self.experiment = experiment
        """May be replaced at any time."""
        self.accounts = Accounts()
        self.faults = Faults()
        self.requests: list[Request] = []
        """All of them, in the order of their arrival."""
        self.stopped = Event()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """What an entry calls ``domain``."""
        return f"http://{self.host}"

    @property
    def realm(self) -> str:
        """What an entry calls ``auth``."""
        return f"{self.url}/auth/realms/BOSS"

    @property
    def cutouts(self) -> list[str]:
        """The paths of the cutouts that were asked for."""
        return [request.path for request in self.requests if "/cutout/" in request.path]

    def reply(self, request: Request) -> Reply:
        """What is answered where nothing goes wrong."""
        return Routes(self.experiment, self.accounts).reply(request)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


NO_HEADERS: Mapping[str, str] = {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Connections that wait to be accepted; one too many would be tried again after a second."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: clients that break off are what some tests are about."""


def _handler(double: BossDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: apart, each waits for the other's acknowledgement

        def do_GET(self) -> None:
            if double.stopped.is_set():  # a connection that is left from before
                self.close_connection = True
                return
            length = int(self.headers.get("Content-Length", "0"))
            request = Request(
                method=self.command,
                path=unquote(urlsplit(self.path).path),
                headers=dict(self.headers),
                form=dict(parse_qsl(self.rfile.read(length).decode())),
            )
            double.requests.append(request)
            if double.faults.where in request.path:
                self._suffer(request, double.faults)
            else:
                self._send(double.reply(request))

        do_POST = do_GET  # noqa: N815 - the base class's names

        def _suffer(self, request: Request, faults: Faults) -> None:
            double.stopped.wait(faults.delay_s)
            status = next(faults.statuses, None)
            if status is not None:
                self._send(json_reply({"status": status, "code": 9002, "message": "a fault"}, status), faults.headers)
            else:
                good = double.reply(request)
                self._send(replace(good, body=faults.spoil(good.body)), {}, faults.missing_bytes, faults.pause_s)

        def _send(
            self, reply: Reply, headers: Mapping[str, str] = NO_HEADERS, missing: int = 0, pause_s: float = 0
        ) -> None:
            self.send_response(reply.status)
            lengths = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body) + missing)}
            for name, value in {**lengths, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            for part in _parts(reply.body) if pause_s else (reply.body,):
                self.wfile.write(part)
                self.wfile.flush()
                double.stopped.wait(pause_s)
            self.close_connection = self.close_connection or missing > 0

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Silent: a test's output is its failures."""

    return Handler


def _parts(body: bytes) -> Iterator[bytes]:
    """Byte by byte."""
    return (body[i : i + 1] for i in range(len(body)))
