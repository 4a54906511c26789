"""Doing something for many items, so many at a time; doing something once for many that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT = 32
"""Reads of one request at a time. When its client goes away these end by themselves, and no more are begun."""


async def for_each(
    do: Callable[[Item], Awaitable[Result]], items: Sequence[Item], at_a_time: int = IN_FLIGHT
) -> list[Result]:
    """Results in the order of the items. The first failure cancels the rest and is raised as itself."""
    if len(items) == 1:
        return [await do(items[0])]
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for i, item in waiting:
            results[i] = await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_a_time, len(items))):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[i] for i in range(len(items))]


def begin_shared(work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
    """A task that goes on when those who wait for it (each by ``asyncio.shield``) go away.

    If it fails after the last of them, nobody asks why: asyncio would log that with a traceback.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_ask_why)
    return task


def _ask_why(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def to_its_end(work: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine gives. Who cancels the caller waits until it has ended: it must not go on unguarded."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def all_ended(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at a time. The first failure is raised when none runs any more."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if outcome is not None:
            raise outcome
