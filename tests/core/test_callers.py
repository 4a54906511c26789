"""Who sends a request, and how many each may send: without a server, and by a clock of the test's."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkdvid.core.callers import KEPT, PATIENCE_S, Buckets, Proxies


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def answered(buckets: Buckets, caller: str, count: int) -> int:
    """Of so many requests at once, those that have their turn at once."""
    return [buckets.take(caller) for _ in range(count)].count(0.0)


def test_a_bucket_holds_so_many_and_fills_at_its_rate(clock: Clock) -> None:
    buckets = Buckets(64, 256, clock)
    assert answered(buckets, "a", 256) == 256
    assert buckets.take("a") == 1 / 64
    assert answered(buckets, "b", 257) == 256
    clock.now += 1 + 1 / 64  # and what has waited its turn
    assert answered(buckets, "a", 70) == 64
    clock.now += 3600
    assert answered(buckets, "a", 300) == 256


def test_who_asks_one_after_the_other_is_slowed_down_and_never_refused(clock: Clock) -> None:
    """As viewers and libraries do, by a few connections."""
    buckets, began = Buckets(64, 256, clock), clock.now
    for _ in range(1000):
        wait = buckets.take("a")
        assert wait <= PATIENCE_S
        clock.now += wait
    assert clock.now - began == (1000 - 256) / 64


def test_who_does_not_wait_is_refused_and_loses_nothing_by_it(clock: Clock) -> None:
    buckets = Buckets(64, 256, clock)
    waits = [buckets.take("a") for _ in range(1000)]
    taken = [wait for wait in waits if wait <= PATIENCE_S]
    assert len(taken) == 256 + 64 * PATIENCE_S
    assert set(waits[len(taken) :]) == {PATIENCE_S + 1 / 64}
    clock.now += 1
    assert answered(buckets, "a", 1) == 0  # those that wait come first
    clock.now += PATIENCE_S
    assert answered(buckets, "a", 100) == 63


@given(st.lists(st.floats(0, 3), max_size=200), st.integers(1, 100), st.integers(1, 50))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float], rate: int, burst: int) -> None:
    clock = Clock()
    buckets, began, taken = Buckets(rate, burst, clock), clock.now, 0
    for pause in pauses:
        clock.now += pause
        taken += buckets.take("a") == 0.0
        assert taken <= burst + (clock.now - began) * rate + 1e-6


def test_no_rate_is_no_limit() -> None:
    assert answered(Buckets(0, 1), "a", 1000) == 1000


def test_memory_is_bounded(clock: Clock) -> None:
    buckets = Buckets(1, 1, clock)
    for caller in range(2 * KEPT):
        buckets.take(caller)
    assert len(buckets._full_at) == KEPT
    assert buckets.take(2 * KEPT - 1) > 0


CALLERS = [
    ("127.0.0.1", "", None),
    ("::1", "", None),
    ("", "", None),
    ("127.0.0.1", "127.0.0.1", None),
    ("203.0.113.5", "", "203.0.113.5"),
    ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # anybody may write it
    ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("127.0.0.1", "10.9.9.9, 198.51.100.1", "198.51.100.1"),  # what stands before it too
    ("10.0.0.3", "198.51.100.1, 127.0.0.1", "198.51.100.1"),
    ("127.0.0.1", "10.0.0.7", "10.0.0.7"),  # a proxy that asks by itself
    ("127.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
    ("127.0.0.1", "[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::/64"),
    ("127.0.0.1", "2001:db8:1:2::9", "2001:db8:1:2::/64"),
    ("2001:db8:1:2::8", "", "2001:db8:1:2::/64"),
    ("::ffff:198.51.100.1", "", "198.51.100.1"),
    ("fe80::1%eth0", "", "fe80::/64"),
    ("10.0.0.3", "nonsense", "10.0.0.3"),
    ("10.0.0.3", "198.51.100.1, nonsense", "198.51.100.1"),
    ("10.0.0.3", ",,,", "10.0.0.3"),
]


@pytest.mark.parametrize(("peer", "forwarded", "caller"), CALLERS)
def test_who_sends_a_request(peer: str, forwarded: str, caller: str | None) -> None:
    assert Proxies(["127.0.0.0/8", "::1", "10.0.0.0/8"]).caller(peer, forwarded) == caller


def test_a_proxy_that_is_not_known_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    proxies = Proxies(["127.0.0.1"])
    with caplog.at_level(logging.WARNING):
        for i in range(3):
            assert proxies.caller("172.18.0.2", f"198.51.100.{i}") == "172.18.0.2"
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["172.18.0.2 sends X-Forwarded-For"]


@pytest.mark.parametrize("wrong", ["proxy", "10.0.0.1/8", ""])
def test_what_is_no_network_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Proxies([wrong])
