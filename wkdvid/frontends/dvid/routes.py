"""The URL table of DVID's API. Instances' endpoints are found in small tables, so that errors are DVID's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any
from urllib.parse import unquote

from sanic import Blueprint, Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.access import Action, allowed
from wkdvid.core.catalog import Dataset
from wkdvid.core.repositories import Node
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest, UnsupportedRequest, WkdvidError
from wkdvid.frontends.dvid import documents, images, labels, parse, runtime, server
from wkdvid.frontends.dvid.calls import Answer, Call, Endpoints, Handler
from wkdvid.frontends.dvid.instances import (
    VOXEL_BYTES,
    Instance,
    Version,
    instances,
    refusal,
    segments_instances,
    type_of,
)
from wkdvid.frontends.dvid.status import STATUS, BadCall, text
from wkdvid.frontends.dvid.throttle import Throttle
from wkdvid.frontends.dvid.versions import branch_name, find_instance, find_version, version_of
from wkdvid.frontends.http import (
    HTML,
    TEXT,
    host_of,
    json_body,
    json_reply,
    log_failure,
    reply,
    request_id,
    require_administration,
    require_writing,
    send_bytes,
    send_parts,
    services_of,
    status_for,
    token_of,
)

log = logging.getLogger("wkdvid.dvid")

READING = ("GET", "HEAD")
ALL = ("GET", "HEAD", "POST", "PUT", "DELETE")
PLAIN = "text/plain"
SEGMENTS = 5
"""Path segments after an instance's endpoint; what is more than it needs is ignored."""
ENDPOINTS: Mapping[str, Endpoints] = {
    **dict.fromkeys(VOXEL_BYTES, images.ENDPOINTS),
    "labelmap": labels.ENDPOINTS,
    "keyvalue": Endpoints(handlers={"info": images.info}),
}
"""By the type of an instance."""


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
    _route(bp, "/api/repos", post_repos, "administrate", ("POST",))
    for action in ("info", "instance", "log", "merge", "resolve"):
        _route(bp, f"/api/repo/<uuid>/{action}", post_to_locked, "administrate", ("POST",))
    _route(bp, "/api/node/<uuid>/<action>", post_to_locked, "administrate", ("POST",))
    for count in range(SEGMENTS + 1):
        rest = "".join(f"/<part{i}>" for i in range(count))
        _route(bp, f"/api/node/<uuid>/<name>/<endpoint>{rest}", instance, "read", ALL)
    bp.exception(WkdvidError)(failed)
    return bp


def _route(bp: Blueprint, path: str, handler: Callable[..., Any], access: str, methods: tuple[str, ...]) -> None:
    name = f"{methods[0]}_{path}".translate(str.maketrans("/<>.", "____"))
    bp.add_route(handler, path, methods=methods, name=name, unquote=True, error_format="json", ctx_access=access)


async def _start(app: Sanic[Any, Any]) -> None:
    """Runs after the application's own start, which makes the services."""
    app.ctx.dvid_throttle = Throttle(app.ctx.services.limits.throttled_ops)


def _token(request: Request) -> str | None:
    """As every front end takes it, or as DVID's clients send it."""
    token = token_of(request)
    if token is None and "admintoken=" in request.query_string:
        return request.args.get("admintoken") or None
    return token


# ---- data instances -----------------------------------------------------------------------------------------------


async def instance(request: Request, uuid: str, name: str, endpoint: str, **rest: str) -> HTTPResponse | None:
    services = services_of(request)
    found = await find_instance(services, uuid, name, _token(request))
    endpoints = ENDPOINTS[found.typename]
    handler = _handler(request, found, endpoint)
    if request.method not in READING and endpoint not in endpoints.asking:
        await require_writing(request, _token(request), found.owner)
    query = parse.query(request.query_string)
    call = Call(services, found, endpoint, tuple(rest.values()), query, request.body, request.method)
    if "throttle" not in query:
        return await _send(request, await handler(call))
    with request.app.ctx.dvid_throttle.slot() if _is_throttled(call, endpoints.throttled) else nullcontext():
        return await _send(request, await handler(call))


def _is_throttled(call: Call[Instance], throttled: frozenset[str]) -> bool:
    """Slices are not, whatever they ask for."""
    asked = call.endpoint in throttled and call.query["throttle"] in {"on", "true"}
    return asked and not (call.endpoint in {"raw", "isotropic"} and parse.is_slice(call.parts))


