"""The repositories in SQL."""

from __future__ import annotations

import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wkdvid.core.agreement import InStep
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.geometry import Box
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.repository_changes import Change
from wkdvid.metadata.repository_rows import read_changed
from wkdvid.metadata.schema import repositories_state
from wkdvid.metadata.shared_state import SharedState

Result = TypeVar("Result")

COUNTER = "repositories.generation"
"""File of the generation, in the state folder."""


class SqlRepositories(InStep):
    """A ``core.repositories.Repositories``; its methods are described there.

    All of it is in memory: requests ask SQL for nothing but changes.
    """

    def __init__(self, state: SharedState) -> None:
        super().__init__(state, "repositories")
        self._state = state
        self._by_root: dict[str, Repository] = {}
        self._roots: dict[str, str] = {}
        """By the UUID of each node."""
        self._uuids: list[str] = []
        """Of all nodes, in order."""

    @property
    def by_root(self) -> Mapping[str, Repository]:
        return self._by_root

    async def _load(self) -> None:
        seen = self._seen
        generation, changed = await self._state.query(lambda connection: read_changed(connection, seen))
        self._by_root |= {repository.root: repository for repository in changed}
        self._roots |= {uuid: repository.root for repository in changed for uuid in repository.nodes}
        self._uuids = sorted(self._roots)
        self._seen = generation

    def with_uuid(self, uuid: str) -> tuple[Repository, Node] | None:
        root = self._roots.get(uuid)
        return None if root is None else (self._by_root[root], self._by_root[root].nodes[uuid])

    def with_uuid_prefix(self, prefix: str) -> Sequence[tuple[Repository, Node]]:
        first = bisect_left(self._uuids, prefix)
        last = bisect_right(self._uuids, prefix, first, key=lambda uuid: uuid[: len(prefix)])
        found = (self.with_uuid(uuid) for uuid in self._uuids[first:last])
        return [one for one in found if one is not None]

    async def _change(self, change: Callable[[Change], Result]) -> Result:
        return await self._state.change(lambda connection, generation: change(Change(connection, generation)))

    async def create(self, root: str | None, alias: str, description: str) -> str:
        uuid = new_uuid() if root is None else root
        await self._change(lambda change: change.create(uuid, alias, description))
        return uuid

    async def describe(self, root: str, alias: str | None, description: str | None) -> None:
        await self._change(lambda change: change.describe(root, alias, description))

    async def append_log(self, root: str, messages: Sequence[str]) -> None:
        await self._change(lambda change: change.append_log(root, messages))

    async def annotate(self, uuid: str, note: str | None, messages: Sequence[str]) -> None:
        await self._change(lambda change: change.annotate(uuid, note, messages))

    async def commit(self, uuid: str, note: str | None, messages: Sequence[str]) -> None:
        await self._change(lambda change: change.annotate(uuid, note, messages, locked=True))

    async def add_child(
        self, parent: str, *, uuid: str | None, branch: str | None, note: str, locked: bool = False
    ) -> str:
        child = new_uuid() if uuid is None else uuid
        await self._change(lambda change: change.add_child(parent, child, branch, note, locked=locked))
        return child

    async def add_instance(self, uuid: str, instance: DataInstance, extent: Box | None = None) -> None:
        await self._change(lambda change: change.add_instance(uuid, instance, extent))

    async def set_tags(self, data_uuid: str, tags: Mapping[str, str], *, replace: bool) -> None:
        await self._change(lambda change: change.set_tags(data_uuid, tags, replace=replace))

    async def set_settings(self, data_uuid: str, changed: Mapping[str, Any]) -> None:
        await self._change(lambda change: change.set_settings(data_uuid, changed))

    async def set_extent(self, data_uuid: str, version: int, extent: Box, *, grow: bool) -> None:
        await self._change(lambda change: change.set_extent(data_uuid, version, extent, grow=grow))

    async def raise_max_label(self, data_uuid: str, version: int, label: int) -> None:
        await self._change(lambda change: change.raise_max_label(data_uuid, version, label))


def new_uuid() -> str:
    return secrets.token_hex(16)


def open_state(database_url: str, state_folder: Path) -> SharedState:
    """
    Args:
        state_folder: Holds the counter; the same for all workers of the host.
    Raises:
        ConfigError: as ``open_engine``.
    """
    return SharedState(open_engine(database_url), SharedCounter(state_folder / COUNTER), repositories_state)
