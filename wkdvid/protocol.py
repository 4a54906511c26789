"""HTTP/1.1 as Sanic has it, and what it lacks: a request's id in its answer, each request counted.

Middleware would take ten times as long. Plain answers, which most are, are sent in one step.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from time import monotonic, perf_counter
from typing import Any

from sanic.exceptions import RequestCancelled
from sanic.http import Http, Stage
from sanic.request import Request
from sanic.response import BaseHTTPResponse
from sanic.server import HttpProtocol

from wkdvid.access_log import AccessLog, Answered
from wkdvid.core.body_cache import Body
from wkdvid.core.tracing import TRACES, Tracer
from wkdvid.frontends.http import Reply, token_of
from wkdvid.frontends.request import URL_BYTES
from wkdvid.metering import known_method, meter_of

HEAD_BYTES = URL_BYTES + 16_384
"""Of the request line and all headers."""
GONE, BROKEN_OFF = "client_gone", "broken_off"
"""Instead of a status: the client did not wait for the answer; the answer failed on its way."""


class MeteredHttp(Http):
    """One connection."""

    def http1_response_header(self, data: bytes, end_stream: bool) -> Coroutine[Any, Any, None]:
        reply = self.response
        is_special = data or self.head_only or self.expecting_continue or not self.keep_alive
        if type(reply) is Reply and reply.is_plain and not is_special:
            return self._send_whole(reply)
        reply.headers["x-request-id"] = self.request.id
        return super().http1_response_header(data, end_stream)  # awaiting it here would take longer than all the rest

    async def _send_whole(self, reply: Reply) -> None:
        """As Sanic would, in one step where it takes five."""
        protocol: Any = self.protocol
        self.response_size = reply.size
        self.response_func = None  # type: ignore[assignment]  # so Sanic marks an answer that has ended
        await protocol.send_both(reply.head(str(self.request.id)), reply.body)
        self.stage = Stage.IDLE

    async def http1_response_normal(self, data: bytes, end_stream: bool) -> None:
        await super().http1_response_normal(data, end_stream)
        self.response_size += len(data)

    async def http1_response_chunked(self, data: bytes, end_stream: bool) -> None:
        await super().http1_response_chunked(data, end_stream)
        self.response_size += len(data)

    async def error_response(self, exception: Exception) -> None:
        await super().error_response(exception)
        if self.perft0 is None:  # it cannot be parsed
            self.note(0)

    def note(self, seconds: float) -> None:
        """Count the request."""
        request = self.request
        response: BaseHTTPResponse | None = self.response
        status = GONE if response is None else BROKEN_OFF if self.stage is Stage.FAILED else response.status
        sent = 0 if self.head_only or response is None else self.response_size
        meter = meter_of(request.route)
        meter.note(request.method, request.match_info, status, seconds, sent)
        access_log: AccessLog = request.app.ctx.access_log
        if seconds >= access_log.from_s:
            route = meter.route(request.match_info)
            access_log.write(_answered(request, route, status, seconds, sent, access_log.user_of(token_of(request))))


def _answered(request: Request, route: str, status: int | str, seconds: float, sent: int, user: str | None) -> Answered:
    return Answered(
        id=str(request.id),
        method=known_method(request.method),
        route=route,
        status=status,
        seconds=seconds,
        sent=sent,
        client=request.ip,
        user=user,
    )


class MeteredProtocol(HttpProtocol):
    HTTP_CLASS = MeteredHttp

    async def send_both(self, head: bytes, body: Body) -> None:
        """As ``send``, without joining them: that would copy the body.

        Raises:
            RequestCancelled: the connection is closed.
        """
        transport: Any = self.transport  # uvloop's is no asyncio.Transport
        await self._can_write.wait()
        if transport.is_closing():
            raise RequestCancelled
        transport.writelines((head, body))
        self._time = monotonic()

    def _setup(self) -> None:
        super()._setup()  # type: ignore[no-untyped-call]
        self.request_handler = self._handle if TRACES.tracer is None else partial(self._traced, TRACES.tracer)

    async def _traced(self, tracer: Tracer, request: Request) -> None:
        http = self._http
        with tracer.answer("request", request.headers) as span:
            try:
                await self._handle(request)
            finally:
                route = meter_of(request.route).route(request.match_info)
                method = known_method(request.method)
                span.update_name(f"{method} {route}")
                span.set_attributes(
                    {
                        "http.request.method": method,
                        "http.route": route,
                        "http.response.status_code": 0 if http.response is None else http.response.status,
                        "wkdvid.request": str(request.id),
                    }
                )

    async def _handle(self, request: Request) -> None:
        http = self._http
        try:
            await self.app.handle_request(request)
        finally:
            http.note(perf_counter() - http.perft0)
