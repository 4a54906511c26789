"""The URL table of DVID's API. Instances' endpoints are found in small tables, so that errors are DVID's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from sanic import Blueprint, Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.errors import InvalidRequest, TooLarge, UnsupportedRequest, WkdvidError
from wkdvid.frontends.dvid import (
    annotation,
    documents,
    images,
    keyvalue,
    labels,
    parse,
    roi,
    runtime,
    server,
    typed_annotations,
)
from wkdvid.frontends.dvid.callers import READING, dvid_token, refuse_in_read_only_mode, require_dvid_admin
from wkdvid.frontends.dvid.calls import Answer, Call, Endpoints, Handler
from wkdvid.frontends.dvid.instances import VOXEL_BYTES, AnnotationsInstance, Instance
from wkdvid.frontends.dvid.repositories import routes as repositories
from wkdvid.frontends.dvid.repositories.changes import REPOSITORY_CHANGES
from wkdvid.frontends.dvid.status import STATUS, BadCall, UnknownEndpoint, text
from wkdvid.frontends.dvid.throttle import Throttle
from wkdvid.frontends.dvid.versions import find_instance
from wkdvid.frontends.http import (
    HTML,
    TEXT,
    host_of,
    json_body,
    json_reply,
    log_failure,
    reply,
    require_administration,
    require_writing,
    send_bytes,
    send_parts,
    services_of,
    status_for,
)

log = logging.getLogger("wkdvid.dvid")

OTHERS = ("POST", "PUT", "DELETE")
PLAIN = "text/plain"
DRAINED = 2
"""Times the largest body are read, and not kept, before the connection is closed: then the answer is read too."""
SEGMENTS = 5
"""Path segments after an instance's endpoint; what is more than it needs is ignored."""
ENDPOINTS: Mapping[str, Endpoints] = {
    **dict.fromkeys(VOXEL_BYTES, images.ENDPOINTS),
    "labelmap": labels.ENDPOINTS,
    "keyvalue": keyvalue.ENDPOINTS,
    "roi": roi.ENDPOINTS,
    "annotation": annotation.ENDPOINTS,
}
"""By the type of an instance."""
KNOWN_ENDPOINTS = frozenset(name for endpoints in ENDPOINTS.values() for name in endpoints.handlers)
"""What requests are counted by."""


def blueprint() -> Blueprint:
    bp = Blueprint("dvid")
    bp.before_server_start(_start)
    for path, handler in PUBLIC.items():
        _route(bp, path, handler, "public", READING)
    for path, handler in READ.items():
        _route(bp, path, handler, "read", READING)
    for path, reason in REFUSED.items():
        _route(bp, path, partial(refuse, reason), "public", READING)
    for path, reason in REFUSED_CHANGES.items():
        _route(bp, path, partial(refuse_change, reason), "administrate", ("POST",))
    _route(bp, "/api/server/settings", post_settings, "administrate", ("POST",))
    _route(bp, "/api/config/dataset", post_runtime, "administrate", ("POST",))
    _route(bp, "/api/config/dataset", delete_runtime, "administrate", ("DELETE",))
    _route(bp, "/api/repos", repositories.post_repos, "administrate", ("POST",))
    for action, change in REPOSITORY_CHANGES.items():
        _route(bp, f"/api/repo/<uuid>/{action}", repositories.post_repo(change), "write", ("POST",))
    _route(bp, "/api/node/<uuid>/<action>", repositories.post_node, "write", ("POST",))
    for count in range(SEGMENTS + 1):
        rest = "".join(f"/<part{i}>" for i in range(count))
        path = f"/api/node/<uuid>/<name>/<endpoint>{rest}"
        _route(bp, path, read_instance, "read", READING)
        _route(bp, path, change_instance, "read", OTHERS, stream=True)
    bp.exception(WkdvidError)(failed)
    return bp


