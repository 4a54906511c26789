"""Pages as they are answered: with who looks at them, under a strict Content-Security-Policy, and when they fail."""

from __future__ import annotations

import logging
from http import HTTPStatus

from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.errors import NotFound, RequestError, WkdvidError
from wkdvid.frontends.home.account import Account, account_of
from wkdvid.frontends.home.pages import render
from wkdvid.frontends.http import HTML, base_of, token_of
from wkdvid.identity.own import COOKIE

log = logging.getLogger("wkdvid.home")

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""A page's address may hold a token."""
PRIVATE = {"Cache-Control": "private, no-cache"}
"""What a page shows depends on who asks for it."""


def token_of_browser(request: Request) -> str | None:
    """Of the request, else of the login that the browser keeps: for what is only read."""
    return token_of(request) or request.cookies.get(COOKIE)


async def page(request: Request, template: str, status: int = 200, **values: object) -> HTTPResponse:
    """A page with its header, which says who looks at it.

    Args:
        values: As ``render``'s.

    Raises:
        UpstreamUnavailable, DatabaseUnavailable: who it is cannot be known now.
    """
    account = await _account(request)
    return html(render(template, request.path, account=account, base=base_of(request), **values), status)


def html(text: str, status: int = 200) -> HTTPResponse:
    return HTTPResponse(text, status, {**HEADERS, **PRIVATE}, HTML)


async def _account(request: Request) -> Account | None:
    if request.app.ctx.access_mode != "clio":
        return None
    clio = request.app.ctx.clio
    token, prefix = token_of_browser(request), clio.config.url_prefix or ""
    return await account_of(clio.identities, token, prefix, request.path, has_login=clio.login is not None)


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    """A page that says why. Without its account: whether that can be known is part of what may have failed."""
    status, heading = _told(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not error.is_said:
        log.warning("%s: %s", request.path, error)
    return html(render("failure.html", request.path, heading=heading, text=str(error)), status)


def _told(error: WkdvidError) -> tuple[int, str]:
    if isinstance(error, NotFound):
        return 404, "There is no such page"
    if isinstance(error, RequestError):
        return 400, "This cannot be shown"
    return 503, "This cannot be shown now"
