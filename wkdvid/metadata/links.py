"""Share links in SQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from wkdvid.core.agreement import InStep
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.entries import DatasetKey
from wkdvid.core.links import DAY_S, Link
from wkdvid.errors import TooLarge
from wkdvid.metadata.audit import note
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.schema import share_links, share_links_state
from wkdvid.metadata.shared_state import SharedState

COUNTER = "links.generation"
"""File of the generation, in the state folder."""
MOST = 1000
"""Links of one dataset: every worker holds all of them in memory."""
KEPT_S = 30 * DAY_S
"""After which an expired one is forgotten: a clock that is ahead for a while takes none away for good."""
WITH_ITS_DATASET = "removed with its dataset"
"""Instead of who did it, in the record of changes."""


class SqlLinks(InStep):
    """A ``core.links.LinkStore``; its methods are described there. All of it is in memory."""

    def __init__(self, state: SharedState) -> None:
        super().__init__(state, "share links")
        self._state = state
        self._by_id: Mapping[str, Link] = {}

    @property
    def by_id(self) -> Mapping[str, Link]:
        return self._by_id

    async def _load(self) -> None:
        self._seen, self._by_id = await self._state.query(_read)

    async def add(self, link: Link) -> None:
        def add(connection: sa.Connection, _: int) -> None:
            connection.execute(sa.delete(share_links).where(share_links.c.expires < time.time() - KEPT_S))
            count = sa.select(sa.func.count()).where(share_links.c.dataset == str(link.dataset))
            if connection.execute(count).scalar_one() >= MOST:
                raise TooLarge(f"{link.dataset} has {MOST} links, which is the limit; revoke some")
            connection.execute(sa.insert(share_links).values(_row(link)))
            note(connection, link.by, "make link", str(link.dataset), _detail(link))

        await self._change(add)

    async def remove(self, link: Link, by: str) -> None:
        def remove(connection: sa.Connection, _: int) -> None:
            connection.execute(sa.delete(share_links).where(share_links.c.id == link.id))
            note(connection, by, "revoke link", str(link.dataset), _detail(link))

        await self._change(remove)

    async def remove_all(self, dataset: DatasetKey) -> None:
        await self.catch_up()
        if not any(link.dataset == dataset for link in self._by_id.values()):
            return

        def remove(connection: sa.Connection, _: int) -> None:
            connection.execute(sa.delete(share_links).where(share_links.c.dataset == str(dataset)))
            note(connection, WITH_ITS_DATASET, "revoke link", str(dataset))

        await self._change(remove)

    async def _change(self, change: Callable[[sa.Connection, int], None]) -> None:
        await self._state.change(change)
        await self.catch_up()


def _read(connection: sa.Connection) -> Mapping[str, Link]:
    return {row.id: _link(row) for row in connection.execute(sa.select(share_links))}


def _link(row: sa.Row[Any]) -> Link:
    organization, _, dataset = row.dataset.partition("/")
    key = DatasetKey(organization, dataset)
    return Link(id=row.id, dataset=key, layer=row.layer, made=row.made, expires=row.expires, by=row.by)


def _row(link: Link) -> Mapping[str, Any]:
    scope = {"dataset": str(link.dataset), "layer": link.layer}
    return {"id": link.id, **scope, "made": link.made, "expires": link.expires, "by": link.by}


def _detail(link: Link) -> Mapping[str, Any]:
    return {"link": link.id, "layer": link.layer, "expires": link.expires}


def open_links_state(database_url: str, state_folder: Path) -> SharedState:
    """
    Args:
        state_folder: Holds the counter; the same for all workers of the host.
    Raises:
        ConfigError: as ``open_engine``.
    """
    return SharedState(open_engine(database_url), SharedCounter(state_folder / COUNTER), share_links_state)
