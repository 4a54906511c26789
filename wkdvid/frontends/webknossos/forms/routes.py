"""Adding one dataset, and looking at what "add remote dataset" names.

The form "Add wk-connect Dataset" posts a whole document to ``/data/datasets``, as any client may.
"""

from __future__ import annotations

from typing import Any

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.entries import Document
from wkdvid.errors import InvalidRequest, WkdvidError
from wkdvid.frontends.http import datastore_of, json_body, json_reply, require_administration, token_of
from wkdvid.frontends.router import add_route
from wkdvid.frontends.webknossos.routes import failed
from wkdvid.frontends.webknossos.versions import ALL


def blueprint() -> Blueprint:
    bp = Blueprint("webknossos_forms")
    add_route(bp, ("",), "POST", "/api/<backend>/<organization>/<name>", register_one, "administrate")
    add_route(bp, ALL, "POST", "/datasets/exploreRemote", explore, "administrate")
    bp.exception(WkdvidError)(failed)
    return bp


async def register_one(request: Request, backend: str, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    document = one_dataset(json_body(request), backend, organization, name)
    keys = await datastore_of(request).registrar.register(document)
    return json_reply({"added": [list(key) for key in keys]})


def one_dataset(body: Any, backend: str, organization: str, name: str) -> Document:
    """The document of one dataset, whose options are the body.

    webknossos-connect's README posts its whole datasets.json instead: the dataset is then taken out of that.

    Raises:
        InvalidRequest: the body is such a document, and the dataset is not in it.
    """
    if isinstance(body, dict) and backend in body:
        try:
            body = body[backend][organization][name]
        except (KeyError, TypeError):
            raise InvalidRequest(f"body: there is no {backend}.{organization}.{name} in this document") from None
    return {backend: {organization: {name: body}}}


async def explore(request: Request) -> HTTPResponse:
    """Asked by the main server, for its form."""
    await require_administration(request, token_of(request))
    return json_reply(await datastore_of(request).explore(json_body(request)))
