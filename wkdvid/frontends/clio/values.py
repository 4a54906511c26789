"""Users' key-values, and the pull requests that hand them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from wkdvid.errors import Forbidden, InvalidRequest, NotFound
from wkdvid.frontends.clio.calls import Access, Answer, Call, Route, etag
from wkdvid.metadata.clio.values import Value


def _shown(value: Value, *, timed: bool) -> Any:
    if timed and isinstance(value.document, dict):
        return {**value.document, "_timestamp": value.at}
    return value.document


async def one(call: Call) -> Answer:
    scope, key = call.parts["scope"], call.parts["key"]
    found = await call.clio.values.find(call.user.email, scope, key)
    if found is None:
        raise NotFound(f"no key-value found for key {key}, scope {scope}")
    return Answer(orjson.dumps(_shown(found, timed=call.flag("timestamp"))), headers={"ETag": etag(found.at)})


async def in_scope(call: Call) -> Mapping[str, Any]:
    timed = call.flag("timestamp")
    found = await call.clio.values.in_scope(call.user.email, call.parts["scope"])
    return {value.key: _shown(value, timed=timed) for value in found}


async def put(call: Call) -> None:
    await call.clio.values.put(call.user.email, call.parts["scope"], call.parts["key"], call.json(), call.seen())


async def remove(call: Call) -> None:
    await call.clio.values.remove(call.user.email, call.parts["scope"], call.parts["key"])


async def hand_in(call: Call) -> None:
    """``{"pull": "kv/<scope>/<key>"}``"""
    body = call.json()
    path = body.get("pull") if isinstance(body, dict) else None
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) != 3 or parts[0] != "kv" or not all(parts):
        raise InvalidRequest('expected {"pull": "kv/<scope>/<key>"}')
    if not await call.clio.values.hand_in(call.user.email, parts[1], parts[2]):
        raise NotFound(f"no key-value found for key {parts[2]}, scope {parts[1]}")


async def pulls(call: Call) -> Mapping[str, Any]:
    """By user, scope and key. Of others for administrators alone; ``all`` of everybody."""
    wanted = call.query.get("user_email", "").lower() or call.user.email
    if wanted != call.user.email and not call.user.is_admin:
        raise Forbidden(f"no permission to read pull requests of {wanted}")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for value in await call.clio.values.pulls(None if wanted == "all" else wanted):
        found.setdefault(value.email, {}).setdefault(value.scope, {})[value.key] = _shown(value, timed=True)
    return found


ROUTES = (
    Route(("GET",), "/kv/<scope>", in_scope, Access.USER),
    Route(("GET",), "/kv/<scope>/<key>", one, Access.USER),
    Route(("POST",), "/kv/<scope>/<key>", put, Access.USER),
    Route(("DELETE",), "/kv/<scope>/<key>", remove, Access.USER),
    Route(("GET",), "/pull-request", pulls, Access.USER),
    Route(("POST",), "/pull-request", hand_in, Access.USER),
)
