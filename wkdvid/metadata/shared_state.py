"""A state in SQL whose generation every change raises, for the workers of several hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from wkdvid.core.catalog_store import SharedCounter
from wkdvid.errors import DatabaseUnavailable
from wkdvid.metadata.engine import reading, transaction

Result = TypeVar("Result")

ANSWER_S = 5.0
"""For a question that requests wait for."""
WRITERS = 4
"""Changes of one worker at a time; they wait for each other anyway."""
LOCK_S = 20
"""How long a change waits for another one."""
SILENCE_S = 60
"""After which the database gives up a change whose host is gone."""


class SharedState:
    """Satisfies ``core.agreement.Generations``; its methods are described there.

    Queries run in threads of its own: those of a database that hangs are lost, but nobody else waits for them.
    """

    def __init__(self, engine: sa.Engine, counter: SharedCounter, table: sa.Table) -> None:
        """
        Args:
            counter: The generation, as far as this host knows it.
            table: One row with the ``generation``, which whoever changes the state locks.
        """
        self._engine = engine
        self._counter = counter
        self._generation = table.c.generation
        self._asked = 0
        self._answered = 0
        self._failure: str | None = None
        self._asking = asyncio.Lock()
        self._reader = ThreadPoolExecutor(1, f"read {table.name}")
        self._writers = ThreadPoolExecutor(WRITERS, f"write {table.name}")

    def begin(self) -> None:
        """Before the workers of this host run: set the counter, which may be of another database."""
        with transaction(self._engine) as connection:
            self._counter.set(connection.execute(sa.select(self._generation).with_for_update()).scalar_one())
        self._engine.dispose()  # this process asks nothing else

    def generation(self) -> int:
        return self._counter.value

    async def refresh(self) -> None:
        """However many wait, one asks for all who have come before it began."""
        if self._engine.dialect.name == "sqlite":
            return  # this host's alone
        self._asked += 1
        mine = self._asked
        async with self._asking:
            if self._answered < mine:
                asked = self._asked
                try:
                    await self.query(lambda connection: None)
                    self._failure = None
                except DatabaseUnavailable as error:
                    self._failure = str(error)
                self._answered = asked
            if self._failure is not None:
                raise DatabaseUnavailable(self._failure)

    async def query(self, read: Callable[[sa.Connection], Result]) -> tuple[int, Result]:
        """The generation, and what ``read`` finds in one state of the database.

        Other workers of this host are to see what this one does, so the counter is raised too.

        Raises:
            DatabaseUnavailable: no answer, or none in time.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, read)
        except TimeoutError:
            raise DatabaseUnavailable(f"the database cannot be used: no answer within {ANSWER_S:g} s") from None

    def _read(self, read: Callable[[sa.Connection], Result]) -> tuple[int, Result]:
        with reading(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            generation: int = connection.execute(sa.select(self._generation)).scalar_one()
            found = read(connection)
        self._counter.raise_to(generation)
        return generation, found

    async def change(self, change: Callable[[sa.Connection, int], Result]) -> Result:
        """
        Args:
            change: Is given the new generation too. If it raises, nothing is changed.
        Raises:
            DatabaseUnavailable: it could not be stored, or nobody knows whether it was.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writers, self._changed, change)

    def _changed(self, change: Callable[[sa.Connection, int], Result]) -> Result:
        """One transaction, which begins by locking the state: no other writer of any host is in between."""
        with transaction(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                _bound(connection)
            generation = self._raised(connection)
            result = change(connection, generation)
        self._counter.raise_to(generation)
        return result

    def _raised(self, connection: sa.Connection) -> int:
        """The new generation. Until the transaction ends nobody else can change the state."""
        raised = sa.update(self._generation.table).values(generation=self._generation + 1)
        generation: int = connection.execute(raised.returning(self._generation)).scalar_one()
        return generation


def _bound(connection: sa.Connection) -> None:
    """Neither a writer of another host, nor a host that is lost while it writes, holds up the others for long."""
    for name, seconds in (("lock_timeout", LOCK_S), ("idle_in_transaction_session_timeout", SILENCE_S)):
        connection.execute(sa.text(f"SET LOCAL {name} = '{seconds}s'"))
