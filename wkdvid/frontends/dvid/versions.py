"""The UUID segment of a path -> a node of a repository, and the data instances in it (dvid.md D2)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from wkdvid.core.access import Action, allowed
from wkdvid.core.catalog import Dataset
from wkdvid.core.repositories import Repository, repository_of
from wkdvid.core.services import Services
from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.frontends.dvid.instances import ANNOTATIONS, Instance, Version, annotations_instance, find
from wkdvid.frontends.dvid.made import made_instance

RUNTIME = "runtime"
"""The organization of the datasets that ``/api/config/dataset`` makes."""
MASTER = "master"
"""What the branch of no name is called."""
_ANCESTOR = re.compile(r"(.*)~([0-9]{1,9})")
_LEVEL_SUFFIX = re.compile(r"_[0-9]+$")


def branch_name(text: str) -> str:
    """As nodes have it."""
    return "" if text == MASTER else text


async def find_version(services: Services, spec: str, token: str | None) -> Version:
    """What a UUID, a unique prefix of one, ``uuid:branch`` or ``uuid:branch~k`` names.

    Raises:
        NotFound, InvalidRequest: in DVID's words.
        UpstreamUnavailable: its source cannot be read now.
    """
    return await services.looked_up(lambda: _known_version(services, spec, token))


async def _known_version(services: Services, spec: str, token: str | None) -> Version:
    uuid, colon, branch = spec.partition(":")
    if ":" in branch:
        raise InvalidRequest(f'bad UUID specification "{spec}"')
    found = await _exact(services, uuid, token) or await _by_prefix(services, uuid, token, bool(colon))
    return await _on_branch(services, found, branch, token) if branch else found


async def find_instance(services: Services, spec: str, name: str, token: str | None) -> Instance:
    """
    Raises:
        NotFound, InvalidRequest: in DVID's words.
        UnsupportedRequest: the layer's voxels are of no type that DVID has.
        UpstreamUnavailable: its source cannot be read now.
    """
    return await services.looked_up(lambda: _known_instance(services, spec, name, token))


async def _known_instance(services: Services, spec: str, name: str, token: str | None) -> Instance:
    try:
        at = await _known_version(services, spec, token)
    except NotFound:
        runtime = await _runtime(services, name, token)
        if runtime is None:
            raise
        at = shown(runtime)
    instance = await (
        _made(services, at, name) if at.dataset is None else _shown(services, at, at.dataset, name, token)
    )
    if instance is None:
        raise NotFound("invalid data instance name")
    return instance


async def _shown(services: Services, at: Version, dataset: Dataset, name: str, token: str | None) -> Instance | None:
    found = find(at, dataset, name)
    if found is None and name == ANNOTATIONS:
        view = await services.annotations.of(dataset, token)
        return None if view is None else annotations_instance(at, view)
    return found


async def _made(services: Services, at: Version, name: str) -> Instance | None:
    data = at.repository.instances.get(name)
    return None if data is None else await made_instance(services, at, data)


def shown(dataset: Dataset) -> Version:
    """A registered dataset as a repository of its own."""
    return Version(dataset.repository, dataset.repository.nodes[dataset.entry.uuid], dataset)


async def version_of(services: Services, dataset: Dataset, token: str | None) -> Version:
    """A registered dataset, which the caller may read, as a node among those of its releases that the caller may read.

    Each of them is a registered dataset, by the UUID of its node.
    """
    releases = services.catalog.releases(dataset)
    if len(releases) == 1:
        return shown(dataset)
    may = [one is dataset or await allowed(services.authorizer, token, Action.READ, one) for one in releases]
    repository = repository_of([one.entry for one, is_allowed in zip(releases, may, strict=True) if is_allowed])
    return Version(repository, repository.nodes[dataset.entry.uuid], dataset)


def at_root(repository: Repository) -> Version:
    return Version(repository, repository.nodes[repository.root])


async def visible_repositories(services: Services, token: str | None) -> Sequence[Repository]:
    """All that clients have made and that this one may read."""
    await services.repositories.catch_up()
    made = services.repositories.by_root.values()
    return [one for one in made if await allowed(services.authorizer, token, Action.READ, one)]


async def _exact(services: Services, uuid: str, token: str | None) -> Version | None:
    if not services.catalog.current:
        await services.catalog.catch_up()
    dataset = services.catalog.by_uuid.get(uuid)
    if dataset is not None:
        with contextlib.suppress(NotFound):  # not to be seen by this caller: goes on as if it were not there
            return await version_of(services, await services.known_dataset(dataset.key, token), token)
    if not services.repositories.current:
        await services.repositories.catch_up()
    made = services.repositories.with_uuid(uuid)
    if made is None or not await allowed(services.authorizer, token, Action.READ, made[0]):
        return None
    return Version(*made)


async def _by_prefix(services: Services, prefix: str, token: str | None, has_branch: bool) -> Version:
    if not prefix and not has_branch:
        raise NotFound("could not find UUID with partial match to ")
    datasets = services.catalog.with_uuid_prefix(prefix)
    datasets = [one for one in datasets if await allowed(services.authorizer, token, Action.READ, one)]
    made = services.repositories.with_uuid_prefix(prefix)
    made = [one for one in made if await allowed(services.authorizer, token, Action.READ, one[0])]
    if not prefix:
        datasets = [*{services.catalog.releases(one)[-1].key: one for one in datasets}.values()]
        made = [*{one[0].root: one for one in made}.values()]
    if len(datasets) + len(made) == 1:
        if made:
            return Version(*made[0])
        return await version_of(services, await services.known_dataset(datasets[0].key, token), token)
    if not prefix:
        raise NotFound("UUID must be specified if more than one repo exists")
    raise NotFound(
        f"more than one UUID matches {prefix}"
        if datasets or made
        else f"could not find UUID with partial match to {prefix}"
    )


async def _on_branch(services: Services, found: Version, branch: str, token: str | None) -> Version:
    ancestor = _ANCESTOR.fullmatch(branch)
    name, steps = (ancestor[1], int(ancestor[2])) if ancestor else (branch, 0)
    repository = found.repository
    head = repository.head(branch_name(name))
    if head is None:
        raise NotFound(f'branch "{name}" not found in repo "{repository.root}"')
    lineage = repository.lineage(head.uuid)
    if steps >= len(lineage):
        raise InvalidRequest(f'parent {steps} is out of range for branch "{name}"')
    node = lineage[steps]
    if found.dataset is None or node is found.node:
        return Version(repository, node, found.dataset)
    dataset = services.catalog.by_uuid.get(node.uuid)
    if dataset is None:
        raise NotFound(f"could not find UUID with partial match to {node.uuid}")
    return Version(repository, node, await services.known_dataset(dataset.key, token))


async def _runtime(services: Services, instance: str, token: str | None) -> Dataset | None:
    """The run-time dataset that an instance, or a level of it, belongs to: its clients send any UUID."""
    for name in {instance: None, _LEVEL_SUFFIX.sub("", instance): None}:
        try:
            return await services.known_dataset((RUNTIME, name), token)
        except NotFound:
            continue
    return None
