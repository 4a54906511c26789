"""Pages as they are answered: with who looks at them, under a strict Content-Security-Policy, and when they fail."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from http import HTTPStatus

from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.access import Action, allowed
from wkdvid.core.links import is_link
from wkdvid.errors import Conflict, Forbidden, NotFound, RequestError, Unauthorized, WkdvidError
from wkdvid.frontends.home.account import ADMINISTRATOR, Account, name_in, sign_in_address
from wkdvid.frontends.home.pages import render, root_of
from wkdvid.frontends.http import HTML, TEXT, base_of, services_of, session_token, token_of

log = logging.getLogger("wkdvid.home")

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""A page's address may hold a token."""
WITH_FORMS = {"Referrer-Policy": "same-origin"}
"""Otherwise a browser would not say from which page a form is sent. Other hosts are told nothing all the same."""
WITH_PICTURES = {"Content-Security-Policy": f"{POLICY}; img-src 'self' data:"}
PRIVATE = {"Cache-Control": "private, no-cache"}
"""What a page shows depends on who asks for it."""
NOTICES = {
    "added": "Added.",
    "changed": "Changed.",
    "reloaded": "Its sources are being opened afresh.",
    "removed": "Removed. The voxels stay where they are.",
    "started": "The job is queued.",
    "cancelled": "Cancelled.",
    "made": "The link is made.",
    "link-revoked": "The link is revoked.",
    "revoked": "No token that was made until now counts any more.",
}
"""By what the page before has done."""
HEADINGS: Mapping[type[WkdvidError], tuple[int, str]] = {
    NotFound: (404, "There is no such page"),
    Unauthorized: (401, "Sign in to see this"),
    Forbidden: (403, "This is not for you"),
    Conflict: (409, "Somebody else was faster"),
    RequestError: (400, "This cannot be done"),
    WkdvidError: (503, "This cannot be shown now"),
}
"""Status and heading of an error, the most special first."""


async def page(
    request: Request, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
) -> HTTPResponse:
    """A page with its header, which says who looks at it.

    Args:
        values: As ``render``'s.

    Raises:
        UpstreamUnavailable, DatabaseUnavailable: who it is cannot be known now.
    """
    account, notice = await account_of(request), NOTICES.get(request.args.get("done", ""))
    text = render(template, request.path, account=account, base=base_of(request), notice=notice, **values)
    return html(text, status, {**(WITH_FORMS if account.has_forms else {}), **(headers or {})})


def html(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    return HTTPResponse(text, status, {**HEADERS, **PRIVATE, **(headers or {})}, HTML)


def see(request: Request, address: str, done: str = "", cookie: str | None = None) -> HTTPResponse:
    """Send the browser to another page.

    Args:
        address: Relative to the server's root, beginning with no slash.
        done: A key of ``NOTICES``.
        cookie: ``Set-Cookie``.
    """
    location = f"./{root_of(request.path)}{address}{f'?done={done}' if done else ''}"
    headers = {"Location": location, **PRIVATE, **({"Set-Cookie": cookie} if cookie else {})}
    return HTTPResponse("", 303, headers, TEXT)


async def account_of(request: Request) -> Account:
    """
    Raises:
        UpstreamUnavailable, DatabaseUnavailable: who it is cannot be known now.
    """
    mode, token = request.app.ctx.access_mode, token_of(request)
    if token is not None and is_link(token):
        return Account()
    administrates = await allowed(services_of(request).authorizer, token, Action.ADMINISTRATE, None)
    name = ADMINISTRATOR if administrates else None
    if mode == "clio":
        name = await name_in(request.app.ctx.clio.identities, token)
    elif mode == "webknossos" and token is not None and not administrates:
        name = "User of webKnossos"
    return Account(
        name=None if mode == "open" else name,
        sign_in=None if request.path == "/sign-in" else sign_in_address(mode, request.path, login_of(request)),
        may_sign_out=name is not None and session_token(request) is not None,
        administrates=administrates,
        has_users=mode == "clio",
    )


def login_of(request: Request) -> str | None:
    """Where a login with a provider begins; None: there is no provider."""
    clio = request.app.ctx.clio
    return f"{clio.config.url_prefix or ''}/login" if clio.logins else None


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    """A page that says why; without its account where that cannot be known, which may be what has failed."""
    status, heading = next(HEADINGS[kind] for kind in type(error).__mro__ if kind in HEADINGS)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not error.is_said:
        log.warning("%s: %s", request.path, error)
    account = Account()
    with contextlib.suppress(WkdvidError):
        account = await account_of(request)
    text = render("failure.html", request.path, account=account, heading=heading, text=str(error))
    return html(text, status, WITH_FORMS if account.has_forms else None)
