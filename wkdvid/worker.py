"""One worker process: it serves until it is told to end, or to make place for others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from sanic.exceptions import SanicException
from sanic.http import Stage
from sanic.models.server_types import Signal
from sanic.request import Request
from sanic.server import AsyncioServer

from wkdvid.config import Config
from wkdvid.core.metrics import BOARD
from wkdvid.errors import WkdvidError
from wkdvid.logs import configure_logging
from wkdvid.protocol import MeteredProtocol
from wkdvid.server import App, create_app
from wkdvid.tracing import traced
from wkdvid.workers import BACKLOG, Order

log = logging.getLogger("wkdvid.worker")

IN_FLIGHT_S = 10.0
"""For answers that are under way when the worker ends."""
IDLE_S = 0.1
"""For a request on a connection that is open, from then on; the answer closes it."""
PATIENT_S = 5.0
"""The same, of a worker that makes place for others: not every client tries again on a new connection when the old one
is closed before its request."""
LOOK_S = 0.05


def work(config: Config, listener: socket.socket, run: Path, post: Connection) -> None:
    """What a worker process does.

    Args:
        run: The folder of this run of the server.
        post: To the main process.
    """
    for ignored in (signal.SIGINT, signal.SIGHUP):  # a terminal's go to the main process too
        signal.signal(ignored, signal.SIG_IGN)
    configure_logging(config.log.format, _request_id)
    try:
        BOARD.share(run)
    except OSError as error:
        log.warning("what this worker counts is seen by itself alone: %s", error.strerror)
    try:
        with traced(os.environ):
            worker = Worker(create_app(config), post)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(worker.serve(listener))
    except WkdvidError as error:  # in a file that has changed since the main process looked at it
        log.error("cannot begin: %s", error)
        sys.exit(1)


def _request_id() -> str | None:
    with contextlib.suppress(SanicException):  # there is none
        return str(Request.get_current().id)
    return None


class Worker:
    def __init__(self, app: App, post: Connection) -> None:
        self._app = app
        self._post = post

    async def serve(self, listener: socket.socket) -> None:
        """Until it is told to end."""
        server = self._server(listener)
        await server.startup()
        await server.before_start()
        await server
        told = self._heed_orders()
        await server.after_start()
        gc.freeze()  # modules and routes stay for good
        gc.enable()
        with contextlib.suppress(OSError):  # the main process is no more
            self._post.send("serving")
        await self._leave(server, await told)

    def _server(self, listener: socket.socket) -> Any:
        """An ``AsyncioServer``, whose methods Sanic has not annotated. It listens once it is awaited.

        ``Sanic.create_server`` does that at once, before the application has started.
        """
        loop, connections = asyncio.get_running_loop(), set[MeteredProtocol]()
        protocol = partial(MeteredProtocol, loop=loop, app=self._app, connections=connections, signal=Signal())
        listening = loop.create_server(protocol, sock=listener, backlog=BACKLOG)
        return AsyncioServer(self._app, loop, listening, connections)

    def _heed_orders(self) -> asyncio.Future[float]:
        """Done when it is to end, with how long connections may stay idle."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[float] = loop.create_future()

        def end(idle_s: float) -> None:
            if not told.done():
                told.set_result(idle_s)

        def heed() -> None:
            try:
                order = self._post.recv()
            except (EOFError, OSError):  # the main process is no more
                loop.remove_reader(self._post.fileno())
                end(IDLE_S)
            else:
                end(PATIENT_S) if order is Order.RETIRE else self._drain()

        loop.add_reader(self._post.fileno(), heed)
        loop.add_signal_handler(signal.SIGTERM, end, IDLE_S)
        return told

    def _drain(self) -> None:
        self._app.ctx.draining = True
        self._app.config.KEEP_ALIVE = False

    async def _leave(self, server: Any, idle_s: float) -> None:
        """Accept nothing more, end what is under way."""
        self._app.config.KEEP_ALIVE = False
        server.close()
        await server.before_stop()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while server.connections and (waited := loop.time() - began) < IN_FLIGHT_S:
            if waited >= idle_s:
                _close_idle(server)
            await asyncio.sleep(LOOK_S)
        for connection in [*server.connections]:
            connection.abort()
        await server.after_stop()


def _close_idle(server: Any) -> None:
    for connection in [*server.connections]:
        http = connection.http
        if (http is None or http.stage is Stage.IDLE) and not connection.recv_buffer:
            connection.close()
