"""How a process stays in step with a state that other workers and hosts change too.

The workers of a host share a counter, the generation of the state; it is compared on each request, and only when it has
moved is anything loaded. Other hosts' changes are asked for where a name is not known, and by one worker all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from typing import Protocol

from wkdvid.core.host_lock import HostLock
from wkdvid.errors import DatabaseUnavailable, WkdvidError

log = logging.getLogger("wkdvid.agreement")

FOLLOW_S = 0.5
"""Between two looks at what other hosts have changed, so that it is seen within a second."""


class Generations(Protocol):
    """Where the state is kept."""

    def generation(self) -> int:
        """Compared on each request: cheap, no await. Every worker sees a change as soon as it is acknowledged."""
        ...

    async def refresh(self) -> None:
        """Have ``generation`` count what other hosts have changed before this call.

        Raises:
            DatabaseUnavailable: that cannot be known now.
        """
        ...


class InStep(ABC):
    """What this process knows of the state."""

    def __init__(self, generations: Generations, what: str) -> None:
        """
        Args:
            what: What the state is of, for the log.
        """
        self._generations = generations
        self._what = what
        self._seen = -1
        self._cut_off = False
        """Whether the store did not answer when it was last asked."""
        self._catching_up = asyncio.Lock()

    @abstractmethod
    async def _load(self) -> None:
        """Take over the newest state, ``_seen`` too.

        Raises:
            DatabaseUnavailable: it cannot be known now; then nothing is changed.
        """

    @property
    def current(self) -> bool:
        """Whether this process has seen every acknowledged change."""
        return self._seen == self._generations.generation()

    @property
    def reachable(self) -> bool:
        """Whether the state is known, and its store answered when it was last asked."""
        return self._seen >= 0 and not self._cut_off

    @property
    def generation(self) -> int:
        """Of the last change that this process has seen."""
        return self._seen

    async def catch_up(self) -> None:
        """See every change acknowledged before this call. Cheap when there is none.

        While the store does not answer, what is known of it stays.

        Raises:
            DatabaseUnavailable: nothing is known yet.
        """
        if self._behind:
            async with self._catching_up:
                if self._behind:
                    await self._try_to_load()

    async def be_current(self) -> None:
        """As ``catch_up``, for who must not act upon what was.

        Raises:
            DatabaseUnavailable: there may be a change that is not known.
        """
        if not self.current:
            seen = self._seen
            await self.catch_up()
            if self._seen == seen:
                raise DatabaseUnavailable(f"what is known of the {self._what} may be old, and it cannot be read anew")

    @property
    def _behind(self) -> bool:
        return not (self.current or self._cut_off)

    async def _try_to_load(self) -> None:
        try:
            await self._load()
        except DatabaseUnavailable as error:
            if self._seen < 0:
                raise
            self._lost(error)

    async def look_again(self) -> None:
        """See also every change that other hosts have acknowledged before this call.

        Raises:
            DatabaseUnavailable: that cannot be known now.
        """
        try:
            await self._generations.refresh()
        except DatabaseUnavailable as error:
            self._lost(error)
            raise
        if self._cut_off:
            log.warning("the database of %s answers again", self._what)
        self._cut_off = False
        await self.catch_up()

    def _lost(self, error: DatabaseUnavailable) -> None:
        """Requests do not ask again and again: ``follow`` does."""
        if self._seen >= 0 and not self._cut_off:
            log.warning("what is known of %s stays: %s", self._what, error)
            self._cut_off = True

    async def follow(self, lock: HostLock) -> None:
        """See what other hosts change, until cancelled.

        Args:
            lock: Held by the worker that asks for all of this host; they learn from it by the shared counter.
        """
        try:
            while True:
                if self._cut_off or lock.acquire():
                    with contextlib.suppress(WkdvidError):  # said where it began
                        await self.look_again()
                await asyncio.sleep(FOLLOW_S)
        finally:
            lock.release()
