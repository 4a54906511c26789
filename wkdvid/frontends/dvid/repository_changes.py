"""Repositories, versions and data instances as clients make and change them (dvid.md A3, D)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.concurrent import to_its_end
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.dvid.callers import changed_version, is_closed, require_dvid_admin
from wkdvid.frontends.dvid.instances import Version
from wkdvid.frontends.dvid.new_instance import parse_new_instance
from wkdvid.frontends.dvid.new_version import Body, parse_body, parse_branch, parse_child_uuid, parse_uuid
from wkdvid.frontends.dvid.status import no_such_page
from wkdvid.frontends.http import json_reply, reply, services_of

PLAIN = "text/plain"
NEEDS_ADMIN = "Creating a repo requires admin privileges (admintoken or DSG admin) on a server that is not read-only"


async def post_repos(request: Request) -> HTTPResponse:
    if await is_closed(request):
        raise UnsupportedRequest(NEEDS_ADMIN)
    await require_dvid_admin(request, NEEDS_ADMIN)
    body, services = parse_body(request.body or b"{}"), services_of(request)
    root = body.text("root")
    if root is not None:
        await _refuse_known(services, parse_uuid(root, "root"))
    made = await services.repositories.create(root, body.text("alias") or "", body.text("description") or "")
    return json_reply({"root": made})


async def _refuse_known(services: Services, uuid: str) -> None:
    """Of nodes that clients have made the store knows."""
    await services.catalog.catch_up()
    if any(uuid in dataset.repository.nodes for dataset in services.catalog.datasets()):
        raise InvalidRequest("UUID already exists in datastore")


async def post_info(request: Request, uuid: str) -> HTTPResponse:
    at, body = await _made_version(request, uuid), parse_body(request.body)
    alias, description = body.text("alias"), body.text("description")
    await services_of(request).repositories.describe(at.repository.root, alias, description)
    return reply("", PLAIN)


async def post_log(request: Request, uuid: str) -> HTTPResponse:
    at, lines = await _made_version(request, uuid), parse_body(request.body).texts("log")
    await services_of(request).repositories.append_log(at.repository.root, lines)
    return reply("", PLAIN)


async def post_instance(request: Request, uuid: str) -> HTTPResponse:
    at = await changed_version(request, uuid)
    if at.node.locked:
        raise UnsupportedRequest(f"New data instance cannot be created on locked node {at.node.uuid}")
    new = parse_new_instance(parse_body(request.body, "Error decoding POSTed JSON config for 'new': ").members)
    await services_of(request).repositories.add_instance(at.node.uuid, new.instance, new.extent)
    return json_reply({"result": f"Added {new.instance.name} [{new.instance.typename}] to node {at.node.uuid}"})


async def post_merge(request: Request, uuid: str) -> HTTPResponse:
    await _made_version(request, uuid)
    raise UnsupportedRequest("versions are not merged here")


async def _made_version(request: Request, uuid: str) -> Version:
    at = await changed_version(request, uuid)
    if at.dataset is not None:
        raise UnsupportedRequest(f"Cannot do post on locked node {at.node.uuid}")
    return at


# ---- nodes ----------------------------------------------------------------------------------------------------------


async def post_node(request: Request, uuid: str, action: str) -> HTTPResponse:
    if action not in NODE_CHANGES:
        return no_such_page()
    at = await _made_version(request, uuid)
    answer = await NODE_CHANGES[action](services_of(request), at, parse_body(request.body))
    return reply("", PLAIN) if answer is None else json_reply(answer)


async def _note(services: Services, at: Version, body: Body) -> None:
    await services.repositories.annotate(at.node.uuid, body.text("note"), ())


async def _log(services: Services, at: Version, body: Body) -> None:
    await services.repositories.annotate(at.node.uuid, None, body.texts("log"))


async def _commit(services: Services, at: Version, body: Body) -> Mapping[str, str]:
    async with services.volumes.committing(at.node):
        await to_its_end(services.repositories.commit(at.node.uuid, body.text("note"), body.texts("log")))
    return {"committed": at.node.uuid}


async def _new_version(services: Services, at: Version, body: Body) -> Mapping[str, str]:
    return await _add_child(services, at, body, None)


async def _branch(services: Services, at: Version, body: Body) -> Mapping[str, str]:
    branch = parse_branch(body)
    if at.repository.head(branch) is not None and at.node.locked:
        raise InvalidRequest("branch already exists with given name")
    return await _add_child(services, at, body, branch)


async def _add_child(services: Services, at: Version, body: Body, branch: str | None) -> Mapping[str, str]:
    uuid = parse_child_uuid(body)
    if uuid is not None:
        await _refuse_known(services, uuid)
    note = body.text("note") or ""
    return {"child": await services.repositories.add_child(at.node.uuid, uuid=uuid, branch=branch, note=note)}


async def _tag(services: Services, at: Version, body: Body) -> Mapping[str, str]:
    tag = parse_uuid(body.text("tag") or "", "tag")
    await _refuse_known(services, tag)
    note = body.text("note") or f'Tag of version {at.node.uuid} with "{tag}"'
    await services.repositories.add_child(at.node.uuid, uuid=tag, branch=f"tag-{tag}", note=note, locked=True)
    return {"child": tag}


NODE_CHANGES: Mapping[str, Callable[[Services, Version, Body], Any]] = {
    "note": _note,
    "log": _log,
    "commit": _commit,
    "newversion": _new_version,
    "branch": _branch,
    "tag": _tag,
}
