"""Running queries off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from wkdvid.errors import DatabaseUnavailable
from wkdvid.metadata.engine import reading, transaction

Result = TypeVar("Result")

TRIES = 5
"""Of a transaction."""


class Queries:
    """One transaction each, in a thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    async def run(self, query: Callable[[sa.Connection], Result]) -> Result:
        """
        Args:
            query: May be run again, where two add one row at a time.
        Raises:
            DatabaseUnavailable: the database does not answer, or cannot be written.
        """
        return await asyncio.to_thread(self._run, query)

    async def read(self, query: Callable[[sa.Connection], Result]) -> Result:
        """As ``run``, of what only reads: it waits for no writer."""

        def read() -> Result:
            with reading(self._engine) as connection:
                return query(connection)

        return await asyncio.to_thread(read)

    def _run(self, query: Callable[[sa.Connection], Result]) -> Result:
        for _ in range(TRIES):
            try:
                with transaction(self._engine) as connection:
                    return query(connection)
            except IntegrityError as error:  # another one has just added the row that was not there: now it is
                clash = error
        raise DatabaseUnavailable("the database refuses a row") from clash
