"""What is served of sources that do not answer: the contract of a cache that keeps what they sent (docs/offline.md)."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Protocol

from wkdvid.core.limits import MIB

SMALLEST = 16 * MIB
"""Bytes that a cache on disk must be allowed."""

KEPT_DATASET: ContextVar[tuple[str, str] | None] = ContextVar("kept_dataset", default=None)
"""The dataset that the request which is answered now is about, where sources are kept."""


class SourceCache(Protocol):
    """What sources have sent, kept over restarts. Datasets are named by organization and name."""

    async def start(self) -> None:
        """Begin to serve what is kept. Before that everything is read from the sources."""
        ...

    async def aclose(self) -> None: ...

    def stale_s(self, key: tuple[str, str]) -> float | None:
        """Seconds since a source of the dataset last confirmed what is served of it; None: all of them answer."""
        ...

    async def renew(self, keys: Sequence[tuple[str, str]]) -> None:
        """From now on nothing of these datasets counts as fresh until their sources have confirmed it."""
        ...


class NothingKept:
    """Without a cache whatever is served comes from the sources."""

    async def start(self) -> None:
        """Nothing to begin."""

    async def aclose(self) -> None:
        """Nothing to end."""

    def stale_s(self, key: tuple[str, str]) -> float | None:
        return None

    async def renew(self, keys: Sequence[tuple[str, str]]) -> None:
        """Nothing is fresh or stale."""


NOTHING_KEPT = NothingKept()
