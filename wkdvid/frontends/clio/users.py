"""Users, their roles, and the tokens that they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wkdvid.core.users import User
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.clio.calls import Access, Call, Route, Unprocessable, problem

_TEXTS = ("name", "org", "picture")


async def roles(call: Call) -> Mapping[str, Any]:
    return document(call, call.user)


async def listed(call: Call) -> Mapping[str, Any]:
    return {user.email: document(call, user) for user in await call.clio.users.all()}


async def put(call: Call) -> None:
    wanted = call.json()
    if not isinstance(wanted, dict):
        raise Unprocessable([problem(("body",), "Input should be an object of users by email", "dict_type")])
    users = [await _user(call, email, options) for email, options in wanted.items()]
    for user in users:
        await call.clio.users.put(user, call.user.email)


async def _user(call: Call, email: str, options: Any) -> User:
    if "@" not in email:
        raise InvalidRequest(
            f"{email[:80]!r} is no email address; write {{EMAIL: {{'global_roles': [...], 'datasets': {{...}}}}}}"
        )
    if not isinstance(options, dict):
        raise Unprocessable([problem(("body", email), "Input should be an object", "dict_type")])
    stored = await call.clio.users.find(email.lower()) or User(email=email.lower())
    held = call.clio.names.held
    datasets = _member(email, options, "datasets", dict, {})
    return replace(
        stored,
        global_roles=_texts((email, "global_roles"), options.get("global_roles", options.get("clio_global", []))),
        datasets={held(name): _texts((email, "datasets", name), one) for name, one in datasets.items()},
        groups=_texts((email, "groups"), options["groups"]) if "groups" in options else stored.groups,
        disabled=_member(email, options, "disabled", bool, stored.disabled),
        **{name: _member(email, options, name, str | None, getattr(stored, name)) for name in _TEXTS},
    )


def _member(email: str, options: Mapping[str, Any], name: str, kind: Any, default: Any) -> Any:
    value = options.get(name, default)
    if not isinstance(value, kind):
        raise Unprocessable([problem(("body", email, name), f"Input should be {kind}", "type")])
    return value


def _texts(loc: tuple[str, ...], value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise Unprocessable([problem(("body", *loc), "Input should be a list of texts", "list_type")])
    return tuple(dict.fromkeys(value))


async def remove(call: Call) -> None:
    emails = call.json()
    if not isinstance(emails, list) or not all(isinstance(email, str) for email in emails):
        raise Unprocessable([problem(("body",), "Input should be a list of emails", "list_type")])
    for email in emails:
        await call.clio.users.remove(email.lower(), call.user.email)


async def token(call: Call) -> str:
    """A token of ours for whoever is logged in, by whichever way (clio.md B.2)."""
    identity = await call.clio.identities.identify(call.token)
    return call.clio.identities.own.mint(identity.email, identity.claims)


async def refresh(call: Call) -> None:
    """Nothing to do: changes are seen by themselves."""


def document(call: Call, user: User) -> Mapping[str, Any]:
    """(clio.md B.3)"""
    shown = call.clio.names.shown
    return {
        "email": user.email,
        "name": user.name,
        "org": user.org,
        "picture": user.picture,
        "disabled": user.disabled,
        "global_roles": list(user.global_roles),
        "datasets": {shown(held): list(one) for held, one in user.datasets.items()},
        "datasets_ignore_tos": {},
        "missing_tos": [],
        "groups": list(user.groups),
    }


ROUTES = (
    Route(("GET",), "/roles", roles, Access.USER),
    Route(("GET",), "/users", listed, Access.ADMIN),
    Route(("POST", "PUT"), "/users", put, Access.ADMIN),
    Route(("DELETE",), "/users", remove, Access.ADMIN),
    Route(("POST",), "/server/token", token, Access.USER),
    Route(("POST",), "/server/refresh-caches", refresh, Access.USER),
    Route(("POST",), "/refresh-caches", refresh, Access.USER),
)
