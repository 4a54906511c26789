"""Has the server look at an address, by its own guard and with its own credentials: as a registration would."""

from __future__ import annotations

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.errors import WkdvidError
from wkdvid.frontends.http import api_failed, json_body, json_reply, require_administration, services_of, token_of


def blueprint() -> Blueprint:
    bp = Blueprint("inspect")
    bp.add_route(inspect, "/api/inspect", methods=("POST",), ctx_access="administrate")
    bp.exception(WkdvidError)(api_failed)
    return bp


async def inspect(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    return json_reply(await services_of(request).inspect(json_body(request)))
