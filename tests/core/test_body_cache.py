"""The cache of ready bodies stays within its bytes, whatever it is given."""

from __future__ import annotations

import pytest

from wkdvid.core.body_cache import ENTRY_BYTES, BodyCache

LARGEST = 1000


@pytest.mark.parametrize("max_bytes", [0, 1, 100, 16 * LARGEST])
def test_it_stays_within_its_bytes(max_bytes: int) -> None:
    cache = BodyCache(max_bytes)
    for i in range(100):
        cache.put(i, bytes(LARGEST - ENTRY_BYTES))
        cache.put(-i - 1, b"")
    kept = [body for i in range(-100, 100) if (body := cache.get(i)) is not None]
    assert len(kept) == len(cache)
    assert sum(len(body) + ENTRY_BYTES for body in kept) <= max_bytes
    assert bool(kept) == (max_bytes == 16 * LARGEST)


def test_a_body_that_would_push_out_many_is_not_kept() -> None:
    cache = BodyCache(16 * LARGEST)
    cache.put("largest", bytes(LARGEST - ENTRY_BYTES))
    cache.put("larger", bytes(LARGEST - ENTRY_BYTES + 1))
    assert cache.get("largest") is not None
    assert cache.get("larger") is None


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = BodyCache(16 * LARGEST)
    for i in range(16):
        cache.put(i, bytes(LARGEST - ENTRY_BYTES))
    assert cache.get(0) is not None
    cache.put(16, bytes(LARGEST - ENTRY_BYTES))
    assert cache.get(0) is not None
    assert cache.get(1) is None
