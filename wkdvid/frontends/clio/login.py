"""Logging in and out with a browser, and who one is. Below the URL prefix, without a version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from wkdvid.clio_config import ANY_ORIGIN
from wkdvid.core.users import READ
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.clio import users
from wkdvid.frontends.clio.calls import Access, Answer, Call, Route, Unprocessable, problem
from wkdvid.frontends.http import HTML, cookie_header
from wkdvid.identity.own import COOKIE, LIFE_S

if TYPE_CHECKING:
    from wkdvid.identity.login import Login

BEGUN = "wkdvid_login"
BEGUN_S = 600
"""How long somebody may take to log in."""
CALLBACK = "/login/callback"
_MISREAD = re.compile(r"[\\\x00-\x20\x7f]")
"""What browsers leave out of an address, or take for a slash."""


async def login(call: Call) -> Answer:
    if "redirect" not in call.query:
        raise Unprocessable([problem(("query", "redirect"), "Field required", "missing")])
    back_to = _allowed(call, call.query["redirect"])
    login = _chosen(call)
    if login is None:
        return Answer(_choice(call, back_to), HTML, headers={"Content-Security-Policy": "default-src 'none'"})
    begun = await login.begin(_callback(call), back_to)
    return _redirect(begun.address, {"Set-Cookie": cookie_header(call.base, BEGUN, begun.kept, BEGUN_S)})


async def callback(call: Call) -> Answer:
    logins, kept = _logins(call), call.cookies.get(BEGUN)
    login = next((one for one in logins.values() if one.has_begun(kept)), next(iter(logins.values())))
    identity, back_to = await login.finish(_callback(call), call.query, kept)
    token = call.clio.identities.own.mint(identity.email, identity.claims)
    return _redirect(back_to, {"Set-Cookie": cookie_header(call.base, COOKIE, token, LIFE_S)})


def _logins(call: Call) -> Mapping[str, Login]:
    """At least one."""
    if not call.clio.logins:
        raise UnsupportedRequest("no provider of logins is configured: clio.providers, one with a client_id")
    return call.clio.logins


def _chosen(call: Call) -> Login | None:
    """The one that ``provider`` names, or the only one; None: somebody has to choose."""
    logins, name = _logins(call), call.query.get("provider")
    if name is None:
        return next(iter(logins.values())) if len(logins) == 1 else None
    if name not in logins:
        raise InvalidRequest(f"provider: expected one of {', '.join(logins)}")
    return logins[name]


def _choice(call: Call, back_to: str) -> bytes:
    """A page that leads to each provider."""
    where = f"{call.clio.config.url_prefix or ''}/login"
    addresses = {name: f"{where}?{urlencode({'redirect': back_to, 'provider': name})}" for name in call.clio.logins}
    links = (f'<li><a href="{escape(address)}">{escape(name)}</a>' for name, address in addresses.items())
    return f'<!doctype html><html lang="en"><title>Log in</title><p>Log in with<ul>{"".join(links)}</ul>'.encode()


def _callback(call: Call) -> str:
    return f"{call.base}{call.clio.config.url_prefix or ''}{CALLBACK}"


def _allowed(call: Call, address: str) -> str:
    """
    Raises:
        InvalidRequest: neither an address of this server nor of an origin that the configuration names.
    """
    parts = urlsplit(address)
    origin = f"{parts.scheme}://{parts.netloc}"
    is_own = address.startswith("/") and not address.startswith("//")  # behind two or more slashes browsers read a host
    known = {call.base, *call.clio.config.allowed_origins} - {ANY_ORIGIN}
    if (is_own or origin in known) and _MISREAD.search(address) is None:
        return address
    raise InvalidRequest(f"redirect: {origin[:200]!r} is not among clio.allowed_origins, nor an address of this server")


def _redirect(address: str, headers: Mapping[str, str]) -> Answer:
    return Answer(b"", "text/plain", 302, {"Location": address, "Cache-Control": "no-store", **headers})


async def logout(call: Call) -> Answer:
    address = _allowed(call, call.query.get("redirect", "/"))
    return _redirect(address, {"Set-Cookie": cookie_header(call.base, COOKIE, "", 0)})


async def profile(call: Call) -> Mapping[str, Any]:
    shown = dict(users.document(call, call.user))
    for name in ("org", "disabled"):
        del shown[name]
    return {**shown, "dsg_url": None}


async def dataset_access(call: Call) -> Mapping[str, Any]:
    name = call.query.get("dataset")
    if not name:
        raise Unprocessable([problem(("query", "dataset"), "Field required", "missing")])
    held = call.clio.names.held(name)
    roles = [*call.user.global_roles, *call.user.datasets.get(held, ())]
    allowed = call.user.has_role(READ, held, public=held in await call.clio.public())
    return {"dataset": name, "access": allowed, "tos_required": False, "roles": list(dict.fromkeys(roles))}


ROUTES = (
    Route(("GET",), "/login", login, Access.PUBLIC),
    Route(("GET",), CALLBACK, callback, Access.PUBLIC),
    Route(("GET", "POST"), "/logout", logout, Access.PUBLIC),
    Route(("GET",), "/profile", profile, Access.USER),
    Route(("GET",), "/dataset-access", dataset_access, Access.USER),
)
