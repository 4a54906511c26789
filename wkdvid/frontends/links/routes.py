"""The URL table of share links. What they share is served by all other routes, below ``/shared/TOKEN``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, redirect

from wkdvid.core.entries import DatasetKey
from wkdvid.core.guard import check_name
from wkdvid.core.links import DAYS, MOST_DAYS, Link, is_link
from wkdvid.errors import InvalidRequest, NotFound, WkdvidError
from wkdvid.frontends.http import (
    NO_REFERRER,
    TEXT,
    api_failed,
    base_of,
    json_body,
    json_reply,
    reply,
    require_administration,
    services_of,
    token_of,
)
from wkdvid.frontends.request import SHARED

READING = ("GET", "HEAD")
NOT_KEPT = {"Cache-Control": "no-store"}
"""By anybody on the way: the answer holds tokens."""
MEMBERS = ("dataset", "layer", "days")


def blueprint() -> Blueprint:
    bp = Blueprint("links")
    bp.add_route(make, "/api/links", methods=("POST",), name="make", ctx_access="administrate")
    bp.add_route(listed, "/api/links", methods=READING, name="list", ctx_access="administrate")
    bp.add_route(revoke, "/api/links/<link>", methods=("DELETE",), name="revoke", ctx_access="administrate")
    bp.add_route(begin, f"{SHARED}<token>", methods=READING, name="begin", ctx_access="public")
    bp.exception(WkdvidError)(api_failed)
    return bp


async def make(request: Request) -> HTTPResponse:
    key, layer, days = parse_link(json_body(request))
    await _require_administration(request, key)
    services, token = services_of(request), token_of(request)
    dataset = await services.dataset(key, token)
    if layer is not None:
        dataset.layer(layer)
    link = await services.links.make(key, layer, days, await services.email_of(token))
    return json_reply(document(request, link), headers=NOT_KEPT)


async def listed(request: Request) -> HTTPResponse:
    """Those of a dataset, or all."""
    name = request.args.get("dataset")
    key = None if name is None else parse_dataset(name)
    await _require_administration(request, key)
    links = await services_of(request).links.all()
    shown = [document(request, link) for link in links if key in (None, link.dataset)]
    return json_reply(shown, headers=NOT_KEPT)


async def revoke(request: Request, link: str) -> HTTPResponse:
    services = services_of(request)
    found = await services.links.get(link)
    await _require_administration(request, None if found is None else found.dataset)
    if found is None:
        raise NotFound(f"there is no link {link[:40]!r}")
    await services.links.store.remove(found, await services.email_of(token_of(request)))
    return json_reply(document(request, found))


async def begin(request: Request, token: str) -> HTTPResponse:
    """What the page loads is named relative to it, so its address ends with a slash."""
    if not is_link(token):
        return reply("there is no such link\n", TEXT, 404, NO_REFERRER)
    return redirect(f"{token}/", headers=NO_REFERRER)


async def _require_administration(request: Request, key: DatasetKey | None) -> None:
    """Of a dataset; of all where it is None, or one that is not there.

    Raises:
        Unauthorized, Forbidden: as ``require_administration``.
    """
    catalog = services_of(request).catalog
    await catalog.catch_up()
    await require_administration(request, token_of(request), None if key is None else catalog.by_key.get(key))


def parse_link(body: Any) -> tuple[DatasetKey, str | None, float]:
    """Dataset, layer (None: all) and days.

    Raises:
        InvalidRequest: another member, one missing, or a value that is none.
    """
    if not isinstance(body, dict) or not {"dataset"} <= body.keys() <= {*MEMBERS}:
        raise InvalidRequest("expected an object with dataset, perhaps layer and days, and nothing else")
    layer, days = body.get("layer"), body.get("days", DAYS)
    if layer is not None and not isinstance(layer, str):
        raise InvalidRequest("layer: expected its name")
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= MOST_DAYS:
        raise InvalidRequest(f"days: expected a number above 0, up to {MOST_DAYS:g}")
    return parse_dataset(body["dataset"]), layer, float(days)


def parse_dataset(name: Any) -> DatasetKey:
    """
    Raises:
        InvalidRequest: it is no name of a dataset.
    """
    organization, slash, dataset = name.partition("/") if isinstance(name, str) else ("", "", "")
    if not slash:
        raise InvalidRequest("dataset: expected ORGANIZATION/DATASET")
    return DatasetKey(check_name("organization", organization), check_name("dataset", dataset))


def document(request: Request, link: Link) -> dict[str, Any]:
    """Whoever sees it may make such a link too, so the token is in it."""
    token = services_of(request).links.token(link)
    return {
        "id": link.id,
        "dataset": str(link.dataset),
        "layer": link.layer,
        "made": _time(link.made),
        "expires": _time(link.expires),
        "by": link.by,
        "token": token,
        "url": f"{base_of(request)}{SHARED}{token}/",
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
