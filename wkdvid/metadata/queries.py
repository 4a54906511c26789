"""Running queries off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from wkdvid.errors import Conflict, DatabaseUnavailable
from wkdvid.metadata.engine import reading, transaction

Result = TypeVar("Result")

TRIES = 5
"""Of a transaction."""


def expect(seen: float | None, stored: float | None) -> None:
    """
    Args:
        seen: When what the caller has read was last changed; None: it does not matter.
        stored: When what is stored was; None: there is nothing.
    Raises:
        Conflict: somebody else has changed it since.
    """
    if seen is not None and seen != stored:
        raise Conflict("somebody else has changed it since it was read; read it again")


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
        """As ``run``, of what only reads: with SQLite too, it waits for no writer."""

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