async def _send(request: Request, answer: Answer) -> HTTPResponse | None:
    if answer.status != 200:
        return reply(answer.body, answer.content_type, answer.status, answer.headers)
    if answer.parts is None:
        return await send_bytes(request, answer.body, answer.content_type, answer.headers)
    return await send_parts(request, answer.parts, answer.content_type, answer.length, answer.headers)


def _handler(request: Request, found: Instance, endpoint: str) -> Handler:
    """
    Raises:
        UnsupportedRequest, BadCall: there is none, or the node is locked; in DVID's words.
    """
    endpoints = ENDPOINTS[found.typename]
    if request.method in READING:
        handler = endpoints.handlers.get(endpoint)
        if handler is None:
            raise _unknown(request, found, endpoint)
        return handler
    if request.method == "POST" and endpoint in endpoints.asking:
        return endpoints.asking[endpoint]
    return _changing(request, found, endpoint)


def _changing(request: Request, found: Instance, endpoint: str) -> Handler:
    endpoints = ENDPOINTS[found.typename]
    if request.method not in endpoints.changing:
        raise UnsupportedRequest(f'Data "{found.name}" can only handle GET or POST HTTP verbs')
    handler = endpoints.changing[request.method].get(endpoint)
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
    endpoints = ENDPOINTS[found.typename]
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


# ---- repositories and nodes ---------------------------------------------------------------------------------------


async def _version(request: Request, uuid: str) -> Version:
    return await find_version(services_of(request), uuid, _token(request))


async def repos_info(request: Request) -> HTTPResponse:
    services, token = services_of(request), _token(request)
    found = [await version_of(services, dataset, token) for dataset in await services.visible(token)]
    newest = [at for at in found if at.node is at.repository.newest]
    return json_reply({at.repository.root: _described(services, at) for at in newest})


async def repo_info(request: Request, uuid: str) -> HTTPResponse:
    return json_reply(_described(services_of(request), await _version(request, uuid)))


def _described(services: Services, at: Version) -> dict[str, Any]:
    """A repository, whichever node names it. Of instances of one name in several releases the newest one's is shown."""
    if at.dataset is None:
        return documents.repository(at.repository, ())
    versions = [
        at if node is at.node else Version(at.repository, node, services.catalog.by_uuid.get(node.uuid))
        for node in at.repository.nodes.values()
    ]
    datasets = [(one, one.dataset) for one in versions if one.dataset is not None]
    found: dict[str, Instance] = {}
    for one, dataset in datasets:
        found |= {each.name: each for each in (*instances(one, dataset), *segments_instances(one, dataset))}
    return documents.repository(at.repository, found.values(), _properties([dataset for _, dataset in datasets]))


def _properties(releases: Sequence[Dataset]) -> dict[str, Any]:
    """What there is to say of what is not offered."""
    left_out = {
        name: refusal(layer)
        for dataset in releases
        for name, layer in dataset.layers.items()
        if type_of(layer.info) is None
    }
    reasons = [dataset.reason for dataset in releases if dataset.reason]
    return {
        **({"Unavailable": "; ".join(reasons)} if reasons else {}),
        **({"NotOffered": left_out} if left_out else {}),
    }


async def repo(request: Request, uuid: str) -> HTTPResponse:
    """HEAD: whether there is such a repository."""
    await _version(request, uuid)
    return reply("", PLAIN)


async def branch_versions(request: Request, uuid: str, branch: str) -> HTTPResponse:
    """Of the nodes from a branch's newest one to the root, newest first."""
    repository = (await _version(request, uuid)).repository
    head = repository.head(branch_name(branch))
    return json_reply([node.uuid for node in repository.lineage(head.uuid)] if head is not None else [])


async def repo_log(request: Request, uuid: str) -> HTTPResponse:
    return json_reply({"log": list((await _version(request, uuid)).repository.log)})


async def node(request: Request, uuid: str, action: str) -> HTTPResponse:
    if action not in NODE_ACTIONS:
        return reply("404 page not found\n", TEXT, 404)
    return json_reply(NODE_ACTIONS[action]((await _version(request, uuid)).node))


