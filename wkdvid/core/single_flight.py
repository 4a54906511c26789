"""Many who ask the same at the same time are told by one question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """A question goes on when one of those who wait for it goes away."""

    def __init__(self) -> None:
        self._asking: dict[Hashable, asyncio.Task[Result]] = {}

    async def ask(self, key: Hashable, question: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """
        Raises:
            Exception: whatever ``question`` raises, to all who wait.
        """
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(question(), name="ask once")
            asking.add_done_callback(lambda done: self._end(key, done))
        return await asyncio.shield(asking)

    def _end(self, key: Hashable, done: asyncio.Task[Result]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # seen, also where nobody waits for it any more
