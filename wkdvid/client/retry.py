"""What is done while a server is busy: DVID answers 503 where its slots for large requests are taken."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from wkdvid.client.calls import Call, Effect, Pause, Reply, Send, Work
from wkdvid.client.errors import Busy

T = TypeVar("T")

BUSY = 503
LONGEST_PAUSE_S = 15.0
QUICK_BYTES = 2**16
"""Answers up to so large are decoded where they arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Pauses begin with ``interval_s`` and double up to 15 s, each with a jitter of a half, so that clients part."""

    timeout_s: float = 60.0
    """How long to go on asking; not above ``interval_s``: ask once."""
    interval_s: float = 0.2
    warning_s: float = 30.0
    """How often to warn that the server is still busy."""

    def pause_s(self, attempt: int, waited_s: float) -> float:
        """After the ``attempt``-th answer, at ``waited_s`` from the first; never beyond ``timeout_s``."""
        longest = min(self.interval_s * 2.0 ** min(attempt - 1, 30), max(LONGEST_PAUSE_S, self.interval_s))
        return min(longest * random.uniform(0.5, 1.5), self.timeout_s - waited_s)  # noqa: S311 - a pause, no secret


def answered(call: Call[T], retry: Retry) -> Generator[Effect, Any, T]:
    """
    Raises:
        Busy: still, after ``retry.timeout_s``.
    """
    begin, attempt, warned_s = time.monotonic(), 1, 0.0
    while True:
        reply: Reply = yield Send(call)
        if reply.status != BUSY or BUSY in call.accepted:
            return (yield from _decoded(call, reply))
        waited_s = time.monotonic() - begin
        if retry.timeout_s <= retry.interval_s or waited_s >= retry.timeout_s:
            raise _busy(call, reply, attempt, waited_s)
        if waited_s - warned_s > retry.warning_s:
            warnings.warn(f"the server has been busy for {waited_s:.1f} s; asking again", stacklevel=2)
            warned_s = waited_s
        yield Pause(retry.pause_s(attempt, waited_s))
        attempt += 1


def _decoded(call: Call[T], reply: Reply) -> Generator[Effect, Any, T]:
    if len(reply.body) <= QUICK_BYTES:
        return call.result(reply)
    result: T = yield Work(lambda: call.result(reply))
    return result


def _busy(call: Call[Any], reply: Reply, attempts: int, waited_s: float) -> Busy:
    body = bytes(reply.body)
    error = Busy(call.action, call.method, call.target, reply.status, reply.reason, body)
    error.attempts, error.waited_s = attempts, waited_s
    return error
