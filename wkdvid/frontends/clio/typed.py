"""Typed annotations, the current ones (clio.md D); and annotations of the first version where ``x, y, z`` are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wkdvid.core.users import WRITE
from wkdvid.errors import Forbidden, InvalidRequest, TooLarge
from wkdvid.frontends.clio import points
from wkdvid.frontends.clio.calls import MOST_RECORDS, Access, Call, Route, Unprocessable, problem
from wkdvid.metadata.clio.annotations import Annotation, Put

KINDS: Mapping[str, tuple[str, int]] = {"point": ("Pt", 3), "lineseg": ("Ln", 6), "sphere": ("Sp", 6)}
"""How the key of each begins, and how many numbers make its place."""
FIELDS: Mapping[str, type] = {"prop": dict, "tags": list, "title": str, "description": str}
"""What is kept beside the place. What else is sent is not."""
_INT64 = range(-(2**63), 2**63)


async def listed(call: Call) -> Any:
    emails = await _whose(call)
    found = [document(one) for one in await call.clio.typed.of_users(call.dataset, emails)]
    return {one["key"]: one for one in found} if call.query.get("format") == "dict" else found


async def _whose(call: Call) -> Sequence[str]:
    """The caller; another user, for administrators; or all members of groups that the caller is in."""
    other = call.query.get("user", "").lower()
    if other and other != call.user.email and not call.user.is_admin:
        raise Forbidden(f"no permission to read annotations of user {other}")
    if other:
        return [other]
    names = [name for name in call.query.get("groups", "").split(",") if name]
    if not names:
        return [call.user.email]
    allowed = [name for name in names if call.user.is_admin or name in call.user.groups]
    if not allowed:
        raise InvalidRequest(f"{call.user.email} is in none of the groups {', '.join(names)}")
    members = [email for name in allowed for email in await call.clio.users.members(name)]
    return list(dict.fromkeys([call.user.email, *members]))


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
    merge = None if call.flag("replace", default=True) else _merge(call.query.get("conditional", "").split(","))
    await call.clio.typed.put(call.dataset, [Put(one, merge) for one in found], call.user.email, moved_from)
    return {"keys": [one.key for one in found]} if many else {"key": found[0].key}


def _merge(conditional: Sequence[str]) -> Any:
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
    key = KINDS[str(kind)][0] + "_".join(map(str, pos))
    fields = {name: body[name] for name in FIELDS if name in body}
    return Annotation(email=str(email).lower(), key=key, kind=str(kind), pos=pos, fields=fields)


def _whole_numbers(values: Any) -> tuple[int, ...] | None:
    """Cut towards zero; text that is a number counts as one."""
    if not isinstance(values, list) or not all(isinstance(one, int | float | str) for one in values):
        return None
    try:
        numbers = tuple(one if isinstance(one, int) else math.trunc(float(one)) for one in values)
    except (ValueError, OverflowError):
        return None
    return numbers if all(one in _INT64 for one in numbers) else None


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
