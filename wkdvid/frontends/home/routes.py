"""The page that lists the datasets and their addresses, and the description of the API with a page to read it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, empty, file, redirect
from swagger_ui_bundle import swagger_ui_path

from wkdvid.errors import WkdvidError
from wkdvid.frontends.home.openapi import describe_routes
from wkdvid.frontends.home.page import DOCS, REDOC, failure_page, home_page
from wkdvid.frontends.http import CORS, HTML, TEXT, base_of, json_reply, reply, services_of, token_of

log = logging.getLogger("wkdvid.home")

READING = ("GET", "HEAD")
CSS = "text/css; charset=utf-8"
JAVASCRIPT = "text/javascript; charset=utf-8"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Swagger UI sets styles within the page and draws its icons from data: URLs. A page's address may hold a token."""
STATIC = Path(__file__).parent / "static"
ASSETS: Mapping[str, tuple[Path, str]] = {
    "home.css": (STATIC / "home.css", CSS),
    "docs.js": (STATIC / "docs.js", JAVASCRIPT),
    "redoc.js": (STATIC / "redoc.js", JAVASCRIPT),
    "swagger-ui.css": (Path(str(swagger_ui_path)) / "swagger-ui.css", CSS),
    "swagger-ui-bundle.js": (Path(str(swagger_ui_path)) / "swagger-ui-bundle.js", JAVASCRIPT),
}
"""All that the pages load: nothing comes from another host."""


def blueprint() -> Blueprint:
    bp = Blueprint("home")
    bp.add_route(index, "/", methods=READING, ctx_access="read")
    bp.add_route(partial(docs, DOCS), "/docs", methods=READING, name="docs", ctx_access="public")
    bp.add_route(partial(docs, REDOC), "/redoc", methods=READING, name="redoc", ctx_access="public")
    bp.add_route(description, "/openapi.json", methods=READING, ctx_access="public")
    bp.add_route(asset, "/assets/<name>", methods=READING, ctx_access="public")
    bp.add_route(icon, "/favicon.ico", methods=READING, ctx_access="public")
    bp.exception(WkdvidError)(failed)
    return bp


async def index(request: Request) -> HTTPResponse:
    datasets = await services_of(request).visible(token_of(request))
    return _page(home_page(datasets, base_of(request)))


async def docs(page: str, request: Request) -> HTTPResponse:
    if request.path.endswith("/"):
        return redirect(f"..{request.path.rstrip('/')}")  # what the page loads is named relative to it
    return _page(page)


async def description(request: Request) -> HTTPResponse:
    return json_reply(describe_routes(request.app.router.routes), headers=HEADERS)


async def asset(request: Request, name: str) -> HTTPResponse:
    if name not in ASSETS:
        return reply("there is no such file\n", TEXT, 404, HEADERS)
    path, content_type = ASSETS[name]
    return await file(path, request_headers=request.headers, mime_type=content_type, headers={**CORS, **HEADERS})


async def icon(request: Request) -> HTTPResponse:
    """There is none; without an answer every page view would log a refusal in the browser."""
    return empty(204, HEADERS)


def _page(html: str, status: int = 200) -> HTTPResponse:
    return HTTPResponse(html, status, HEADERS, HTML)


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    if not error.is_said:
        log.warning("%s: %s", request.path, error)
    return _page(failure_page(str(error)), 503)
