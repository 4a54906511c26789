"""One store as one identity reads it: what counts as fresh of what is kept of it, and whether it answers now."""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import blake2b

from wkdvid.backends.disk_cache.store import Piece
from wkdvid.core.source import Source

ABSENT_S = 60.0
"""So long it is believed that the source has no such object."""
PAUSE_S = 10.0
"""Between two tries of a source that does not answer. Meanwhile what is kept is served at once."""
DOUBT_S = 60.0
"""So often at most everything has to be confirmed because something that was served does not decode."""
NAME_BYTES = 16


class Place:
    def __init__(self, identity: str, window_s: float) -> None:
        """
        Args:
            identity: The store, and by which right it is read.
            window_s: So long what the source has sent counts as fresh.
        """
        self._identity = identity.encode()
        self._window_s = window_s
        self.since = 0.0
        """``time.time()``: what the source has confirmed before that is not fresh."""
        self.barred = ""
        """Why the source is not to be asked: its host could not be checked (``core.guard``)."""
        self.failing = False
        """The last time that the source was asked it did not answer."""
        self.stale_from: float | None = None
        """While it fails or is barred: when the oldest was confirmed of what has been served all the same."""
        self._ask_again = 0.0
        self._is_doubted = False

    def name(self, source: Source, key: str) -> bytes:
        """Under which an object below a source's folder is kept."""
        return blake2b(
            f"{source.url}\0{key}".encode(), key=blake2b(self._identity).digest(), digest_size=NAME_BYTES
        ).digest()

    def is_fresh(self, piece: Piece) -> bool:
        now = time.time()
        if self._is_doubted and now - self.since >= DOUBT_S:
            self.since, self._is_doubted = now, False
        window_s = min(ABSENT_S, self._window_s) if piece.value is None else self._window_s
        return max(self.since, now - window_s) <= piece.checked <= now

    def may_ask(self) -> bool:
        """Whether the source is to be asked for what is kept already. While it fails, by one reader at a time."""
        if self.barred:
            return False
        now = time.monotonic()
        if self.failing and now < self._ask_again:
            return False
        self._ask_again = now + PAUSE_S
        return True

    def bar(self, reason: str) -> None:
        """
        Args:
            reason: As ``barred`` is to be.
        """
        self.barred = reason
        if reason:
            self.stale_from = self.stale_from or time.time()
        elif not self.failing:
            self.stale_from = None

    def answered(self) -> None:
        self.failing, self.stale_from = False, None

    def failed(self) -> None:
        self.failing, self._ask_again = True, time.monotonic() + PAUSE_S

    def renew(self, at: float) -> None:
        """What the source has confirmed before ``at`` is not fresh, and it is asked although it failed just now."""
        self.since, self._ask_again = max(self.since, at), 0.0

    def served(self, stale: Iterable[Piece]) -> None:
        """Pieces that are not fresh were served."""
        oldest = min((piece.checked for piece in stale), default=None)
        if oldest is not None:
            self.stale_from = min(oldest, self.stale_from or oldest)

    def doubt(self) -> None:
        """Something that was served does not decode: nobody here knows which object, so all have to be confirmed."""
        self._is_doubted = True
