"""The stand-in as a web server on loopback; any path may stand before its routes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from wkdvid.testing.bossdb.accounts import Accounts
from wkdvid.testing.bossdb.cutouts import cutout, encode
from wkdvid.testing.bossdb.documents import (
    Refusal,
    absent,
    channel_document,
    collection_document,
    downsample_document,
    experiment_document,
    frame_document,
)
from wkdvid.testing.bossdb.faults import Faults
from wkdvid.testing.bossdb.volume import Channel, Experiment

JSON = "application/json"

_API = re.compile(r".*/(?:v1|latest)/(?P<route>collection|coord|downsample|cutout)(?P<rest>/.*)?")
_KEYCLOAK = re.compile(r".*/auth/realms/(?:BOSS|boss)/protocol/openid-connect/(?P<action>token|logout)/?")


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    """Without the query, percent-decoded."""
    headers: Mapping[str, str]
    form: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    content_type: str
    body: bytes


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

    def reply(self, request: Request) -> Reply:
        """What the server answers where nothing goes wrong."""
        try:
            return self._reply(request)
        except PermissionError:
            return _json({"detail": "Invalid token."}, HTTPStatus.UNAUTHORIZED)
        except Refusal as refusal:
            return _json(refusal.document, refusal.status)

    def _reply(self, request: Request) -> Reply:
        if found := _KEYCLOAK.fullmatch(request.path):
            return self._keycloak(found["action"], request)
        if request.path.rstrip("/").endswith("/ping"):
            return _json({"ip": "127.0.0.1"})
        found = _API.fullmatch(request.path)
        if found is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, 9003, "there is no such route")
        trusted = self.accounts.is_trusted(request.headers.get("Authorization", ""))
        parts = [part for part in (found["rest"] or "").split("/") if part]
        if found["route"] == "cutout":
            return self._cutout(parts, trusted, request.headers.get("Accept", "*/*"))
        answers = {"collection": self._collection, "coord": self._coord, "downsample": self._downsample}
        return _json(answers[found["route"]](parts, trusted))

    def _keycloak(self, action: str, request: Request) -> Reply:
        if request.method != "POST":
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, 9003, "POST a form")
        if action == "token":
            return _json(self.accounts.grant(request.form))
        self.accounts.log_out(request.form)
        return Reply(status=HTTPStatus.NO_CONTENT, content_type=JSON, body=b"")

    def _collection(self, parts: list[str], trusted: bool) -> Mapping[str, Any]:
        """``collection[/C[/experiment[/E[/channel[/CH]]]]]``"""
        experiment = self.experiment
        shown = [channel.name for channel in experiment.channels if channel.public or trusted]
        names, kinds = parts[::2], parts[1::2]
        if kinds != ["experiment", "channel"][: len(kinds)]:
            raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "bad URL")
        if not names:
            return {"collections": [experiment.collection]}
        self._check(names[:2])
        if len(names) == 3:
            return channel_document(experiment, self._channel(names[2], trusted))
        if len(names) == len(kinds):
            return {"experiments": [experiment.name]} if len(kinds) == 1 else {"channels": shown}
        if len(names) == 1:
            return collection_document(experiment.collection, [experiment.name])
        return experiment_document(experiment, shown)

    def _coord(self, parts: list[str], _: bool) -> Mapping[str, Any]:
        if not parts:
            return {"coords": [self.experiment.frame_name]}
        if parts != [self.experiment.frame_name]:
            raise absent("coordinate frame", parts[0])
        return frame_document(self.experiment)

    def _downsample(self, parts: list[str], trusted: bool) -> Mapping[str, Any]:
        return downsample_document(self.experiment, self._resource(parts, trusted))

    def _cutout(self, parts: list[str], trusted: bool, accept: str) -> Reply:
        """``C/E/CH/R/x0:x1/y0:y1/z0:z1[/t0:t1]``"""
        if len(parts) not in (7, 8):
            raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "bad URL")
        channel = self._resource(parts[:3], trusted)
        content_type, body = encode(cutout(self.experiment, channel, parts[3], parts[4:]), accept)
        return Reply(status=HTTPStatus.OK, content_type=content_type, body=body)

    def _resource(self, names: Sequence[str], trusted: bool) -> Channel:
        if len(names) != 3:
            raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "bad URL")
        self._check(names[:2])
        return self._channel(names[2], trusted)

    def _check(self, names: Sequence[str]) -> None:
        """Collection and, perhaps, experiment."""
        known = (self.experiment.collection, self.experiment.name)
        for kind, name, expected in zip(("collection", "experiment"), names, known, strict=False):
            if name != expected:
                raise absent(kind, name)

    def _channel(self, name: str, trusted: bool) -> Channel:
        channel = self.experiment.channel(name)
        if channel is None:
            raise absent("channel", name)
        if not channel.public and not trusted:
            raise Refusal(HTTPStatus.FORBIDDEN, 3001, "missing permission: read")
        return channel


def _json(document: Mapping[str, Any], status: int = HTTPStatus.OK) -> Reply:
    return Reply(status=status, content_type=JSON, body=json.dumps(document).encode())


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
            path = unquote(urlsplit(self.path).path)
            length = int(self.headers.get("Content-Length", "0"))
            form = dict(parse_qsl(self.rfile.read(length).decode()))
            request = Request(method=self.command, path=path, headers=dict(self.headers), form=form)
            double.requests.append(request)
            suffers = double.faults.where in path
            if suffers and double.faults.delay_s:
                double.stopped.wait(double.faults.delay_s)
            status = next(double.faults.statuses, None) if suffers else None
            if status is not None:
                reply = _json({"status": status, "code": 9002, "message": "a fault"}, status)
                self._send(reply, double.faults.headers, 0)
            elif suffers:
                reply = double.reply(request)
                spoiled = Reply(
                    status=reply.status, content_type=reply.content_type, body=double.faults.spoil(reply.body)
                )
                self._send(spoiled, {}, double.faults.missing_bytes)
            else:
                self._send(double.reply(request), {}, 0)

        do_POST = do_GET  # noqa: N815 - the base class's names

        def _send(self, reply: Reply, headers: Mapping[str, str], missing: int) -> None:
            self.send_response(reply.status)
            lengths = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body) + missing)}
            for name, value in {**lengths, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = self.close_connection or missing > 0

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Silent: a test's output is its failures."""

    return Handler
