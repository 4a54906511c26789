"""The URL table of operations. Probes are for everybody; metrics, which name routes and hosts of sources, are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, raw

from wkdvid import __version__
from wkdvid.core.access import require_administrator
from wkdvid.core.metrics import BOARD, Family, Labels, Reading
from wkdvid.core.services import Services
from wkdvid.errors import DatabaseUnavailable, WkdvidError
from wkdvid.frontends.http import (
    LOOPBACK_NAMES,
    TEXT,
    api_failed,
    host_name,
    json_reply,
    reply,
    services_of,
    token_of,
)
from wkdvid.frontends.operations.exposition import exposition

READING = ("GET", "HEAD")
FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of proxies: who stands behind one is not known to be on this machine."""
ANYONE, LOOPBACK = "anyone", "loopback"
"""Settings of ``server.metrics``, besides ``administrators``."""


def blueprint() -> Blueprint:
    bp = Blueprint("operations")
    bp.add_route(live, "/health/live", methods=READING, ctx_access="public")
    bp.add_route(ready, "/health/ready", methods=READING, ctx_access="public")
    bp.add_route(metrics, "/metrics", methods=READING, ctx_access="observe")
    bp.exception(WkdvidError)(api_failed)
    return bp


async def live(request: Request) -> HTTPResponse:
    """The event loop turns."""
    return reply("ok\n", TEXT)


async def ready(request: Request) -> HTTPResponse:
    """Whether requests should be sent here."""
    checks = {**await _checks(services_of(request)), "draining": request.app.ctx.draining}
    is_ready = checks["catalog"] and checks["database"] and not checks["draining"]
    return json_reply({"ready": is_ready, **checks}, 200 if is_ready else 503, {"Cache-Control": "no-store"})


async def metrics(request: Request) -> HTTPResponse:
    await _require_observer(request)
    readings = [*await _of_the_server(services_of(request)), *await asyncio.to_thread(_counted)]
    body, content_type = await asyncio.to_thread(exposition, readings, request.headers.get("accept", ""))
    return raw(body, headers={"Cache-Control": "no-store"}, content_type=content_type)  # no page may read it: no CORS


async def _require_observer(request: Request) -> None:
    """
    Raises:
        Unauthorized, Forbidden: ``server.metrics`` keeps them from the caller.
    """
    who = request.app.ctx.metrics_for
    if who == ANYONE or (who == LOOPBACK and _is_of_this_machine(request)):
        return
    await require_administrator(services_of(request).authorizer, token_of(request))


def _is_of_this_machine(request: Request) -> bool:
    """Not a proxy's request, nor one that a web page makes under a name of its own for this machine."""
    named = host_name(request.headers.get("host", "")) in LOOPBACK_NAMES
    return named and request.ip in LOOPBACK_NAMES and not any(header in request.headers for header in FORWARDING)


async def _checks(services: Services) -> Mapping[str, bool]:
    database = await services.database_answers()
    if database:  # else it would be waited for
        with contextlib.suppress(DatabaseUnavailable):
            await services.catalog.catch_up()
    return {"catalog": services.catalog.reachable, "database": database}


def _counted() -> Iterator[Reading]:
    workers, counted = BOARD.readings()
    return iter([_one("wkdvid_workers", "Worker processes that live", (), (), workers), *counted])


async def _of_the_server(services: Services) -> list[Reading]:
    """What is no worker's own."""
    checks = await _checks(services)
    jobs = await services.jobs.counts() if checks["database"] else {}
    return [
        _one("wkdvid_build_info", "The version that runs", ("version",), (__version__,), 1),
        *(_one("wkdvid_up", "Whether it can be had", ("what",), (what,), is_up) for what, is_up in checks.items()),
        *(_one("wkdvid_jobs", "Jobs that are known", ("state",), (state.value,), n) for state, n in jobs.items()),
    ]


def _one(name: str, text: str, labels: Labels, values: Labels, value: float) -> Reading:
    return Reading(Family("gauge", name, text, labels), values, (value,))