async def post_to_locked(request: Request, uuid: str, action: str = "") -> HTTPResponse:
    locked = (await _version(request, uuid)).node.uuid
    if request.path.rstrip("/").endswith("/instance"):
        raise UnsupportedRequest(f"New data instance cannot be created on locked node {locked}")
    raise UnsupportedRequest(f"Cannot do post on locked node {locked}")


async def post_repos(request: Request) -> HTTPResponse:
    needs = "Creating a repo requires admin privileges (admintoken or DSG admin) on a server that is not read-only"
    await _require_dvid_admin(request, needs)
    wanted = json_body(request) if request.body else {}
    if isinstance(wanted, dict) and str(wanted.get("root")) in services_of(request).catalog.by_uuid:
        raise InvalidRequest("UUID already exists in datastore")
    raise UnsupportedRequest("repositories are not made by this API yet; register a dataset")


# ---- the server ---------------------------------------------------------------------------------------------------


async def heartbeat(request: Request) -> HTTPResponse:
    return reply("OK", PLAIN)


async def interface_version(request: Request) -> HTTPResponse:
    return reply("v1\n", PLAIN)


async def load(request: Request) -> HTTPResponse:
    return json_reply(server.load(request.app.ctx.dvid_throttle.running, services_of(request).passing_answers()))


async def info(request: Request) -> HTTPResponse:
    return json_reply(server.info(host_of(request), request.app.ctx.started))


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
    await _require_dvid_admin(request, f"POST {request.path} requires admin privileges (admintoken or DSG admin)")
    raise UnsupportedRequest(reason)


async def help_page(request: Request) -> HTTPResponse:
    return reply(server.HELP, HTML)


async def help_of_type(request: Request, typename: str) -> HTTPResponse:
    return reply(server.help_of_type(typename), PLAIN)


async def post_settings(request: Request) -> HTTPResponse:
    await _require_dvid_admin(request, "POST /api/server/settings requires admin privileges (admintoken or DSG admin)")
    return reply(server.change(request.app.ctx.dvid_throttle, json_body(request)), PLAIN)


async def _require_dvid_admin(request: Request, refusal: str) -> None:
    """DVID has no 401 here."""
    if not await allowed(services_of(request).authorizer, _token(request), Action.ADMINISTRATE, None):
        raise InvalidRequest(refusal)
    await require_administration(request, _token(request))


# ---- run-time datasets --------------------------------------------------------------------------------------------


async def post_runtime(request: Request) -> HTTPResponse:
    await require_administration(request, _token(request))
    name = runtime.dataset_name(parse.query(request.query_string))
    document = runtime.entry(name, json_body(request), request.args.get("axes"))
    await services_of(request).registrar.register(document)
    return json_reply({"message": f"Dataset {name} configured successfully", "dataset_name": name})


async def delete_runtime(request: Request) -> HTTPResponse:
    await require_administration(request, _token(request))
    name = runtime.dataset_name(parse.query(request.query_string))
    await services_of(request).registrar.remove(runtime.key(name))
    return json_reply({"message": f"Dataset {name} removed", "dataset_name": name})


async def list_runtime(request: Request) -> HTTPResponse:
    return json_reply({"datasets": runtime.names(await services_of(request).visible(_token(request)))})


NODE_ACTIONS: Mapping[str, Callable[[Node], Mapping[str, Any]]] = {
    "status": lambda node: {"Locked": node.locked},
    "commit": lambda node: {"Locked": node.locked},
    "note": lambda node: {"note": node.note},
    "log": lambda node: {"log": list(node.log)},
}
"""What there is to say of a node."""
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
    "/api/repos/info": repos_info,
    "/api/repo/<uuid>": repo,
    "/api/repo/<uuid>/info": repo_info,
    "/api/repo/<uuid>/log": repo_log,
    "/api/repo/<uuid>/branch-versions/<branch>": branch_versions,
    "/api/node/<uuid>/<action>": node,
    "/api/config/datasets": list_runtime,
}


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    status, headers = status_for(error, STATUS), {"X-Content-Type-Options": "nosniff"}
    if status >= 500:
        headers["X-Request-Id"] = number = request_id()
        log_failure(log, number, request, error)
    return reply(text(error, unquote(request.path)), TEXT, status, headers)
