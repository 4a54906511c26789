"""What clients change of repositories and their nodes. What is wrong is said in DVID's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from wkdvid.core.concurrent import to_its_end
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.dvid.instances import Version
from wkdvid.frontends.dvid.new_instance import parse_new_instance
from wkdvid.frontends.dvid.new_version import Body, parse_body, parse_branch, parse_child_uuid, parse_uuid

Answer: TypeAlias = Mapping[str, str] | None
"""JSON, or no body."""
Change: TypeAlias = Callable[[Services, Version, bytes], Awaitable[Answer]]
"""From the node that was named, and the body of the request."""


async def create_repository(services: Services, content: bytes) -> Answer:
    body = parse_body(content or b"{}")
    root = body.text("root")
    if root is not None:
        await _refuse_known(services, parse_uuid(root, "root"))
    made = await services.repositories.create(root, body.text("alias") or "", body.text("description") or "")
    return {"root": made}


async def _refuse_known(services: Services, uuid: str) -> None:
    """Of nodes that clients have made the store knows."""
    await services.catalog.catch_up()
    if any(uuid in dataset.repository.nodes for dataset in services.catalog.datasets()):
        raise InvalidRequest("UUID already exists in datastore")


# ---- of repositories ------------------------------------------------------------------------------------------------


async def _describe(services: Services, at: Version, content: bytes) -> Answer:
    body = parse_body(content)
    await services.repositories.describe(at.repository.root, body.text("alias"), body.text("description"))
    return None


async def _append_log(services: Services, at: Version, content: bytes) -> Answer:
    await services.repositories.append_log(at.repository.root, parse_body(content).texts("log"))
    return None


async def _add_instance(services: Services, at: Version, content: bytes) -> Answer:
    if at.node.locked:
        raise UnsupportedRequest(f"New data instance cannot be created on locked node {at.node.uuid}")
    new = parse_new_instance(parse_body(content, "Error decoding POSTed JSON config for 'new': ").members)
    await services.repositories.add_instance(at.node.uuid, new.instance, new.extent)
    return {"result": f"Added {new.instance.name} [{new.instance.typename}] to node {at.node.uuid}"}


async def _refuse_merge(services: Services, at: Version, content: bytes) -> Answer:
    raise UnsupportedRequest("versions are not merged here")


REPOSITORY_CHANGES: Mapping[str, Change] = {
    "info": _describe,
    "log": _append_log,
    "instance": _add_instance,
    "merge": _refuse_merge,
    "resolve": _refuse_merge,
}

# ---- of nodes -------------------------------------------------------------------------------------------------------


async def _note(services: Services, at: Version, content: bytes) -> Answer:
    await services.repositories.annotate(at.node.uuid, parse_body(content).text("note"), ())
    return None


async def _log(services: Services, at: Version, content: bytes) -> Answer:
    await services.repositories.annotate(at.node.uuid, None, parse_body(content).texts("log"))
    return None


async def _commit(services: Services, at: Version, content: bytes) -> Answer:
    body = parse_body(content)
    note, messages = body.text("note"), body.texts("log")
    async with services.volumes.committing(at.node):
        await to_its_end(services.repositories.commit(at.node.uuid, note, messages))
    return {"committed": at.node.uuid}


async def _new_version(services: Services, at: Version, content: bytes) -> Answer:
    return await _add_child(services, at, parse_body(content), None)


async def _branch(services: Services, at: Version, content: bytes) -> Answer:
    body = parse_body(content)
    branch = parse_branch(body)
    if at.repository.head(branch) is not None and at.node.locked:
        raise InvalidRequest("branch already exists with given name")
    return await _add_child(services, at, body, branch)


async def _add_child(services: Services, at: Version, body: Body, branch: str | None) -> Answer:
    uuid = parse_child_uuid(body)
    if uuid is not None:
        await _refuse_known(services, uuid)
    note = body.text("note") or ""
    return {"child": await services.repositories.add_child(at.node.uuid, uuid=uuid, branch=branch, note=note)}


async def _tag(services: Services, at: Version, content: bytes) -> Answer:
    body = parse_body(content)
    tag = parse_uuid(body.text("tag") or "", "tag")
    await _refuse_known(services, tag)
    note = body.text("note") or f'Tag of version {at.node.uuid} with "{tag}"'
    await services.repositories.add_child(at.node.uuid, uuid=tag, branch=f"tag-{tag}", note=note, locked=True)
    return {"child": tag}


NODE_CHANGES: Mapping[str, Change] = {
    "note": _note,
    "log": _log,
    "commit": _commit,
    "newversion": _new_version,
    "branch": _branch,
    "tag": _tag,
}
