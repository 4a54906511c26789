"""TensorStore futures, one or many at a time, awaited with as little as that takes, and let go without cancelling.

``Future.cancel`` holds the GIL while it waits for a callback that may be waiting for the GIL: a future that ends in the
moment in which it is cancelled stops the process for ever (TensorStore 0.1.86, ``PythonFutureObject::Cancel``). So does
cancelling a task that awaits one, which calls it. Dropping the last reference abandons the operation as well, and lets
go of the GIL first; so nothing here is cancelled, and ``finished`` stands for ``await``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

import tensorstore as ts

from wkdvid.core.concurrent import IN_FLIGHT
from wkdvid.core.deadline import until
from wkdvid.errors import BackendError

Item = TypeVar("Item")
Value = TypeVar("Value")

FAILURES = (ValueError, OSError, RuntimeError, BackendError)
"""What TensorStore raises; ``failures.translate`` tells one from the other. TimeoutError is an OSError. A BackendError
comes from a function that reads chunks."""


async def finished(future: ts.Future[Value]) -> Value:
    """What a future yields, or raises.

    Cancelling the caller lets go of the future. Nothing else may hold it, not even a local variable: a traceback keeps
    those, and what the garbage collector finds in a cycle it clears without letting go of the GIL.
    """
    try:
        if not _is_done(future):
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            future.add_done_callback(partial(_wake_from_thread, loop, waiter))
            await waiter
        return future.result()
    finally:
        del future


def _wake_from_thread(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], _: ts.Future[Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_wake, waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def outcomes(
    begin: Callable[[Item], ts.Future[Any]], items: Sequence[Item], deadline_s: float
) -> list[Any | Exception]:
    """Begin an operation for each item, so many at a time, and say how each ended: its value, or what it raised.

    A task and a timeout for each would cost as much again as a read, so there is one timeout for all, the futures are
    awaited one after the other, and those that are done by then are not awaited at all. Cancelling abandons the rest.

    Args:
        deadline_s: For all together, as ``deadline.until`` counts. What has not ended by then failed with TimeoutError.
    """
    if len(items) == 1:
        return [await _one(begin, items[0], deadline_s)]
    found: list[Any | Exception] = []
    running: deque[ts.Future[Any]] = deque()

    async def finish_first() -> None:
        found.append(_outcome(running[0]) if _is_done(running[0]) else await _first(running))
        running.popleft()

    try:
        async with until(deadline_s):
            for item in items:
                if len(running) == IN_FLIGHT:
                    await finish_first()
                running.append(begin(item))
            while running:
                await finish_first()
    except TimeoutError as error:
        ended = {i: _outcome(future) for i, future in enumerate(running, len(found)) if _is_done(future)}
        found += [ended.get(i, error) for i in range(len(found), len(items))]
    finally:
        running.clear()
    return found


async def _one(begin: Callable[[Item], ts.Future[Any]], item: Item, deadline_s: float) -> Any | Exception:
    try:
        async with until(deadline_s):
            return await finished(begin(item))
    except FAILURES as error:
        return error


async def _first(running: Sequence[ts.Future[Any]]) -> Any | Exception:
    try:
        return await finished(running[0])
    except FAILURES as error:
        return error


def _is_done(future: ts.Future[Any]) -> bool:
    """(In TensorStore's stubs ``bool`` is one of its dtypes.)"""
    return cast("bool", future.done())


def _outcome(future: ts.Future[Any]) -> Any | Exception:
    try:
        return future.result()
    except FAILURES as error:
        return error
