"""What a user keeps at a place: annotations of the first version, saved searches, the atlas (clio.md A.2, A.3, C.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wkdvid.core.users import READ, WRITE, User
from wkdvid.errors import Forbidden, InvalidRequest, NotFound
from wkdvid.frontends.clio.calls import Access, Call, Route, Unprocessable, problem
from wkdvid.metadata.clio.points import Point, Points
from wkdvid.metadata.queries import expect


def shown(call: Call, point: Point) -> Mapping[str, Any]:
    """What the client gave, with what the server adds. ``locationref`` is what the first version called the key."""
    return {
        **point.payload,
        "timestamp": point.at,
        "dataset": call.clio.names.shown(point.dataset),
        "location": list(point.location),
        "locationkey": point.locationkey,
        "locationref": point.locationkey,
        "email": point.email,
        "id": point.id,
    }


def payload(call: Call) -> Mapping[str, Any]:
    body = call.json()
    if not isinstance(body, dict):
        raise Unprocessable([problem(("body",), "Input should be an object", "dict_type")])
    return body


async def put_annotation(call: Call) -> None:
    body, email = payload(call), call.user.email
    await call.clio.annotations.put(call.dataset, email, call.point(), email, lambda _: (body, False))


async def put_search(call: Call) -> None:
    body, email = payload(call), call.user.email
    await call.clio.searches.put(call.dataset, email, call.point(), email, lambda _: (body, False))


async def own_annotations(call: Call) -> Mapping[str, Any]:
    return await _own(call, call.clio.annotations)


async def own_searches(call: Call) -> Mapping[str, Any]:
    return await _own(call, call.clio.searches)


async def _own(call: Call, points: Points) -> Mapping[str, Any]:
    found = await points.of_user(call.dataset, call.user.email)
    return {point.locationkey: shown(call, point) for point in found}


async def remove_annotation(call: Call) -> None:
    await call.clio.annotations.remove(call.dataset, call.user.email, call.point(), call.user.email)


async def remove_search(call: Call) -> None:
    await call.clio.searches.remove(call.dataset, call.user.email, call.point(), call.user.email)


# ---- atlas --------------------------------------------------------------------------------------------------------


def atlas_entry(call: Call, point: Point) -> Mapping[str, Any]:
    entry = {**shown(call, point), "verified": point.verified}
    del entry["email"]
    return {"user": point.email, **entry}


async def put_atlas(call: Call) -> Mapping[str, Any]:
    location, body, dataset = call.point(), payload(call), call.dataset
    for name in ("title", "user"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise InvalidRequest(f"an atlas entry needs a text as {name!r}")
    owner, writes = body["user"].lower(), call.user.has_role(WRITE, dataset)
    if owner != call.user.email and not writes:
        raise Forbidden(f"no permission to add atlas point for user {owner} on dataset {call.parts['dataset']}")
    verified, seen = body.get("verified") is True, call.seen()

    def change(stored: Point | None) -> tuple[Mapping[str, Any], bool]:
        expect(seen, None if stored is None else stored.at)
        if stored is not None and stored.verified and not writes:
            raise Forbidden("no permission to modify verified atlas pt")
        if verified and not writes:
            raise Forbidden("no permission to set verified status of atlas pt")
        return body, verified

    return atlas_entry(call, await call.clio.atlas.put(dataset, owner, location, call.user.email, change))


async def own_atlas(call: Call) -> Mapping[str, Any]:
    found = await call.clio.atlas.of_user(call.dataset, call.user.email)
    return {point.locationkey: atlas_entry(call, point) for point in found}


async def whole_atlas(call: Call) -> list[Mapping[str, Any]]:
    """Of all datasets that the caller reads: what is verified, the caller's own, and all where the caller may write."""
    public = await call.clio.public()

    def sees(user: User, point: Point) -> bool:
        if not user.has_role(READ, point.dataset, public=point.dataset in public):
            return False
        return point.verified or point.email == user.email or user.has_role(WRITE, point.dataset)

    return [atlas_entry(call, point) for point in await call.clio.atlas.all() if sees(call.user, point)]


async def remove_atlas(call: Call) -> None:
    await call.clio.atlas.remove(call.dataset, call.user.email, call.point(), call.user.email)


async def verify(call: Call) -> Mapping[str, Any]:
    def check(point: Point) -> None:
        if not call.user.has_role(WRITE, point.dataset):
            raise Forbidden("no permission to verify atlas pt")

    found = await call.clio.atlas.verify(call.parts["id"], call.user.email, check)
    if found is None:
        raise NotFound(f"there is no atlas entry {call.parts['id'][:80]!r}")
    return atlas_entry(call, found)


SEARCHES, ATLAS = "/savedsearches/<dataset>", "/atlas/<dataset>"
ROUTES = (
    Route(("GET",), SEARCHES, own_searches, Access.GENERAL),
    Route(("POST", "PUT"), SEARCHES, put_search, Access.GENERAL),
    Route(("DELETE",), SEARCHES, remove_search, Access.GENERAL),
    Route(("GET",), "/atlas/all", whole_atlas, Access.USER),
    Route(("GET",), ATLAS, own_atlas, Access.READ),
    Route(("POST", "PUT"), ATLAS, put_atlas, Access.GENERAL),
    Route(("DELETE",), ATLAS, remove_atlas, Access.GENERAL),
    Route(("POST",), "/atlas-verify/<id>", verify, Access.USER),
)
