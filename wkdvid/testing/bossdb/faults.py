"""What goes wrong at the stand-in, on demand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass
class Faults:
    """Nothing goes wrong until something is set. Set while no request is under way."""

    where: str = "/cutout/"
    """Requests whose path holds this are the ones that suffer."""
    statuses: Iterator[int] = field(default_factory=lambda: iter(()))
    """Answered instead, one to each request, as long as there are any."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with those."""
    delay_s: float = 0.0
    """Before an answer begins. It may be long: a request that waits ends with the server."""
    spoil: Callable[[bytes], bytes] = bytes
    """What becomes of a good body."""
    missing_bytes: int = 0
    """Promised, and not sent: the connection breaks off."""

    pause_s: float = 0.0
    """Between one byte of a good body and the next."""

    def fail(self, *statuses: int) -> None:
        """Answer with these, one after the other, and then well again."""
        self.statuses = iter(statuses)

    def fail_for_ever(self, status: int) -> None:
        self.statuses = itertools.repeat(status)