def _route(
    bp: Blueprint,
    path: str,
    handler: Callable[..., Any],
    access: str,
    methods: tuple[str, ...],
    *,
    stream: bool = False,
) -> None:
    """
    Args:
        stream: Whether the handler itself receives the body.
    """
    name = f"{methods[0]}_{path}".translate(str.maketrans("/<>.", "____"))
    bp.add_route(
        handler,
        path,
        methods=methods,
        name=name,
        unquote=True,
        error_format="json",
        stream=stream,
        ctx_access=access,
        ctx_endpoints=KNOWN_ENDPOINTS if "<endpoint>" in path else frozenset(),
    )


async def _start(app: Sanic[Any, Any]) -> None:
    """Runs after the application's own start, which makes the services."""
    app.ctx.dvid_throttle = Throttle(app.ctx.services.limits.throttled_ops)


# ---- data instances -----------------------------------------------------------------------------------------------


async def read_instance(request: Request, uuid: str, name: str, endpoint: str, **rest: str) -> HTTPResponse | None:
    parts = tuple(rest.values())
    found, handler = await _asked_for(request, uuid, name, endpoint, parts)
    return await _answer(request, found, handler, endpoint, parts, request.body)


async def change_instance(request: Request, uuid: str, name: str, endpoint: str, **rest: str) -> HTTPResponse | None:
    """Another function than that of reading: Sanic marks the one that receives its body itself, for all its routes."""
    parts = tuple(rest.values())
    found, handler, body = await _received(request, uuid, name, endpoint, parts)
    return await _answer(request, found, handler, endpoint, parts, body)


async def _answer(
    request: Request, found: Instance, handler: Handler, endpoint: str, parts: tuple[str, ...], body: bytes
) -> HTTPResponse | None:
    query = parse.query(request.query_string)
    byte_range = request.headers.get("range")
    call = Call(services_of(request), found, endpoint, parts, query, body, request.method, byte_range)
    throttled = "throttle" in query and _is_throttled(call, _endpoints(found).throttled)
    try:
        with request.app.ctx.dvid_throttle.slot() if throttled else nullcontext():
            return await _send(request, await handler(call))
    except UnknownEndpoint:
        raise _unknown(request, found, endpoint) from None


async def _asked_for(
    request: Request, uuid: str, name: str, endpoint: str, parts: tuple[str, ...]
) -> tuple[Instance, Handler]:
    if any("\ufffd" in part for part in (name, endpoint, *parts)):
        _require_text(request)
    found = await find_instance(services_of(request), uuid, name, dvid_token(request))
    return found, _handler(request, found, endpoint)


async def _received(
    request: Request, uuid: str, name: str, endpoint: str, parts: tuple[str, ...]
) -> tuple[Instance, Handler, bytes]:
    """With its body. What is written may be larger than other bodies; it is kept for those who may write."""
    stream: Any = request.stream
    limits = services_of(request).limits
    stream.request_max_size = DRAINED * limits.written_bytes
    try:
        await refuse_in_read_only_mode(request)
        found, handler = await _asked_for(request, uuid, name, endpoint, parts)
        if endpoint not in _endpoints(found).asking:
            await require_writing(request, dvid_token(request), found.owner)
    except WkdvidError:
        async for _ in stream:  # who is still sending does not read the answer
            pass
        raise
    name = "written_bytes" if handler in _endpoints(found).large else "body_bytes"
    limit: int = getattr(limits, name)
    body, length = BytesIO(), 0  # Sanic would hold a large body twice, in pieces and joined
    async for data in stream:
        length += len(data)
        if length <= limit:
            body.write(data)
    if length > limit:
        raise TooLarge(f"the body has {length} bytes, the limit is {limit} (limits.{name})")
    return found, handler, body.getvalue()


def _require_text(request: Request) -> None:
    """Bytes that are no UTF-8 have been replaced: different keys would look the same.

    Raises:
        InvalidRequest: there are such.
    """
    try:
        unquote_to_bytes(request.raw_url).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("the path is not UTF-8") from error


