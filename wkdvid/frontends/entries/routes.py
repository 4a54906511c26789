"""What is written of a dataset, to be seen and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.entries import DatasetKey
from wkdvid.errors import InvalidRequest, WkdvidError
from wkdvid.frontends.http import api_failed, json_body, json_reply, require_administration, services_of, token_of

PATH = "/api/entries/<organization>/<name>"


def blueprint() -> Blueprint:
    bp = Blueprint("entries")
    bp.add_route(show, PATH, methods=("GET", "HEAD"), unquote=True, name="show", ctx_access="administrate")
    bp.add_route(edit, PATH, methods=("PUT",), unquote=True, name="edit", ctx_access="administrate")
    bp.exception(WkdvidError)(api_failed)
    return bp


async def show(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    entry = await services_of(request).registrar.entry(DatasetKey(organization, name))
    return json_reply({"backend": entry.backend, "options": entry.options, "tag": entry.tag})


async def edit(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    options, tag = parse_edit(json_body(request))
    await services_of(request).registrar.edit(DatasetKey(organization, name), options, tag)
    return json_reply({"changed": [organization, name]})


def parse_edit(body: Any) -> tuple[Mapping[str, Any], str]:
    """
    Raises:
        InvalidRequest: not ``options``, an object, and ``tag``, a text.
    """
    match body:
        case {"options": dict(options), "tag": str(tag)} if len(body) == 2:
            return options, tag
    raise InvalidRequest("expected an object with options, an object, and tag, as they were shown, and nothing else")
