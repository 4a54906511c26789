"""The pages: the datasets, and the description of the API with a page to read it."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from functools import partial

import orjson
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, empty, file, redirect
from xxhash import xxh3_64_hexdigest

from wkdvid.core.access import Action, allowed
from wkdvid.core.body_cache import Body
from wkdvid.core.catalog import Dataset
from wkdvid.core.layers import Layer
from wkdvid.core.services import SETTLE_S
from wkdvid.core.single_flight import SingleFlight
from wkdvid.errors import BackendError, NotFound, UnsupportedRequest, UpstreamUnavailable, WkdvidError
from wkdvid.extras import install
from wkdvid.frontends.home.answers import HEADERS, PRIVATE, failed, page
from wkdvid.frontends.home.assets import ASSETS, KEPT, SVG, caching
from wkdvid.frontends.home.dataset_view import view_of
from wkdvid.frontends.home.facts import first_layer, make_card
from wkdvid.frontends.home.histogram import Histogram, histogram_of
from wkdvid.frontends.home.listing import parse_search, select
from wkdvid.frontends.home.look import parse_at, parse_look
from wkdvid.frontends.home.neuroglancer import CONTENT_TYPES, PAGE, built_client
from wkdvid.frontends.home.openapi import describe_routes
from wkdvid.frontends.home.pages import render
from wkdvid.frontends.home.slices import (
    card_picture,
    cut,
    find_plane,
    format_of,
    middle_of,
    slice_picture,
    whole_of,
)
from wkdvid.frontends.home.ways_in import ways_in
from wkdvid.frontends.http import (
    API_STATUS,
    CORS,
    HTML,
    TEXT,
    base_of,
    json_reply,
    reply,
    services_of,
    status_for,
    token_of,
)

READING = ("GET", "HEAD")
API_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": f"{HEADERS['Content-Security-Policy']}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:",
}
"""Swagger UI sets styles within the page and draws its icons from data: URLs."""


def _viewer_headers(scripts: str) -> dict[str, str]:
    policy = (
        f"{HEADERS['Content-Security-Policy']}; script-src 'self' {scripts}; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' data: blob:"
    )
    return {**HEADERS, "Content-Security-Policy": policy}


VIEWER_HEADERS = _viewer_headers("'wasm-unsafe-eval'")
"""Neuroglancer sets styles, and decodes by WebAssembly."""
WORKER_HEADERS = _viewer_headers("'unsafe-eval'")
"""Workers heed those of their own file. In one its JPEG decoder makes functions of texts."""
INSPECTED_S = 60.0
KEPT_SHORTLY = {"Cache-Control": "private, max-age=300", "Vary": "Cookie"}
DATASET = "/datasets/<organization:str>/<name:str>"


def blueprint() -> Blueprint:
    bp = Blueprint("home")
    bp.add_route(index, "/", methods=READING, ctx_access="read")
    for handler, path in (
        (dataset_page, ""),
        (picture, "/picture"),
        (plane_picture, "/layers/<layer:str>/slices/<plane:str>"),
    ):
        bp.add_route(handler, DATASET + path, methods=READING, unquote=True, ctx_access="read")
    looked_at = partial(source_page, SingleFlight())
    bp.add_route(looked_at, f"{DATASET}/source", methods=READING, name="source", unquote=True, ctx_access="read")
    bp.add_route(viewer, f"/{PAGE}", methods=READING, ctx_access="public")
    bp.add_route(viewer_file, f"/{PAGE}<name>", methods=READING, ctx_access="public")
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
    services, look = services_of(request), parse_look(request.args)
    try:
        dataset = await _dataset(request, organization, name)
    except UpstreamUnavailable:
        return await _closed_page(request, organization, name)
    layer = dataset.layer(look.layer) if look.layer is not None else first_layer(dataset)
    values: Histogram | BackendError | None
    try:
        values = await histogram_of(services, layer)
    except BackendError as error:
        values = error
    base = base_of(request)
    ways = ways_in(dataset, layer, middle_of(whole_of(layer)), base, request.app.ctx.webknossos_url)
    view = view_of(dataset, layer, look, values, ways, base)
    card, acts = make_card(dataset, request.app.ctx.access_mode), await _administrates(request, dataset)
    has_viewer, has_source = built_client() is not None, not services.links.shows_part(token_of(request))
    shown = {"card": card, "view": view, "has_viewer": has_viewer, "has_source": has_source, "administrates": acts}
    return await page(request, "dataset.html", 200, None, **shown)


async def _administrates(request: Request, dataset: Dataset) -> bool:
    return await allowed(services_of(request).authorizer, token_of(request), Action.ADMINISTRATE, dataset)


async def _closed_page(request: Request, organization: str, name: str) -> HTTPResponse:
    """A dataset whose source cannot be read now: administrators may edit and remove it all the same.

    Raises:
        NotFound: the caller may not know of it.
        UpstreamUnavailable: nobody knows whether they may.
    """
    services, token = services_of(request), token_of(request)
    dataset = services.catalog.find((organization, name))
    if not await allowed(services.authorizer, token, Action.READ, dataset):
        raise NotFound(f"there is no dataset {organization}/{name}")
    dataset = services.links.seen(dataset, token)
    card, acts = make_card(dataset, request.app.ctx.access_mode), await _administrates(request, dataset)
    return await page(request, "closed.html", 503, None, card=card, administrates=acts)


async def source_page(looking: SingleFlight[Body], request: Request, organization: str, name: str) -> HTTPResponse:
    """What an inspection finds at the sources of a dataset: whoever may see it can ask for one a minute.

    Args:
        looking: Those who ask at the same time wait for one inspection.
    Raises:
        NotFound: as ``Services.dataset``, or the caller sees one layer, and an inspection is of all.
    """
    services, dataset = services_of(request), await _dataset(request, organization, name)
    if services.links.shows_part(token_of(request)):
        raise NotFound(f"this link shows a layer of {dataset.key}, not the dataset's source")

    async def look() -> Body:
        return orjson.dumps(await services.inspect({"backend": dataset.entry.backend, **dataset.entry.options}))

    key = ("source", dataset.key, dataset.generation, int(time.monotonic() // INSPECTED_S))
    found = orjson.loads(await looking.ask(key, lambda: services.kept(key, look)))
    layers = [layer for layer in found["layers"] if layer["name"] in dataset.layers]  # that the caller may see
    problems = found["problems"] if len(layers) == len(found["layers"]) else []
    card = make_card(dataset, request.app.ctx.access_mode)
    return await page(request, "source.html", card=card, layers=layers, problems=problems)


async def _dataset(request: Request, organization: str, name: str) -> Dataset:
    return await services_of(request).dataset((organization, name), token_of(request))


async def picture(request: Request, organization: str, name: str) -> HTTPResponse:
    layer = first_layer(await _dataset(request, organization, name))
    return await _picture(request, layer, card_picture(services_of(request), layer))


async def plane_picture(request: Request, organization: str, name: str, layer: str, plane: str) -> HTTPResponse:
    wanted, look, services = find_plane(plane), parse_look(request.args), services_of(request)
    found = (await _dataset(request, organization, name)).layer(layer)
    at = parse_at(request.args, middle_of(whole_of(found))[wanted.across])
    made = slice_picture(services, found, cut(found, wanted, at), look.tone)
    return await _picture(request, found, made)


async def _picture(request: Request, layer: Layer, made: Awaitable[Body]) -> HTTPResponse:
    """A picture that browsers keep; of what cannot be read, one that says so."""
    try:
        body = await made
    except BackendError as error:
        status = status_for(error, API_STATUS)
        return HTTPResponse(
            render("unreadable.svg", request.path, text=str(error)), status, {**HEADERS, **PRIVATE}, SVG
        )
    tag = f'"{xxh3_64_hexdigest(body)}"'
    headers = {**HEADERS, **KEPT_SHORTLY, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return HTTPResponse(None, 304, headers)
    return HTTPResponse(bytes(body), 200, headers, format_of(layer).media_type)


async def viewer(request: Request) -> HTTPResponse:
    if not request.path.endswith("/"):
        return redirect(f"{request.path.rpartition('/')[2]}/")  # what the page loads is named relative to it
    client = built_client()
    if client is None:
        raise UnsupportedRequest(f"Neuroglancer is not installed on this server: {install('viewer')}")
    return HTTPResponse(render("viewer.html", request.path, client=client), 200, VIEWER_HEADERS, HTML)


async def viewer_file(request: Request, name: str) -> HTTPResponse:
    client = built_client()
    path = None if client is None else client.files.get(name)
    if path is None:
        return reply("there is no such file\n", TEXT, 404, HEADERS)
    headers = {**WORKER_HEADERS, **KEPT}
    return await file(path, request_headers=request.headers, mime_type=CONTENT_TYPES[path.suffix], headers=headers)


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