def _endpoints(found: Instance) -> Endpoints:
    return typed_annotations.ENDPOINTS if isinstance(found, AnnotationsInstance) else ENDPOINTS[found.typename]


def _is_throttled(call: Call[Instance], throttled: frozenset[str]) -> bool:
    """Slices are not, whatever they ask for."""
    asked = call.endpoint in throttled and call.query["throttle"] in {"on", "true"}
    return asked and not (call.endpoint in {"raw", "isotropic"} and parse.is_slice(call.parts))


async def _send(request: Request, answer: Answer) -> HTTPResponse | None:
    if answer.status != 200:
        return reply(answer.body, answer.content_type, answer.status, answer.headers)
    if answer.parts is None:
        return await send_bytes(request, answer.body, answer.content_type, answer.headers, answer.status)
    return await send_parts(request, answer.parts, answer.content_type, answer.length, answer.headers)


def _handler(request: Request, found: Instance, endpoint: str) -> Handler:
    """
    Raises:
        UnsupportedRequest, BadCall: there is none, or the node is locked; in DVID's words.
    """
    endpoints = _endpoints(found)
    if request.method in READING:
        handler = endpoints.handlers.get(endpoint) or endpoints.others.get("GET")
        if handler is None:
            raise _unknown(request, found, endpoint)
        return handler
    if request.method == "POST" and endpoint in endpoints.asking:
        return endpoints.asking[endpoint]
    return _changing(request, found, endpoint)


def _changing(request: Request, found: Instance, endpoint: str) -> Handler:
    endpoints = _endpoints(found)
    if request.method not in endpoints.changing:
        raise UnsupportedRequest(f'Data "{found.name}" can only handle GET or POST HTTP verbs')
    handler = endpoints.changing[request.method].get(endpoint)
    if handler is None and endpoint not in endpoints.handlers:
        handler = endpoints.others.get(request.method)
    if handler is None and endpoint not in endpoints.not_offered:
        raise _refused(request, found, endpoint)
    if not found.changeable:
        locked = found.node.uuid
        raise UnsupportedRequest(f'Cannot do {request.method} on endpoint "{endpoint}" of locked node {locked}')
    if handler is None:
        raise UnsupportedRequest(f'{request.method} on "{endpoint}" of type {found.typename} is not offered')
    return handler


def _refused(request: Request, found: Instance, endpoint: str) -> WkdvidError:
    """What DVID says of another method on what only reads."""
    endpoints = _endpoints(found)
    special = endpoints.post_texts.get(endpoint)
    if special is None and endpoint not in endpoints.handlers:
        return _unknown(request, found, endpoint)
    return UnsupportedRequest(special or f"{endpoint} endpoint only supports GET HTTP verb")


def _unknown(request: Request, found: Instance, endpoint: str) -> WkdvidError:
    if endpoint in {"extents", "resolution"}:
        return UnsupportedRequest(f"{endpoint} endpoint only supports POST HTTP verb")
    return BadCall(
        f'Bad API call ({unquote(request.path)}) for data "{found.name}".  '
        f"See API help at http://{host_of(request)}/api/help/{found.typename}"
    )


# ---- the server ---------------------------------------------------------------------------------------------------


async def heartbeat(request: Request) -> HTTPResponse:
    return reply("OK", PLAIN)


async def interface_version(request: Request) -> HTTPResponse:
    return reply("v1\n", PLAIN)


async def load(request: Request) -> HTTPResponse:
    return json_reply(server.load(request.app.ctx.dvid_throttle.running, services_of(request).passing_answers()))


async def info(request: Request) -> HTTPResponse:
    return json_reply(server.info(host_of(request), request.app.ctx.started, read_only=request.app.ctx.read_only))


async def note(request: Request) -> HTTPResponse:
    return reply("", PLAIN)


async def types(request: Request) -> HTTPResponse:
    return json_reply(documents.types())


