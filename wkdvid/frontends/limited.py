"""The application as it heeds the limits of callers: before a request is looked at, so that a refusal costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Coroutine
from typing import Any

from sanic import Sanic
from sanic.exceptions import SanicException
from sanic.request import Request

from wkdvid.core.callers import LONGEST_FORWARDED, PATIENCE_S, Buckets, Proxies
from wkdvid.core.limits import Limits
from wkdvid.core.links import is_link
from wkdvid.frontends.http import token_of

PROBES = "/health/"
"""Begins the addresses that are answered at once whatever else comes from there: a balancer would take us for dead."""
FORWARDED = "x-forwarded-for"


class TooManyRequests(SanicException):
    """A caller has sent more than it may."""

    status_code = 429
    quiet = True


class Turns:
    """When each request of this worker has its turn, by its address and by its token.

    Callers on this machine are not limited: those are viewers beside their data, and benchmarks.
    """

    def __init__(self, limits: Limits, proxies: Proxies, *, knows_users: bool) -> None:
        """
        Args:
            knows_users: Whether tokens tell who sends a request; else anybody can make one up.
        """
        self._addresses = Buckets(limits.address_rate, limits.address_burst)
        self._users = Buckets(limits.user_rate if knows_users else 0, limits.user_burst)
        self._proxies = proxies

    def wait(self, request: Request) -> float:
        """Seconds until the request's turn; more than ``PATIENCE_S``: it is one too many."""
        lines = request.headers.getall(FORWARDED, ())
        peer = request.conn_info.client_ip if request.conn_info else ""
        caller = self._proxies.caller(peer, ",".join(lines)[-LONGEST_FORWARDED:])
        if caller is None:
            return 0.0
        wait = self._addresses.take(caller)
        token = token_of(request)
        if token is None or wait > PATIENCE_S or is_link(token):  # a link is nobody's, and may have many readers
            return wait
        return max(wait, self._users.take(hash(token)))  # as long as it may be, it takes a number's room


class LimitedApp(Sanic[Any, Any]):
    """Its ``ctx.turns`` are heeded. A middleware would cost each request ten times as much."""

    def handle_request(self, request: Request) -> Coroutine[Any, Any, None]:
        wait = self.ctx.turns.wait(request)
        return self._later(request, wait) if wait else super().handle_request(request)

    async def _later(self, request: Request, wait: float) -> None:
        if request.path.startswith(PROBES):
            wait = 0.0
        if wait <= PATIENCE_S:
            await asyncio.sleep(wait)
            await super().handle_request(request)
            return
        with contextlib.suppress(SanicException):  # who is still sending does not read the answer
            await request.receive_body()  # type: ignore[no-untyped-call]
        seconds = math.ceil(wait - PATIENCE_S)
        text = f"too many requests; the next is answered in {seconds} s (limits.user_rate, limits.address_rate)"
        refusal = TooManyRequests(text, headers={"Retry-After": str(seconds)})
        await self.handle_exception(request, refusal, run_middleware=False)
