"""One deadline for all that is read for an answer, or for a piece of it that is sent by itself.

Every read has a deadline of its own. An answer may take many reads, one after the other: theirs together is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_BEGAN: ContextVar[float | None] = ContextVar("began", default=None)
"""On the loop's clock."""


@contextmanager
def one_deadline() -> Iterator[None]:
    """The deadlines of all reads in it run from its begin, or from that of one around it."""
    began = _BEGAN.get()
    token = _BEGAN.set(asyncio.get_running_loop().time() if began is None else began)
    try:
        yield
    finally:
        _BEGAN.reset(token)


def until(deadline_s: float) -> asyncio.Timeout:
    """
    Args:
        deadline_s: From now on, or from the begin of ``one_deadline``.
    """
    began = _BEGAN.get()
    return asyncio.timeout(deadline_s) if began is None else asyncio.timeout_at(began + deadline_s)
