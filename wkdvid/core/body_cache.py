"""The cache of ready bodies: what a warm request sends, kept as bytes and bounded by them.

Keys begin with a ``Scale.id``, which is new at every opening, so a reload leaves the old bodies to be evicted. Only
whole, good results are put in: a failure is raised past this cache.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeAlias

from cachebox import LRUCache

from wkdvid.core.metrics import counter

Key: TypeAlias = Hashable
Body: TypeAlias = bytes | memoryview
"""A view of an array that was read is kept as it is: copying it takes as long as sending it."""

ENTRY_BYTES = 300
"""What a key, its tuple and the cache's own node take, measured on CPython 3.11 and rounded up."""
HITS = counter("wkdvid_body_cache_hits_total", "Look-ups of ready bodies that found one").of()
MISSES = counter("wkdvid_body_cache_misses_total", "Those that did not").of()
LARGEST_SHARE = 16
"""A body above this fraction of the cache is not kept: it would push out too much that is asked for more often."""


class BodyCache:
    """Least recently used bodies, up to ``max_bytes`` in all."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._largest = max_bytes // LARGEST_SHARE
        self._bodies: LRUCache[Key, Body] = LRUCache(max(max_bytes, 1), getsizeof=_weigh)  # 0 would mean no bound
        self.get: Callable[[Key], Body | None] = self._bodies.get
        """Look up a body; None if it is not there. The bound method of the library: this is the warm path.

        Whoever looks many up tells ``looked_up`` once for all.
        """

    def put(self, key: Key, body: Body) -> None:
        if _weigh(key, body) <= self._largest:
            self._bodies[key] = body

    def looked_up(self, found: int, missing: int) -> None:
        """Count look-ups."""
        if found:
            HITS.add(found)
        if missing:
            MISSES.add(missing)

    @property
    def bytes(self) -> int:
        """That are kept."""
        return self._bodies.current_size()

    def __len__(self) -> int:
        return len(self._bodies)


def _weigh(_key: Key, body: Body) -> int:
    return len(body) + ENTRY_BYTES
