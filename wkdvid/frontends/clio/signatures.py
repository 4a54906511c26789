"""Places that look alike: the signature at a place, and the places whose signatures are like it (clio.md E.2, E.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from wkdvid.core.geometry import Vec3
from wkdvid.frontends.clio.calls import Access, Call, NotYet, Route
from wkdvid.signatures.index import SignatureIndex
from wkdvid.signatures.search import Rules, at_location, like_location

Found = TypeVar("Found")


async def at(call: Call) -> Mapping[str, Any]:
    found = await _found(call, at_location)
    return _nothing(found) if isinstance(found, str) else {"point": list(found.point), "signature": str(found.signed)}


async def like(call: Call) -> Mapping[str, Any]:
    found = await _found(call, like_location)
    if isinstance(found, str):
        return _nothing(found)
    matches = [{"point": list(one.point), "dist": one.dist, "score": one.score} for one in found]
    return {"matches": matches, **({} if matches else {"message": "no matches"})}


def _nothing(why: str) -> Mapping[str, str]:
    """With status 200, and with the name that clio-store has for it."""
    return {"messsage": why, "message": why}


async def _found(call: Call, search: Callable[[SignatureIndex, Vec3, Rules], Found | None]) -> Found | str:
    """What there is; else why there is nothing.

    Raises:
        NotYet: no dataset of this server has signatures.
    """
    place, rules, folders = call.point(), _rules(call), call.clio.signatures
    organization, _, name = call.dataset.partition("/")

    def look() -> Found | str:
        index = folders.index((organization, name)) if name else None
        if index is None:
            if folders.is_empty:
                raise NotYet("there are no signatures on this server: wkdvid signatures build makes them")
            return "dataset not found"
        found = search(index, place, rules)
        return "point not found" if found is None else found

    return await call.services.apart(look)


def _rules(call: Call) -> Rules:
    """
    Raises:
        Unprocessable, InvalidRequest: one is no number, or out of its range.
    """
    given = {field.name: call.whole_number(field.name) for field in fields(Rules)}
    return Rules(**{name: value for name, value in given.items() if value is not None})


AT, LIKE = "/signatures/atlocation/<dataset>", "/signatures/likelocation/<dataset>"
ROUTES = (
    Route(("GET",), AT, at, Access.GENERAL),
    Route(("GET",), LIKE, like, Access.GENERAL),
)
