"""Whether the database answers, for who asks again and again."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from wkdvid.errors import DatabaseUnavailable
from wkdvid.metadata.engine import reading

KEPT_S = 1.0
ANSWER_S = 2.0


class Pulse:
    """Asks at most once a second, in a thread of its own: one that hangs holds up nobody else."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "ask the database")
        self._asking = asyncio.Lock()
        self._until = 0.0
        """``time.monotonic()``"""
        self._beats = False

    async def beats(self) -> bool:
        async with self._asking:
            if time.monotonic() > self._until:
                self._beats = await self._answers()
                self._until = time.monotonic() + KEPT_S
            return self._beats

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
        except (DatabaseUnavailable, TimeoutError):
            return False
        return True

    def _ask(self) -> None:
        with reading(self._engine) as connection:
            connection.execute(sa.select(1))
