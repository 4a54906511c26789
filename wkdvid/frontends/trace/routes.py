"""The routes of webknossos-connect's tracing, for administrators alone: its own were open to everybody."""

from __future__ import annotations

from functools import partial

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.errors import InvalidRequest, WkdvidError
from wkdvid.frontends.http import API_STATUS, HTML, TEXT, api_failed, reply, require_administration, token_of
from wkdvid.frontends.trace.recorder import Busy, NotInstalled, Recorder, find_py_spy

SECONDS = range(1, 61)
USUAL = 20
SVG = "image/svg+xml"
GRAPH_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "sandbox allow-scripts",
    "Cache-Control": "no-store",
}
"""The graph can be searched and zoomed by its own script, which can reach nothing else."""
STATUS = {**API_STATUS, Busy: 409, NotInstalled: 501}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>wkdvid: trace</title>
<h1>What the server spends its time on</h1>
<p>Records the worker that answers for 20 seconds (or <code>?seconds=</code> 1 to 60) and shows a flame graph.</p>
<form method="post"><button>Record</button></form></html>"""
"""The form posts to the page's own address, with the token in it."""
PAGE_HEADERS = {"Referrer-Policy": "same-origin"}
"""Otherwise a browser would not say from which page the form is sent, and it would be refused."""


def blueprint() -> Blueprint:
    bp = Blueprint("trace")
    for path in ("/trace", "/triggers/trace"):
        bp.add_route(show_page, path, methods=("GET", "HEAD"), name=f"page_{path}", ctx_access="administrate")
    bp.add_route(record, "/trace", methods=("POST",), ctx_access="administrate")
    bp.add_route(record_silently, "/triggers/trace", methods=("POST",), ctx_access="administrate")
    bp.add_route(show_last, "/triggers/trace/flame.svg", methods=("GET", "HEAD"), ctx_access="administrate")
    bp.exception(WkdvidError)(partial(api_failed, statuses=STATUS))
    return bp


async def show_page(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    find_py_spy()
    return reply(PAGE, HTML, 200, PAGE_HEADERS)


async def record(request: Request) -> HTTPResponse:
    return reply(await _recorded(request), SVG, 200, GRAPH_HEADERS)


async def record_silently(request: Request) -> HTTPResponse:
    """As webknossos-connect has it: the graph is asked for afterwards."""
    await _recorded(request)
    return reply("Ok", TEXT)


async def show_last(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    return reply(_recorder(request).last(), SVG, 200, GRAPH_HEADERS)


async def _recorded(request: Request) -> bytes:
    await require_administration(request, token_of(request))
    text = str(request.args.get("seconds", USUAL))
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) not in SECONDS:
        raise InvalidRequest(f"seconds: expected a whole number from {SECONDS[0]} to {SECONDS[-1]}, got {text[:20]!r}")
    return await _recorder(request).record(int(text))


def _recorder(request: Request) -> Recorder:
    recorder: Recorder = request.app.ctx.recorder
    return recorder
