"""The pages: the datasets, and the description of the API with a page to read it."""

from __future__ import annotations

from functools import partial

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, empty, file, redirect

from wkdvid.core.services import SETTLE_S
from wkdvid.errors import WkdvidError
from wkdvid.frontends.home.answers import HEADERS, failed, page
from wkdvid.frontends.home.assets import ASSETS, caching
from wkdvid.frontends.home.facts import make_card
from wkdvid.frontends.home.listing import parse_search, select
from wkdvid.frontends.home.openapi import describe_routes
from wkdvid.frontends.home.pages import render
from wkdvid.frontends.http import CORS, HTML, TEXT, json_reply, reply, services_of, token_of

READING = ("GET", "HEAD")
API_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": f"{HEADERS['Content-Security-Policy']}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:",
}
"""Swagger UI sets styles within the page and draws its icons from data: URLs."""


def blueprint() -> Blueprint:
    bp = Blueprint("home")
    bp.add_route(index, "/", methods=READING, ctx_access="read")
    bp.add_route(
        dataset_page, "/datasets/<organization:str>/<name:str>", methods=READING, unquote=True, ctx_access="read"
    )
    bp.add_route(partial(docs, "docs.js"), "/docs", methods=READING, name="docs", ctx_access="public")
    bp.add_route(partial(docs, "redoc.js"), "/redoc", methods=READING, name="redoc", ctx_access="public")
    bp.add_route(description, "/openapi.json", methods=READING, ctx_access="public")
    bp.add_route(asset, "/assets/<name>", methods=READING, ctx_access="public")
    bp.add_route(icon, "/favicon.ico", methods=READING, ctx_access="public")
    bp.exception(WkdvidError)(failed)
    return bp


async def index(request: Request) -> HTTPResponse:
    services, search = services_of(request), parse_search(request.args)
    listing = select(await services.listed(token_of(request)), search)
    await services.catalog.settle(SETTLE_S, listing.shown)
    cards = [make_card(dataset, request.app.ctx.access_mode) for dataset in listing.shown]
    return await page(request, "index.html", listing=listing, search=search, cards=cards)


async def dataset_page(request: Request, organization: str, name: str) -> HTTPResponse:
    dataset = await services_of(request).dataset((organization, name), token_of(request))
    return await page(request, "dataset.html", card=make_card(dataset, request.app.ctx.access_mode))


async def docs(script: str, request: Request) -> HTTPResponse:
    if request.path.endswith("/"):
        return redirect(f"..{request.path.rstrip('/')}")  # what the page loads is named relative to it
    return HTTPResponse(render("api.html", request.path, script=script), 200, API_HEADERS, HTML)


async def description(request: Request) -> HTTPResponse:
    return json_reply(describe_routes(request.app.router.routes), headers=HEADERS)


async def asset(request: Request, name: str) -> HTTPResponse:
    if name not in ASSETS:
        return reply("there is no such file\n", TEXT, 404, HEADERS)
    path, content_type = ASSETS[name]
    headers = {**CORS, **HEADERS, **caching(name, request.args.get("v"))}
    return await file(path, request_headers=request.headers, mime_type=content_type, headers=headers)


async def icon(request: Request) -> HTTPResponse:
    """There is none; without an answer every page view would log a refusal in the browser."""
    return empty(204, HEADERS)