async def token(request: Request) -> HTTPResponse:
    """Neuroglancer asks for one when it was refused; none is needed to read."""
    raise UnsupportedRequest("this server gives out no tokens")


async def user_latencies(request: Request) -> HTTPResponse:
    """Of users' heartbeats, which nobody notes."""
    if request.args.get("u"):
        raise UnsupportedRequest("heartbeats of users are not kept")
    return json_reply({})


async def refuse(reason: str, request: Request) -> HTTPResponse:
    """What DVID has and this server does not."""
    raise UnsupportedRequest(reason)


async def refuse_change(reason: str, request: Request) -> HTTPResponse:
    await require_dvid_admin(request, f"POST {request.path} requires admin privileges (admintoken or DSG admin)")
    raise UnsupportedRequest(reason)


async def help_page(request: Request) -> HTTPResponse:
    return reply(server.HELP, HTML)


async def help_of_type(request: Request, typename: str) -> HTTPResponse:
    return reply(server.help_of_type(typename), PLAIN)


async def post_settings(request: Request) -> HTTPResponse:
    await require_dvid_admin(request, "POST /api/server/settings requires admin privileges (admintoken or DSG admin)")
    return reply(server.change(request.app.ctx.dvid_throttle, json_body(request)), PLAIN)


# ---- run-time datasets --------------------------------------------------------------------------------------------


async def post_runtime(request: Request) -> HTTPResponse:
    await require_administration(request, dvid_token(request))
    name = runtime.dataset_name(parse.query(request.query_string))
    document = runtime.entry(name, json_body(request), request.args.get("axes"))
    await services_of(request).registrar.register(document)
    return json_reply({"message": f"Dataset {name} configured successfully", "dataset_name": name})


async def delete_runtime(request: Request) -> HTTPResponse:
    await require_administration(request, dvid_token(request))
    name = runtime.dataset_name(parse.query(request.query_string))
    await services_of(request).registrar.remove(runtime.key(name))
    return json_reply({"message": f"Dataset {name} removed", "dataset_name": name})


async def list_runtime(request: Request) -> HTTPResponse:
    return json_reply({"datasets": runtime.names(await services_of(request).visible(dvid_token(request)))})


PUBLIC: Mapping[str, Callable[..., Any]] = {
    "/interface/version": interface_version,
    "/api/heartbeat": heartbeat,
    "/api/load": load,
    "/api/user-latencies": user_latencies,
    "/api/help": help_page,
    "/api/help/<typename>": help_of_type,
    "/api/server/info": info,
    "/api/server/note": note,
    "/api/server/types": types,
    "/api/server/compiled-types": types,
    "/api/server/token": token,
}
REFUSED: Mapping[str, str] = {
    "/interface": "this API is not described as RAML; see /docs",
    "/api/server/config": "the configuration is not shown: it may hold secrets",
    "/api/server/groupcache": "there is no groupcache",
    "/api/storage": "what is stored where is not shown; see /api/repos/info",
}
REFUSED_CHANGES: Mapping[str, str] = {
    "/api/server/reload-auth": "there is no authorization file to be read again",
    "/api/server/reload-blocklist": "there is no block list to be read again",
}
READ: Mapping[str, Callable[..., Any]] = {
    "/api/repos/info": repositories.repos_info,
    "/api/repo/<uuid>": repositories.repo,
    "/api/repo/<uuid>/info": repositories.repo_info,
    "/api/repo/<uuid>/log": repositories.repo_log,
    "/api/repo/<uuid>/branch-versions/<branch>": repositories.branch_versions,
    "/api/node/<uuid>/<action>": repositories.node,
    "/api/config/datasets": list_runtime,
}


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    status, headers = status_for(error, STATUS), {"X-Content-Type-Options": "nosniff"}
    if status >= 500:
        log_failure(log, request, error)
    return reply(text(error, unquote(request.path)), TEXT, status, headers)
