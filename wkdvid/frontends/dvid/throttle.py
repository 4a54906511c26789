"""Slots for the requests that ask to be throttled. DVID's Python clients do so as a rule, and wait when told 503."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wkdvid.frontends.dvid.status import Busy


class Throttle:
    """Counts the throttled requests that run in this worker."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """
        Raises:
            Busy: all slots are taken.
        """
        if self.running >= self.slots:
            raise Busy(f"Server already running {self.running} throttled operations (max = {self.slots})")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
