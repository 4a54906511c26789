"""Has the server look at an address, by its own guard and with its own credentials: as a registration would."""

from __future__ import annotations

import logging

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.errors import InvalidEntry, WkdvidError
from wkdvid.frontends.http import (
    json_body,
    json_reply,
    request_id,
    require_administration,
    services_of,
    status_for,
    token_of,
)
from wkdvid.frontends.inspect.status import STATUS

log = logging.getLogger("wkdvid.inspect")


def blueprint() -> Blueprint:
    bp = Blueprint("inspect")
    bp.add_route(inspect, "/api/inspect", methods=("POST",), ctx_access="administrate")
    bp.exception(WkdvidError)(failed)
    return bp


async def inspect(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    return json_reply(await services_of(request).inspect(json_body(request)))


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    status, number = status_for(error, STATUS), request_id()
    if status >= 500:
        log.warning("request %s: %s: %s", number, type(error).__name__, error)
    texts = error.problems if isinstance(error, InvalidEntry) else [str(error)]
    messages = [{"error": text} for text in texts]
    return json_reply({"messages": messages, "code": error.code, "requestId": number}, status)
