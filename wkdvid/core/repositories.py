"""Repositories that clients make: a DAG of versions, and the data instances in it (DVID's model, dvid.md D).

A node is open until it is committed, and then immutable for ever. A child sees what its parent holds until it is
written to itself. Where all of it is kept is a store's to know (``metadata``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wkdvid.core.entries import DatasetEntry, DatasetKey
from wkdvid.core.geometry import Box

ORGANIZATION = "repos"
"""Of repositories, where access is decided by ``organization/dataset``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One version."""

    uuid: str
    version: int
    """Number of the node, unique on the server."""
    branch: str = ""
    """The empty one is master."""
    note: str = ""
    log: Sequence[str] = ()
    """Each ``<RFC 3339 time>  <message>``."""
    locked: bool = False
    parent: str | None = None
    """UUID; None for the root."""
    created: str = ""
    """RFC 3339."""
    updated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInstance:
    """Data of one type under one name in all nodes of a repository."""

    name: str
    typename: str
    data_uuid: str
    """32 hex digits, new for each instance: what is stored of it is found by this."""
    versioned: bool = True
    """Else all nodes share one state, which stays writable."""
    tags: Mapping[str, str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What its type needs: of voxels see ``VoxelSettings``, of a region of interest ``block_size``. As JSON has it."""
    extents: Mapping[int, Box] = field(default_factory=dict)
    """Of voxels, by version: of each node in which they were changed; others have their nearest ancestor's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Satisfies ``core.access.Protected``."""

    root: str
    """UUID of the first node."""
    alias: str = ""
    description: str = ""
    log: Sequence[str] = ()
    created: str = ""
    updated: str = ""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    """By UUID, the root first, children after their parents."""
    instances: Mapping[str, DataInstance] = field(default_factory=dict)
    """By name."""

    @property
    def key(self) -> DatasetKey:
        return DatasetKey(ORGANIZATION, self.root)

    @property
    def public(self) -> bool:
        return True

    @property
    def chosen_id(self) -> str | None:
        return None

    @property
    def newest(self) -> Node:
        return next(reversed([*self.nodes.values()]))

    def lineage(self, uuid: str) -> Sequence[Node]:
        """A node and its ancestors, the root last."""
        found = [self.nodes[uuid]]
        while (parent := found[-1].parent) is not None:
            found.append(self.nodes[parent])
        return found

    def head(self, branch: str) -> Node | None:
        """The newest node of a branch; None: there is no such branch."""
        return next((node for node in reversed([*self.nodes.values()]) if node.branch == branch), None)

    def children(self, uuid: str) -> Sequence[Node]:
        return [node for node in self.nodes.values() if node.parent == uuid]

    def extent(self, uuid: str, instance: DataInstance) -> Box | None:
        """Of an instance's voxels as a node sees them; None: never written."""
        own = (instance.extents.get(node.version) for node in self.lineage(uuid))
        return next((extent for extent in own if extent is not None), None)


def repository_of(releases: Sequence[DatasetEntry]) -> Repository:
    """A registered dataset, or several releases of one (oldest first), as a repository of committed nodes."""
    organization, name = releases[-1].key
    parents = [None, *(entry.uuid for entry in releases)]
    nodes = {
        entry.uuid: Node(uuid=entry.uuid, version=i, note=entry.note, locked=True, parent=parents[i - 1])
        for i, entry in enumerate(releases, 1)
    }
    return Repository(root=releases[0].uuid, alias=name, description=f"{organization}/{name}", nodes=nodes)


class Repositories(Protocol):
    """All repositories, in step with the store. Changes are acknowledged when every worker of the host sees them.

    Methods that change raise DatabaseUnavailable where the change could not be stored, and RequestError where it is
    not allowed, in DVID's words; then nothing is changed.
    """

    @property
    def current(self) -> bool:
        """Whether this process has seen every acknowledged change. Cheap: asked on each request."""
        ...

    async def catch_up(self) -> None:
        """See every change acknowledged on this host before this call."""
        ...

    @property
    def by_root(self) -> Mapping[str, Repository]: ...

    def with_uuid_prefix(self, prefix: str) -> Sequence[tuple[Repository, Node]]:
        """Nodes whose UUID begins so, or is exactly this."""
        ...

    async def create(self, root: str | None, alias: str, description: str) -> Repository: ...

    async def describe(self, root: str, alias: str | None, description: str | None) -> None: ...

    async def append_log(self, root: str, uuid: str | None, messages: Sequence[str]) -> None:
        """To the log of a node, or of the repository (None)."""
        ...

    async def set_note(self, uuid: str, note: str) -> None: ...

    async def commit(self, uuid: str, note: str | None, messages: Sequence[str]) -> None: ...

    async def add_child(self, parent: str, *, uuid: str | None, branch: str, note: str, locked: bool = False) -> Node:
        """A new version of a locked node."""
        ...

    async def add_instance(self, uuid: str, instance: DataInstance) -> None: ...

    async def set_tags(self, data_uuid: str, tags: Mapping[str, str] | None) -> None: ...

    async def set_settings(self, data_uuid: str, changed: Mapping[str, Any]) -> None: ...

    async def set_extent(self, data_uuid: str, version: int, extent: Box, *, grow: bool) -> None:
        """
        Args:
            grow: Join it with the extent that the node sees, which another writer may have changed meanwhile.
        """
        ...
