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
from wkdvid.core.host_lock import HostLock

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
    said_extent: Box | None = None
    """Where voxels were said to be when it was made: for nodes that see none which were written."""
    max_labels: Mapping[int, int] = field(default_factory=dict)
    """Of labels with an index, by version: the largest that was ever written to the node, where it has raised it."""


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
    def said_public(self) -> bool:
        return False

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

    def versions(self, uuid: str, instance: DataInstance) -> Sequence[int]:
        """Whose state of an instance a node sees, nearest first. What is not versioned is the root's."""
        seen = self.lineage(uuid) if instance.versioned else [self.nodes[self.root]]
        return [node.version for node in seen]

    def head(self, branch: str) -> Node | None:
        """The newest node of a branch; None: there is no such branch."""
        return next((node for node in reversed([*self.nodes.values()]) if node.branch == branch), None)

    def children(self, uuid: str) -> Sequence[Node]:
        return [node for node in self.nodes.values() if node.parent == uuid]

    def extent(self, uuid: str, instance: DataInstance) -> Box | None:
        """Of an instance's voxels as a node sees them; None: never written, and nothing was said of them."""
        return self.written_extent(uuid, instance) or instance.said_extent

    def written_extent(self, uuid: str, instance: DataInstance) -> Box | None:
        """As ``extent``, of what was written alone."""
        own = (instance.extents.get(node.version) for node in self.lineage(uuid))
        return next((extent for extent in own if extent is not None), None)

    def max_label(self, uuid: str, instance: DataInstance) -> int | None:
        """The largest that was ever written to a node or its ancestors; None: there was none but 0."""
        seen = (instance.max_labels.get(version) for version in self.versions(uuid, instance))
        return max((label for label in seen if label is not None), default=None)


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
    """All repositories, in step with the store. A change is acknowledged when every worker of the host sees it.

    Methods that change raise DatabaseUnavailable where the change could not be stored, and RequestError where it is
    not allowed, in DVID's words; then nothing is changed. Whether it is allowed is decided where it is stored: of two
    workers or hosts that take the same name one is refused.
    """

    @property
    def current(self) -> bool:
        """Whether this process has seen every acknowledged change. Cheap: asked on each request."""
        ...

    @property
    def generation(self) -> int:
        """Of the last change that this process has seen."""
        ...

    async def catch_up(self) -> None:
        """See every change acknowledged on this host before this call. While the store does not answer, what is known
        stays.

        Raises:
            DatabaseUnavailable: nothing is known yet.
        """
        ...

    async def be_current(self) -> None:
        """As ``catch_up``, for who must not act upon what was.

        Raises:
            DatabaseUnavailable: there may be a change that is not known.
        """
        ...

    async def look_again(self) -> None:
        """See also what other hosts have acknowledged before this call.

        Raises:
            DatabaseUnavailable: that cannot be known now.
        """
        ...

    async def follow(self, lock: HostLock) -> None:
        """See what other hosts change, until cancelled.

        Args:
            lock: Held by the worker that asks for all of this host.
        """
        ...

    @property
    def by_root(self) -> Mapping[str, Repository]: ...

    def with_uuid(self, uuid: str) -> tuple[Repository, Node] | None:
        """The node of this UUID."""
        ...

    def with_uuid_prefix(self, prefix: str) -> Sequence[tuple[Repository, Node]]:
        """Nodes whose UUID begins so, or is exactly this."""
        ...

    async def create(self, root: str | None, alias: str, description: str) -> str:
        """
        Args:
            root: None: a new one is made up.
        Returns:
            The UUID of the root.
        """
        ...

    async def describe(self, root: str, alias: str | None, description: str | None) -> None:
        """What is None stays."""
        ...

    async def append_log(self, root: str, messages: Sequence[str]) -> None:
        """To the repository's."""
        ...

    async def annotate(self, uuid: str, note: str | None, messages: Sequence[str]) -> None:
        """Of an open node: replace the note (None: it stays), and append to the log."""
        ...

    async def commit(self, uuid: str, note: str | None, messages: Sequence[str]) -> None:
        """As ``annotate``; the node is immutable from now on."""
        ...

    async def add_child(
        self, parent: str, *, uuid: str | None, branch: str | None, note: str, locked: bool = False
    ) -> str:
        """A new version of a locked node.

        Args:
            uuid: None: a new one is made up.
            branch: One that the repository does not have yet; None: the parent's, if nothing follows there.
        Returns:
            Its UUID.
        """
        ...

    async def add_instance(self, uuid: str, instance: DataInstance, extent: Box | None = None) -> None:
        """
        Args:
            uuid: The node, an open one, in which it is made.
            extent: Where its voxels are said to be; what is first written takes its place.
        """
        ...

    async def set_tags(self, data_uuid: str, tags: Mapping[str, str], *, replace: bool) -> None:
        """
        Args:
            replace: Whether those that are not named go.
        """
        ...

    async def set_settings(self, data_uuid: str, changed: Mapping[str, Any]) -> None:
        """Those that are not named stay."""
        ...

    async def set_extent(self, data_uuid: str, version: int, extent: Box, *, grow: bool) -> None:
        """
        Args:
            version: Of the node that sees it; all see that of an unversioned instance.
            grow: Join it with the extent that the node sees, which another writer may have changed meanwhile.
        """
        ...

    async def raise_max_label(self, data_uuid: str, version: int, label: int) -> None:
        """
        Args:
            version: As of ``set_extent``.
            label: Has been written; it may be less than the largest.
        """
        ...
