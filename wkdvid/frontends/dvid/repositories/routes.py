"""Handlers of the routes of repositories and nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.repositories import Node
from wkdvid.errors import UnsupportedRequest
from wkdvid.frontends.dvid.callers import asked_version, changed_version, dvid_token, is_closed, require_dvid_admin
from wkdvid.frontends.dvid.repositories.changes import NODE_CHANGES, Answer, Change, create_repository
from wkdvid.frontends.dvid.repositories.described import described
from wkdvid.frontends.dvid.versions import at_root, branch_name, version_of, visible_repositories
from wkdvid.frontends.http import TEXT, json_reply, reply, services_of

PLAIN = "text/plain"
NEEDS_ADMIN = "Creating a repo requires admin privileges (admintoken or DSG admin) on a server that is not read-only"

# ---- reading --------------------------------------------------------------------------------------------------------


async def repos_info(request: Request) -> HTTPResponse:
    services, token = services_of(request), dvid_token(request)
    datasets = [await version_of(services, dataset, token) for dataset in await services.visible(token)]
    newest = [at for at in datasets if at.node is at.repository.newest]
    made = [at_root(repository) for repository in await visible_repositories(services, token)]
    annotated = await services.annotations.datasets(token)
    return json_reply({at.repository.root: await described(services, at, annotated) for at in (*newest, *made)})


async def repo_info(request: Request, uuid: str) -> HTTPResponse:
    services, at = services_of(request), await asked_version(request, uuid)
    return json_reply(await described(services, at, await services.annotations.datasets(dvid_token(request))))


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
        return reply("404 page not found\n", TEXT, 404)
    return json_reply(NODE_ANSWERS[action]((await asked_version(request, uuid)).node))


# ---- changing -------------------------------------------------------------------------------------------------------


async def post_repos(request: Request) -> HTTPResponse:
    if await is_closed(request):
        raise UnsupportedRequest(NEEDS_ADMIN)
    await require_dvid_admin(request, NEEDS_ADMIN)
    return _told(await create_repository(services_of(request), request.body))


def post_repo(change: Change) -> Callable[[Request, str], Awaitable[HTTPResponse]]:
    """The handler of one change of repositories."""

    async def post(request: Request, uuid: str) -> HTTPResponse:
        at = await changed_version(request, uuid)
        return _told(await change(services_of(request), at, request.body))

    return post


async def post_node(request: Request, uuid: str, action: str) -> HTTPResponse:
    if action not in NODE_CHANGES:
        return reply("404 page not found\n", TEXT, 404)
    at = await changed_version(request, uuid)
    return _told(await NODE_CHANGES[action](services_of(request), at, request.body))


def _told(answer: Answer) -> HTTPResponse:
    return reply("", PLAIN) if answer is None else json_reply(answer)


NODE_ANSWERS: Mapping[str, Callable[[Node], Mapping[str, Any]]] = {
    "status": lambda node: {"Locked": node.locked},
    "commit": lambda node: {"Locked": node.locked},
    "note": lambda node: {"note": node.note},
    "log": lambda node: {"log": list(node.log)},
}
"""What there is to say of a node."""
