"""A database that requests ask, from threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from wkdvid.errors import DatabaseUnavailable
from wkdvid.metadata.engine import reading, transaction
from wkdvid.metadata.shared_state import bound

Result = TypeVar("Result")

READERS = 4
WRITERS = 4
"""At a time, of one worker: threads of their own, so that a database that hangs holds up nobody else."""
ANSWER_S = 20.0
"""For one question; what is stored may be large."""


class Asked:
    """An engine with threads of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._readers = ThreadPoolExecutor(READERS, "read the database")
        self._writers = ThreadPoolExecutor(WRITERS, "write the database")

    async def read(self, query: Callable[[sa.Connection], Result]) -> Result:
        def run() -> Result:
            with reading(self._engine) as connection:
                return query(connection)

        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except TimeoutError:
            raise DatabaseUnavailable(f"the database cannot be used: no answer within {ANSWER_S:g} s") from None

    async def write(self, change: Callable[[sa.Connection], None]) -> None:
        def run() -> None:
            with transaction(self._engine) as connection:
                if connection.dialect.name == "postgresql":
                    bound(connection)
                change(connection)

        await asyncio.get_running_loop().run_in_executor(self._writers, run)

    def close(self) -> None:
        for executor in (self._readers, self._writers):
            executor.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()
