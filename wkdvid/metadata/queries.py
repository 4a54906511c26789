"""Running queries off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from wkdvid.metadata.engine import transaction

Result = TypeVar("Result")


class Queries:
    """One transaction each, in a thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    async def run(self, query: Callable[[sa.Connection], Result]) -> Result:
        """
        Raises:
            DatabaseUnavailable: the database does not answer, or cannot be written.
        """

        def work() -> Result:
            with transaction(self._engine) as connection:
                return query(connection)

        return await asyncio.to_thread(work)
