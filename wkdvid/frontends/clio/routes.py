"""The URL table of clio's API: each resource's routes below the prefixes of every version (clio.md A.1)."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from functools import partial
from urllib.parse import unquote

import orjson
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.clio_config import ANY_ORIGIN, ClioConfig
from wkdvid.core.access import Action, allowed
from wkdvid.core.users import READ, User
from wkdvid.errors import Forbidden, InvalidRequest, WkdvidError
from wkdvid.frontends.clio import (
    bridge,
    datasets,
    login,
    points,
    signatures,
    transfers,
    typed,
    users,
    values,
    volumes,
)
from wkdvid.frontends.clio.calls import LONGEST_NAME, Access, Answer, Call, Route, is_name
from wkdvid.frontends.clio.neurons import answers as neurons
from wkdvid.frontends.clio.status import STATUS, document, headers
from wkdvid.frontends.clio.stores import Clio
from wkdvid.frontends.http import (
    JSON,
    base_of,
    log_failure,
    reply,
    send_parts,
    sent_token,
    services_of,
    status_for,
)
from wkdvid.frontends.router import add_route
from wkdvid.identity.own import COOKIE

log = logging.getLogger("wkdvid.clio")

CURRENT, OLD = ("/v2", "/v3", "/test"), ("", "/v1", "/clio_toplevel")
BOTH: Sequence[Route] = (
    *datasets.ROUTES,
    *users.ROUTES,
    *points.ROUTES,
    *values.ROUTES,
    *neurons.ROUTES,
    *volumes.ROUTES,
    *signatures.ROUTES,
    *transfers.ROUTES,
)
"""The same in all versions."""
CURRENT_ROUTES: Sequence[Route] = (*typed.CURRENT, *bridge.ROUTES)
OLD_ROUTES: Sequence[Route] = typed.OLD


def blueprint(config: ClioConfig) -> Blueprint:
    bp, base = Blueprint("clio"), config.url_prefix or ""
    for prefixes, routes in (
        (("",), (*login.ROUTES, *transfers.CACHE)),
        (CURRENT, (*BOTH, *CURRENT_ROUTES)),
        (OLD, (*BOTH, *OLD_ROUTES)),
    ):
        for route in routes:
            below = [base + prefix for prefix in prefixes]
            for method in route.methods:
                add_route(bp, below, method, route.path, partial(handle, route), f"clio {route.access.value}")
    bp.exception(WkdvidError)(failed)
    return bp


async def handle(route: Route, request: Request, **parts: str) -> HTTPResponse | None:
    clio: Clio = request.app.ctx.clio
    token, by_cookie = _token(request)
    caller = None if route.access is Access.PUBLIC else await _caller(request, route, token, parts.get("dataset"))
    if "path" in parts:  # of such routes Sanic does not decode anything
        parts = {name: unquote(part) for name, part in parts.items()}
    for name, part in parts.items():
        if name != "path" and not is_name(part):
            raise InvalidRequest(f"{name}: expected up to {LONGEST_NAME} printable characters")
    await services_of(request).catalog.catch_up()  # for what its datasets are called
    caller = None if caller is None else clio.names.holder(caller)
    if request.method not in ("GET", "HEAD") and caller is not None:
        if by_cookie:
            _refuse_foreign(request, {*clio.config.allowed_origins, *request.app.ctx.origins.origins})
        elif clio.identities.needs_no_token:
            request.app.ctx.origins.check(request)
    call = Call(
        services=services_of(request),
        clio=clio,
        caller=caller,
        token=token,
        parts=parts,
        query={name: values[0] for name, values in request.args.items()},
        body=request.body,
        base=base_of(request),
        headers=request.headers,
        cookies={name: str(request.cookies.get(name)) for name in request.cookies},
    )
    if caller is not None:
        await require(call, caller, route.access)
    found = await route.handler(call)
    answer = found if isinstance(found, Answer) else Answer(orjson.dumps(found))
    sent = {**cors(request), **(answer.headers or {})}
    if isinstance(answer.body, bytes | memoryview | bytearray):
        return reply(answer.body, answer.content_type, answer.status, sent)
    return await send_parts(request, answer.body, answer.content_type, None, sent)


async def _caller(request: Request, route: Route, token: str | None, dataset: str | None) -> User:
    """Who sends it. With a share link nobody who has a name, but may read the dataset that all of is shared.

    Raises:
        Unauthorized, Forbidden, UpstreamUnavailable, DatabaseUnavailable: as ``Identities.user``.
    """
    clio, services = request.app.ctx.clio, services_of(request)
    link = await services.links.look_for(token) if token is not None and route.access is Access.READ else None
    if link is not None and token is not None and dataset is not None and link.layer is None:
        await services.catalog.catch_up()
        shared = services.catalog.by_key.get(link.dataset)
        is_asked = clio.names.held(dataset) == str(link.dataset)
        if is_asked and shared is not None and await allowed(services.authorizer, token, Action.READ, shared):
            return User(email="", datasets={str(link.dataset): (READ,)})
    user: User = await clio.identities.user(token)
    return user


async def require(call: Call, user: User, access: Access) -> None:
    """
    Raises:
        Forbidden: the user has not the role that the route takes.
    """
    if access is Access.USER:
        return
    dataset = call.dataset if "dataset" in call.parts else None
    if access is Access.DATASET_ADMIN and dataset is None and user.administers():
        return
    if not user.has_role(access.value, dataset, public=dataset in await call.clio.public()):
        on = f" on dataset {call.parts['dataset']}" if dataset is not None else ""
        raise Forbidden(f"this takes the role {access.value}{on}, which {user.email} has not")


def _token(request: Request) -> tuple[str | None, bool]:
    """A token of the request, and whether only its cookie has one."""
    token = sent_token(request)
    if token is not None:
        return token, False
    cookie = request.cookies.get(COOKIE)
    return (cookie, True) if cookie else (request.args.get(COOKIE), False)


def _refuse_foreign(request: Request, trusted: Container[str]) -> None:
    """A browser sends the cookie with whatever a page of anybody makes it send.

    Args:
        trusted: Origins of pages that may, besides those of the address that the request came to.
    Raises:
        Forbidden: the request may come from such a page.
    """
    origin = request.headers.get("origin")
    is_own = origin == f"{request.scheme}://{request.headers.get('host', '')}" or origin in trusted
    is_json = request.headers.get("content-type", "").partition(";")[0].strip() == JSON
    if not (is_own if origin is not None else is_json):
        raise Forbidden("changes by a login's cookie are not accepted from this page; see server.corsDomains")


def cors(request: Request) -> Mapping[str, str]:
    """Credentials go to the pages of the origins that are listed, to no others."""
    clio: Clio = request.app.ctx.clio
    allowed = clio.config.allowed_origins
    granted = listed_origin(request, allowed) or {
        "Access-Control-Allow-Origin": ANY_ORIGIN if ANY_ORIGIN in allowed else allowed[0]
    }
    return {**granted, "Vary": "Origin", "Access-Control-Expose-Headers": "Content-Range, Content-Length, ETag"}


def listed_origin(request: Request, allowed: Sequence[str]) -> Mapping[str, str]:
    """What a page may do whose origin is listed; nothing, where the request comes from none."""
    origin = request.headers.get("origin")
    if origin is None or origin not in allowed:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    status, sent = status_for(error, STATUS), {**cors(request), **headers(error)}
    if status >= 500:
        log_failure(log, request, error)
    return reply(orjson.dumps(document(error)), JSON, status, sent)
