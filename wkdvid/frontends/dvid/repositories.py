"""Repositories and their nodes as they are read over HTTP (dvid.md A3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.catalog import Dataset
from wkdvid.core.repositories import Node
from wkdvid.core.services import Services
from wkdvid.frontends.dvid import documents
from wkdvid.frontends.dvid.callers import asked_version, dvid_token
from wkdvid.frontends.dvid.instances import Instance, Version, instances, refusal, segments_instances, type_of
from wkdvid.frontends.dvid.made import made_instance
from wkdvid.frontends.dvid.status import no_such_page
from wkdvid.frontends.dvid.versions import at_root, branch_name, version_of, visible_repositories
from wkdvid.frontends.http import json_reply, reply, services_of

PLAIN = "text/plain"


async def repos_info(request: Request) -> HTTPResponse:
    services, token = services_of(request), dvid_token(request)
    datasets = [await version_of(services, dataset, token) for dataset in await services.visible(token)]
    newest = [at for at in datasets if at.node is at.repository.newest]
    made = [at_root(repository) for repository in await visible_repositories(services, token)]
    return json_reply({at.repository.root: await _described(services, at) for at in (*newest, *made)})


async def repo_info(request: Request, uuid: str) -> HTTPResponse:
    return json_reply(await _described(services_of(request), await asked_version(request, uuid)))


async def _described(services: Services, at: Version) -> dict[str, Any]:
    """A repository, whichever node names it. Of instances of one name in several releases the newest one's is shown."""
    if at.dataset is None:
        made = [await made_instance(services, at, data) for data in at.repository.instances.values()]
        return documents.repository(at.repository, made)
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
    await asked_version(request, uuid)
    return reply("", PLAIN)


async def branch_versions(request: Request, uuid: str, branch: str) -> HTTPResponse:
    """Of the nodes from a branch's newest one to the root, newest first."""
    repository = (await asked_version(request, uuid)).repository
    head = repository.head(branch_name(branch))
    return json_reply([node.uuid for node in repository.lineage(head.uuid)] if head is not None else [])


async def repo_log(request: Request, uuid: str) -> HTTPResponse:
    return json_reply({"log": list((await asked_version(request, uuid)).repository.log)})


async def node(request: Request, uuid: str, action: str) -> HTTPResponse:
    if action not in NODE_ANSWERS:
        return no_such_page()
    return json_reply(NODE_ANSWERS[action]((await asked_version(request, uuid)).node))


NODE_ANSWERS: Mapping[str, Callable[[Node], Mapping[str, Any]]] = {
    "status": lambda node: {"Locked": node.locked},
    "commit": lambda node: {"Locked": node.locked},
    "note": lambda node: {"note": node.note},
    "log": lambda node: {"log": list(node.log)},
}
"""What there is to say of a node."""
