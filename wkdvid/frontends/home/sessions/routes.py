"""The page where one signs in. The token is kept in a cookie that no script can read."""

from __future__ import annotations

from http import HTTPStatus

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.access import Action, allowed
from wkdvid.core.links import is_link
from wkdvid.errors import NotFound
from wkdvid.frontends.home.account import name_in
from wkdvid.frontends.home.answers import WITH_FORMS, login_of, page, see
from wkdvid.frontends.home.forms import Form, read_form
from wkdvid.frontends.home.sessions.tokens import problem_of, where_next
from wkdvid.frontends.http import base_of, cookie_header, refuse_unknown_forms, services_of, token_of

READING = ("GET", "HEAD")


def add_routes(bp: Blueprint) -> None:
    bp.add_route(ask, "/sign-in", methods=READING, name="sign_in_page", ctx_access="public")
    bp.add_route(sign_in, "/sign-in", methods=("POST",), name="sign_in", ctx_access="session")
    bp.add_route(sign_out, "/sign-out", methods=("POST",), name="sign_out", ctx_access="session")


async def ask(request: Request) -> HTTPResponse:
    return await _page(request, Form())


async def sign_in(request: Request) -> HTTPResponse:
    _refuse_foreign(request)
    token = read_form(request.body).text("token")
    problem = problem_of(token) or await _refusal(request, token)
    if problem is not None:
        return await _page(request, Form(errors={"token": [problem]}))
    cookie = cookie_header(base_of(request), request.app.ctx.session_cookie, token)
    return see(request, where_next(request.args.get("next", "")), cookie=cookie)


async def sign_out(request: Request) -> HTTPResponse:
    _refuse_foreign(request)
    return see(request, "", cookie=cookie_header(base_of(request), request.app.ctx.session_cookie, "", 0))


async def _refusal(request: Request, token: str) -> str | None:
    """Why nobody can sign in with a token. Of a webKnossos user's that cannot be known before a dataset is asked for.

    Raises:
        NotFound: nobody needs to.
        UpstreamUnavailable, DatabaseUnavailable: whose it is cannot be known now.
    """
    mode = request.app.ctx.access_mode
    if mode == "open":
        raise NotFound("nobody needs to sign in to this server: anyone may do everything")
    if mode == "token" and not await allowed(services_of(request).authorizer, token, Action.ADMINISTRATE, None):
        return "This is not the administrators' token."
    if mode == "clio" and await name_in(request.app.ctx.clio.identities, token) is None:
        return "This token is nobody's, or does not count any more."
    return None


def _refuse_foreign(request: Request) -> None:
    """Nobody else's page signs one in, or out.

    Raises:
        Forbidden: the request may come from such a page.
    """
    request.app.ctx.origins.check(request)
    refuse_unknown_forms(request)


async def _page(request: Request, form: Form) -> HTTPResponse:
    mode = request.app.ctx.access_mode
    status = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
    shown = {"form": form, "mode": mode, "login": login_of(request), "next": where_next(request.args.get("next", ""))}
    token = token_of(request)
    by_link = token is not None and is_link(token)  # whose address says nothing of itself
    return await page(request, "sign_in.html", status, None if by_link else WITH_FORMS, **shown)
