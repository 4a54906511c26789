"""Typed annotations, the current ones (clio.md D); and annotations of the first version where ``x, y, z`` are given."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from wkdvid.core.annotations import FIELDS, INT64, KINDS, Annotation, Selection
from wkdvid.core.body_cache import Body
from wkdvid.core.geometry import Box
from wkdvid.core.users import WRITE
from wkdvid.errors import Forbidden, InvalidRequest, TooLarge
from wkdvid.frontends.clio import points
from wkdvid.frontends.clio.calls import MOST_RECORDS, Access, Answer, Call, Route, Unprocessable, problem, whole_number
from wkdvid.identity.annotation_views import own_and_groups
from wkdvid.metadata.clio.annotations import Merge, Puts

EVERYBODY = "all"


async def listed(call: Call) -> Answer:
    by_key = call.query.get("format") == "dict"
    begin, end = (b"{", b"}") if by_key else (b"[", b"]")

    async def parts() -> AsyncIterator[Body]:
        before = begin
        async for page in call.clio.typed.pages(await selection(call)):
            yield before + b",".join(_json(one, by_key=by_key) for one in page)
            before = b","
        yield end if before == b"," else begin + end

    return Answer(parts())


def _json(one: Annotation, *, by_key: bool) -> bytes:
    text = orjson.dumps(document(one))
    return b'"%b":%b' % (one.key.encode(), text) if by_key else text


async def selection(call: Call) -> Selection:
    """What the query asks for: whose, and ``box=x0,y0,z0,x1,y1,z1``.

    Raises:
        Forbidden: of others, and the caller may not read them.
        Unprocessable: no such box.
    """
    return Selection(dataset=call.dataset, emails=await _whose(call), box=_box(call.query.get("box")))


def _box(text: str | None) -> Box | None:
    if text is None:
        return None
    numbers = [whole_number(part.strip()) for part in text.split(",")]
    x0, y0, z0, x1, y1, z1 = numbers if len(numbers) == 6 else [None] * 6
    if (
        x0 is None
        or y0 is None
        or z0 is None
        or x1 is None
        or y1 is None
        or z1 is None
        or x1 < x0
        or y1 < y0
        or z1 < z0
    ):
        form = "x0,y0,z0,x1,y1,z1: whole numbers of 64 bits, the second corner exclusive and not before the first"
        raise Unprocessable([problem(("query", "box"), f"expected {form}", "box_parsing")])
    return Box((x0, y0, z0), (x1, y1, z1))


async def _whose(call: Call) -> Sequence[str] | None:
    """The caller; another user or everybody (None), for administrators; or all members of groups that the caller is
    in.
    """
    other = call.query.get("user", "").lower()
    if other and other != call.user.email and not call.user.is_admin:
        raise Forbidden(f"no permission to read annotations of user {other}")
    if other:
        return None if other == EVERYBODY else [other]
    names = [name for name in call.query.get("groups", "").split(",") if name]
    if not names:
        return [call.user.email]
    allowed = [name for name in names if call.user.is_admin or name in call.user.groups]
    if not allowed:
        raise InvalidRequest(f"{call.user.email} is in none of the groups {', '.join(names)}")
    return await own_and_groups(call.user, allowed, call.clio.users)


def document(one: Annotation) -> Mapping[str, Any]:
    fields = {name: one.fields.get(name) for name in FIELDS}
    return {"user": one.email, "key": one.key, "kind": one.kind, "pos": list(one.pos), **fields}


async def put(call: Call) -> Any:
    if {"x", "y", "z"} & call.query.keys():
        return await points.put_annotation(call)
    body = call.json(call.services.limits.body_bytes)
    many = isinstance(body, list)
    if many and len(body) > MOST_RECORDS:
        raise TooLarge(f"{len(body)} annotations, the limit is {MOST_RECORDS}; send them in parts")
    moved_from = call.query.get("move_key")
    if many and moved_from:
        raise InvalidRequest("move_key is for one annotation, not for a list")
    found = [parse(call, ("body", i) if many else ("body",), one) for i, one in enumerate(body if many else [body])]
    for one in found:
        if one.email != call.user.email and not call.user.has_role(WRITE, call.dataset):
            what = f"annotation for user {one.email} on dataset {call.parts['dataset']}"
            raise Forbidden(f"no permission to add {what}")
    await call.clio.typed.put(call.dataset, Puts(found, merging(call)), call.user.email, moved_from)
    return {"keys": [one.key for one in found]} if many else {"key": found[0].key}


def merging(call: Call) -> Merge | None:
    """What becomes of fields that are stored already: ``replace``, and ``conditional``, which names those that stay."""
    if call.flag("replace", default=True):
        return None
    conditional = call.query.get("conditional", "").split(",")

    def merge(stored: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        protected = {name for name in conditional if stored.get(name) not in (None, "", [], {})}
        return {**stored, **{name: value for name, value in given.items() if name not in protected}}

    return merge


def parse(call: Call, loc: tuple[str | int, ...], body: Any) -> Annotation:
    """
    Raises:
        Unprocessable: with everything that is wrong.
    """
    if not isinstance(body, dict):
        raise Unprocessable([problem(loc, "Input should be an object", "dict_type")])
    kind, problems = body.get("kind"), []
    if not isinstance(kind, str) or kind not in KINDS:
        problems.append(problem((*loc, "kind"), f"expected one of {', '.join(KINDS)}", "enum"))
    pos = _whole_numbers(body.get("pos"))
    wanted = KINDS[kind][1] if isinstance(kind, str) and kind in KINDS else None
    if pos is None or (wanted is not None and len(pos) != wanted):
        numbers = f"{wanted or 'three or six'} numbers of 64 bits"
        problems.append(problem((*loc, "pos"), f"expected a list of {numbers}", "list_type"))
    problems += [
        problem((*loc, name), f"expected {kind.__name__}", f"{kind.__name__}_type")
        for name, kind in FIELDS.items()
        if body.get(name) is not None and not isinstance(body[name], kind)
    ]
    email = body.get("user") or call.user.email
    if not isinstance(email, str):
        problems.append(problem((*loc, "user"), "expected an email", "string_type"))
    if problems or pos is None:
        raise Unprocessable(problems)
    fields = {name: body[name] for name in FIELDS if name in body}
    return Annotation(email=str(email).lower(), kind=str(kind), pos=pos, fields=fields)


def _whole_numbers(values: Any) -> tuple[int, ...] | None:
    """Cut towards zero; text that is a number counts as one."""
    if not isinstance(values, list) or not all(isinstance(one, int | float | str) for one in values):
        return None
    try:
        numbers = tuple(one if isinstance(one, int) else math.trunc(float(one)) for one in values)
    except (ValueError, OverflowError):
        return None
    return numbers if all(one in INT64 for one in numbers) else None


async def remove(call: Call) -> None:
    email = call.query.get("user_email", "").lower() or call.user.email
    if email != call.user.email and not call.user.has_role(WRITE, call.dataset):
        raise Forbidden(f"no permission to delete annotation of user {email} on dataset {call.parts['dataset']}")
    await call.clio.typed.remove(call.dataset, email, call.parts["key"], call.user.email)


PATH = "/annotations/<dataset>"
CURRENT = (
    Route(("GET",), PATH, listed, Access.READ),
    Route(("POST", "PUT"), PATH, put, Access.GENERAL),
    Route(("DELETE",), PATH + "/<key>", remove, Access.GENERAL),
)
OLD = (
    Route(("GET",), PATH, points.own_annotations, Access.READ),
    Route(("POST", "PUT"), PATH, put, Access.GENERAL),
    Route(("DELETE",), PATH, points.remove_annotation, Access.GENERAL),
    Route(("DELETE",), PATH + "/<key>", remove, Access.GENERAL),
)
