"""Repositories and their nodes over HTTP (dvid.md A3): what there is, and what clients make and change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.repositories import Node
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.dvid import documents
from wkdvid.frontends.dvid.callers import (
    changed_version,
    dvid_token,
    refuse_in_read_only_mode,
    require_dvid_admin,
    version_of,
)
from wkdvid.frontends.dvid.instances import Version, instances, refusal, type_of
from wkdvid.frontends.dvid.made import made_instance
from wkdvid.frontends.dvid.new_instance import parse_new_instance
from wkdvid.frontends.dvid.new_version import Body, parse_body, parse_branch, parse_child_uuid, parse_uuid
from wkdvid.frontends.dvid.versions import at_root, branch_name, shown, visible_repositories
from wkdvid.frontends.http import TEXT, json_reply, reply, services_of

PLAIN = "text/plain"
NEEDS_ADMIN = "Creating a repo requires admin privileges (admintoken or DSG admin) on a server that is not read-only"

# ---- reading --------------------------------------------------------------------------------------------------------


async def repos_info(request: Request) -> HTTPResponse:
    services, token = services_of(request), dvid_token(request)
    datasets = [shown(dataset) for dataset in await services.visible(token)]
    made = [at_root(repository) for repository in await visible_repositories(services, token)]
    return json_reply({at.repository.root: await _described(services, at) for at in (*datasets, *made)})


async def repo_info(request: Request, uuid: str) -> HTTPResponse:
    return json_reply(await _described(services_of(request), await version_of(request, uuid)))


async def _described(services: Services, at: Version) -> dict[str, Any]:
    if at.dataset is None:
        made = [await made_instance(services, at, data) for data in at.repository.instances.values()]
        return documents.repository(at.repository, made)
    layers = at.dataset.layers.items()
    left_out = {name: refusal(layer) for name, layer in layers if type_of(layer.info) is None}
    properties = {
        **({"Unavailable": at.dataset.reason} if at.dataset.reason else {}),
        **({"NotOffered": left_out} if left_out else {}),
    }
    return documents.repository(at.repository, instances(at, at.dataset), properties)


async def repo(request: Request, uuid: str) -> HTTPResponse:
    """HEAD: whether there is such a repository."""
    await version_of(request, uuid)
    return reply("", PLAIN)


async def branch_versions(request: Request, uuid: str, branch: str) -> HTTPResponse:
    """Of the nodes from a branch's newest one to the root, newest first."""
    repository = (await version_of(request, uuid)).repository
    head = repository.head(branch_name(branch))
    return json_reply([node.uuid for node in repository.lineage(head.uuid)] if head is not None else [])


async def repo_log(request: Request, uuid: str) -> HTTPResponse:
    return json_reply({"log": list((await version_of(request, uuid)).repository.log)})


async def node(request: Request, uuid: str, action: str) -> HTTPResponse:
    if action not in NODE_ANSWERS:
        return _no_such_page()
    return json_reply(NODE_ANSWERS[action]((await version_of(request, uuid)).node))


def _no_such_page() -> HTTPResponse:
    return reply("404 page not found\n", TEXT, 404)


# ---- repositories ---------------------------------------------------------------------------------------------------


async def post_repos(request: Request) -> HTTPResponse:
    await require_dvid_admin(request, NEEDS_ADMIN)
    await refuse_in_read_only_mode(request)
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
        return _no_such_page()
    at = await _made_version(request, uuid)
    answer = await NODE_CHANGES[action](services_of(request), at, parse_body(request.body))
    return reply("", PLAIN) if answer is None else json_reply(answer)


async def _note(services: Services, at: Version, body: Body) -> None:
    await services.repositories.annotate(at.node.uuid, body.text("note"), ())


async def _log(services: Services, at: Version, body: Body) -> None:
    await services.repositories.annotate(at.node.uuid, None, body.texts("log"))


async def _commit(services: Services, at: Version, body: Body) -> Mapping[str, str]:
    await services.repositories.commit(at.node.uuid, body.text("note"), body.texts("log"))
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


NODE_ANSWERS: Mapping[str, Callable[[Node], Mapping[str, Any]]] = {
    "status": lambda node: {"Locked": node.locked},
    "commit": lambda node: {"Locked": node.locked},
    "note": lambda node: {"note": node.note},
    "log": lambda node: {"log": list(node.log)},
}
"""What there is to say of a node."""
NODE_CHANGES: Mapping[str, Callable[[Services, Version, Body], Any]] = {
    "note": _note,
    "log": _log,
    "commit": _commit,
    "newversion": _new_version,
    "branch": _branch,
    "tag": _tag,
}
