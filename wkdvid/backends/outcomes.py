"""Many TensorStore futures at a time, awaited with as little as that takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import tensorstore as ts

from wkdvid.core.concurrent import IN_FLIGHT

Item = TypeVar("Item")

FAILURES = (ValueError, OSError, RuntimeError)
"""What TensorStore raises; ``failures.translate`` tells one from the other. TimeoutError is an OSError."""


async def outcomes(
    begin: Callable[[Item], ts.Future[Any]], items: Sequence[Item], deadline_s: float
) -> list[Any | Exception]:
    """Begin an operation for each item, so many at a time, and say how each ended: its value, or what it raised.

    A task and a timeout for each would cost as much again as a read, so there is one timeout for all, the futures are
    awaited one after the other, and those that are done by then are not awaited at all. Cancelling abandons the rest.

    Args:
        deadline_s: For all together. What has not ended by then has failed with TimeoutError.
    """
    if len(items) == 1:
        return [await _with_deadline(begin(items[0]), deadline_s)]
    found: list[Any | Exception] = []
    running: deque[ts.Future[Any]] = deque()

    async def finish_first() -> None:
        first = running[0]
        found.append(_outcome(first) if _is_done(first) else await _awaited(first))
        running.popleft()

    try:
        async with asyncio.timeout(deadline_s):
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
        for future in running:
            future.cancel()
    return found


async def _with_deadline(future: ts.Future[Any], deadline_s: float) -> Any | Exception:
    try:
        async with asyncio.timeout(deadline_s):
            return await future
    except FAILURES as error:
        return error


def _is_done(future: ts.Future[Any]) -> bool:
    """A cancelled one has no result. (In TensorStore's stubs ``bool`` is one of its dtypes.)"""
    return cast("bool", future.done()) and not cast("bool", future.cancelled())


def _outcome(future: ts.Future[Any]) -> Any | Exception:
    try:
        return future.result()
    except FAILURES as error:
        return error


async def _awaited(future: ts.Future[Any]) -> Any | Exception:
    try:
        return await future
    except FAILURES as error:
        return error
