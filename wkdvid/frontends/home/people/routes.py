"""Users as pages: their roles, and tokens for them. What ``wkdvid user`` and ``wkdvid token`` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.users import User, with_role
from wkdvid.errors import NotFound
from wkdvid.frontends.home.answers import page, see
from wkdvid.frontends.home.forms import Form, read_form
from wkdvid.frontends.home.people import facts
from wkdvid.frontends.http import require_administration, services_of, token_of
from wkdvid.identity.chain import Identities

READING = ("GET", "HEAD")
UNKEPT = {"Cache-Control": "no-store"}
"""A page with a token that is shown once."""


def add_routes(bp: Blueprint) -> None:
    for path, handler, methods in (
        ("/people", all_users, READING),
        ("/people", add_user, ("POST",)),
        ("/people/<email>", one_user, READING),
        ("/people/<email>/roles", change_role, ("POST",)),
        ("/people/<email>/tokens", mint_token, ("POST",)),
        ("/people/<email>/tokens/revoke", revoke_tokens, ("POST",)),
        ("/people/<email>/remove", ask_to_remove_user, READING),
        ("/people/<email>/remove", remove_user, ("POST",)),
    ):
        bp.add_route(handler, path, methods=methods, name=handler.__name__, unquote=True, ctx_access="administrate")


async def _identities(request: Request) -> tuple[Identities, str]:
    """Who is who, and the email of who asks.

    Raises:
        Unauthorized, Forbidden: it is no administrator, or the request may come from a foreign page.
        NotFound: there are no users here.
    """
    await require_administration(request, token_of(request))
    if request.app.ctx.access_mode != "clio":
        raise NotFound("this server has no users: their roles decide in access mode clio alone")
    identities: Identities = request.app.ctx.clio.identities
    return identities, (await identities.user(token_of(request))).email


async def _known(identities: Identities, email: str) -> User:
    user = await identities.users.find(email.lower())
    if user is None:
        raise NotFound(f"there is no user {email[:100]!r}")
    return user


# ---- all of them -----------------------------------------------------------------------------------------------------


async def all_users(request: Request) -> HTTPResponse:
    return await _users_page(request, (await _identities(request))[0], Form())


async def add_user(request: Request) -> HTTPResponse:
    identities, by = await _identities(request)
    form = read_form(request.body)
    errors = facts.problems_of_user(form)
    if errors:
        return await _users_page(request, identities, form.with_errors(errors))
    email = form.text("email").lower()

    def change(stored: User | None) -> User:
        user = stored or User(email=email)
        groups = tuple(dict.fromkeys((*user.groups, *form.text("groups").split())))
        return replace(user, name=form.text("name") or user.name, groups=groups)

    await identities.users.change({email: change}, by)
    return see(request, facts.address_of(email), "added")


async def _users_page(request: Request, identities: Identities, form: Form) -> HTTPResponse:
    users = [facts.row_of(user) for user in await identities.users.all()]
    return await page(request, "users.html", _status(form), users=users, form=form)


# ---- one -------------------------------------------------------------------------------------------------------------


async def one_user(request: Request, email: str) -> HTTPResponse:
    identities, _ = await _identities(request)
    return await _user_page(request, await _known(identities, email), Form())


async def change_role(request: Request, email: str) -> HTTPResponse:
    """Give a role, or take one away."""
    identities, by = await _identities(request)
    user, form = await _known(identities, email), read_form(request.body)
    errors = facts.problems_of_role(form)
    if errors:
        return await _user_page(request, user, form.with_errors(errors))
    role, held = form.text("role"), form.text("act") != "remove"
    dataset = request.app.ctx.clio.names.held(form.text("dataset")) if form.text("dataset") else None

    def change(stored: User | None) -> User:
        return with_role(stored or user, role, dataset, held=held)

    await identities.users.change({user.email: change}, by)
    return see(request, facts.address_of(user.email), "changed")


async def mint_token(request: Request, email: str) -> HTTPResponse:
    identities, _ = await _identities(request)
    user, form = await _known(identities, email), read_form(request.body)
    errors = facts.problems_of_token(form)
    if errors:
        return await _user_page(request, user, form.with_errors(errors))
    days, opaque = float(form.text("days")), "opaque" in form.values
    token = await identities.new_token(user.email, days, opaque=opaque, label=form.text("label"))
    return await _user_page(request, user, Form(), UNKEPT, token=token)


async def revoke_tokens(request: Request, email: str) -> HTTPResponse:
    identities, by = await _identities(request)
    user = await _known(identities, email)
    await identities.users.revoke_tokens(user.email, by)
    return see(request, facts.address_of(user.email), "revoked")


async def ask_to_remove_user(request: Request, email: str) -> HTTPResponse:
    identities, _ = await _identities(request)
    user = await _known(identities, email)
    words = "Roles, groups and opaque tokens of this user are forgotten. What the user has written stays."
    return await page(request, "remove.html", what=user.email, words=words, address=facts.address_of(user.email))


async def remove_user(request: Request, email: str) -> HTTPResponse:
    identities, by = await _identities(request)
    user = await _known(identities, email)
    await identities.users.remove(user.email, by)
    return see(request, "people")


async def _user_page(
    request: Request, user: User, form: Form, headers: Mapping[str, str] | None = None, token: str = ""
) -> HTTPResponse:
    shown = {"user": facts.row_of(user), "roles": facts.ROLES, "datasets": await _datasets(request), "token": token}
    return await page(request, "user.html", _status(form), headers, form=form, **shown)


async def _datasets(request: Request) -> Sequence[str]:
    return sorted(str(dataset.key) for dataset in await services_of(request).listed(token_of(request)))


def _status(form: Form) -> HTTPStatus:
    return HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
