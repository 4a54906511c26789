"""Users, their roles, and the tokens that they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from wkdvid.core.users import DATASET_ADMIN, User
from wkdvid.errors import Forbidden, InvalidRequest
from wkdvid.frontends.clio.calls import Access, Call, Route, Unprocessable, is_name, problem
from wkdvid.metadata.audit import Line
from wkdvid.metadata.queries import expect

LINES, MOST_LINES = 100, 10_000
"""Of the record of changes, in an answer."""
_TEXTS = ("name", "org", "picture")


async def roles(call: Call) -> Mapping[str, Any]:
    return document(call, call.user)


async def listed(call: Call) -> Mapping[str, Any]:
    """All; to who administrates datasets alone, who has roles on these, and which."""
    users = await call.clio.users.all()
    if not call.user.has_role(DATASET_ADMIN):
        users = [one for user in users if (one := _of_administered(call, call.clio.names.holder(user))).datasets]
    return {user.email: {**document(call, user), "updated": user.updated} for user in users}


def _of_administered(call: Call, user: User) -> User:
    """What of a user whoever administrates datasets alone may know."""
    datasets = {name: roles for name, roles in user.datasets.items() if call.user.administers(name)}
    return User(email=user.email, name=user.name, datasets=datasets, updated=user.updated)


async def put(call: Call) -> None:
    wanted = call.json()
    if not isinstance(wanted, dict):
        raise Unprocessable([problem(("body",), "Input should be an object of users by email", "dict_type")])
    seen = call.seen(len(wanted))
    change = _changed if call.user.is_admin else _with_roles
    changes = {email.lower(): partial(change, call, email, options, seen) for email, options in wanted.items()}
    await call.clio.users.change(changes, call.user.email)


def _with_roles(call: Call, email: str, options: Any, seen: float | None, before: User | None) -> User:
    """What who administrates datasets alone may change: roles on these. Those on others, and all else, stay.

    Raises:
        Forbidden: something else is to be changed too.
    """
    after = _changed(call, email, options, seen, before)
    if options.keys() != {"datasets"} or not all(map(call.user.administers, after.datasets)):
        raise Forbidden("no permission to change more of a user than roles on datasets that one administrates")
    stored = before or User(email=after.email)
    return replace(stored, datasets={**call.clio.names.holder(stored).datasets, **after.datasets})


def _changed(call: Call, email: str, options: Any, seen: float | None, before: User | None) -> User:
    if "@" not in email or not is_name(email):
        raise InvalidRequest(
            f"{email[:80]!r} is no email address; write {{EMAIL: {{'global_roles': [...], 'datasets': {{...}}}}}}"
        )
    if not isinstance(options, dict):
        raise Unprocessable([problem(("body", email), "Input should be an object", "dict_type")])
    stored = before or User(email=email.lower())
    expect(seen, stored.updated)
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


async def record(call: Call) -> Sequence[Line]:
    """What users have changed, newest first; ``before`` the number of a line, ``size`` lines, of ``user`` alone."""
    size = min(call.number("size") or LINES, MOST_LINES)
    return await call.clio.record.page(call.number("before"), size, call.query.get("user", "").lower() or None)


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
    Route(("GET",), "/users", listed, Access.DATASET_ADMIN),
    Route(("POST", "PUT"), "/users", put, Access.DATASET_ADMIN),
    Route(("DELETE",), "/users", remove, Access.ADMIN),
    Route(("GET",), "/audit", record, Access.ADMIN),
    Route(("POST",), "/server/token", token, Access.USER),
    Route(("POST",), "/server/refresh-caches", refresh, Access.USER),
    Route(("POST",), "/refresh-caches", refresh, Access.USER),
)
