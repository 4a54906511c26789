"""The stand-in as a web server on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from wkdvid.testing.webknossos.clients import client_reply
from wkdvid.testing.webknossos.datastores import datastore_reply
from wkdvid.testing.webknossos.faults import Faults
from wkdvid.testing.webknossos.requests import NOT_FOUND, Reply, Request
from wkdvid.testing.webknossos.state import Generation, Json, State, User, dataset_id

_DATASTORE = re.compile(r"/api/datastores/(?P<name>[^/]+)/(?P<action>[^/]+)(?:/(?P<rest>.*))?")
_CLIENT = re.compile(r"/api(?:/v(?P<version>[0-9]{1,3}))?/(?P<route>.*)")
LOGIN_PAGE = Reply(status=200, content_type="text/html", body=b"<!doctype html><title>Log in</title>")
API = range(13, 17)


class MainServer:
    """Is there while it is entered. Its state may be changed at any time."""

    def __init__(
        self,
        *,
        name: str = "wkdvid",
        key: str = "secret-key-of-the-datastore",
        api: range = API,
        generation: Generation = Generation.ROOTED,
        port: int = 0,
    ) -> None:
        """
        Args:
            name: Of the one datastore that it knows.
            key: What that has to show.
            api: The versions that its clients may speak.
            port: 0 takes a free one.
        """
        self.state = State(name=name, key=key, token="main server's own token", api=api, generation=generation)  # noqa: S106
        self.faults = Faults()
        self.requests: list[Request] = []
        """All of them, in the order of their arrival; those too that a fault meets."""
        self.stopped = Event()
        self._lock = Lock()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def key(self) -> str:
        return self.state.key

    @property
    def token(self) -> str:
        """Its own, which may do everything: its calls to the datastore carry it."""
        return self.state.token

    @property
    def environ(self) -> Mapping[str, str]:
        """With it a wkdvid is this server's datastore, and asks it who may do what."""
        return {
            "WKDVID_WEBKNOSSOS__URL": self.url,
            "WKDVID_WEBKNOSSOS__NAME": self.state.name,
            "WKDVID_WEBKNOSSOS__KEY": "$DATASTORE_KEY",
            "WKDVID_ACCESS__MODE": "webknossos",
            "DATASTORE_KEY": self.key,
        }

    @property
    def reported(self) -> dict[str, Mapping[str, Json]]:
        """The DataSources that are shown, by ``organization/name``."""
        with self._lock:
            return {"/".join(key): row.document for key, row in self.state.rows.items() if row.is_active}

    def dataset_id(self, name: str) -> str:
        """The id that it gives, or has given, to ``organization/name``."""
        organization, _, dataset = name.partition("/")
        return dataset_id((organization, dataset))

    def add_user(
        self, token: str, *, organization: str = "lab", reads: Iterable[str] = (), is_admin: bool = False
    ) -> None:
        """A sharing token is a user too, of one dataset.

        Args:
            reads: ``organization/name`` of each dataset that is shared with the user.
            is_admin: Reads every dataset, and administrates datastores.
        """
        email = f"{token}@{organization}.example"
        user = User(email=email, organization=organization, is_admin=is_admin, reads=frozenset(reads))
        self.state.users[token] = user

    def reply(self, request: Request) -> Reply:
        """What is answered where nothing goes wrong."""
        with self._lock:
            if found := _DATASTORE.fullmatch(request.path):
                return datastore_reply(self.state, request, found["name"], found["action"], found["rest"] or "")
            if found := _CLIENT.fullmatch(request.path):
                return client_reply(self.state, request, int(found["version"] or self.state.api[-1]), found["route"])
            return NOT_FOUND

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Connections that wait to be accepted; one too many would be tried again after a second."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: clients that break off are what some tests are about."""


def _handler(main: MainServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: apart, each waits for the other's acknowledgement

        def do_GET(self) -> None:
            request = self._read()
            main.requests.append(request)
            faults = main.faults if main.faults.where in request.path else Faults()
            main.stopped.wait(faults.delay_s)
            if main.stopped.is_set() or faults.down:
                self.close_connection = True
            elif faults.status is not None:
                self._send(Reply(status=faults.status, content_type="text/plain", body=b""))
            else:
                self._send(LOGIN_PAGE if faults.page else main.reply(request))

        do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the base class's names

        def _read(self) -> Request:
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            return Request(
                method=self.command,
                path=unquote(url.path),
                query=query,
                token=self.headers.get("X-Auth-Token") or query.get("token", ""),
                body=self.rfile.read(int(self.headers.get("Content-Length") or "0")),
            )

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Silent: a test's output is its failures."""

    return Handler
