"""What the server of webKnossos, whose datastore this is, means for us. Who talks with it: the package main_server."""

from __future__ import annotations

from typing import Protocol

DatasetName = tuple[str, str]
"""Organization and name; a DatasetKey is one."""


class MainServer(Protocol):
    """It shows the datasets that are reported to it, and gives them ids of its own."""

    def known_name(self, dataset_id: str) -> DatasetName | None:
        """As ``find_name``, of those that were asked for lately; no await, since each bucket names its dataset so."""
        ...

    async def find_name(self, dataset_id: str) -> DatasetName | None:
        """The dataset that it calls by this id; None if there is none.

        Raises:
            UpstreamUnavailable: it cannot be asked now.
        """
        ...

    async def report(self) -> None:
        """Tell it now which datasets there are.

        Raises:
            BackendError: it cannot be told now, or refuses.
        """
        ...

    async def watch(self) -> None:
        """Report whenever something changes, until cancelled."""
        ...

    async def aclose(self) -> None: ...


class NoMainServer:
    """Where there is none."""

    def known_name(self, dataset_id: str) -> None:
        return None

    async def find_name(self, dataset_id: str) -> None:
        return None

    async def report(self) -> None:
        """Nobody asks."""

    async def watch(self) -> None:
        """Nobody asks."""

    async def aclose(self) -> None:
        """Nothing is open."""
