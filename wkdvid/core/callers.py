"""Who sends a request, and how many each may send (guards.md S13)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from cachebox import LRUCache

log = logging.getLogger("wkdvid.callers")

KEPT = 20_000
"""Callers that are remembered, some 200 bytes each. Who is forgotten has a full bucket again."""
PATIENCE_S: Final = 5.0
"""How long a request waits for its turn: who sends one after the other is slowed down, and told nothing."""
LONGEST_FORWARDED = 256
"""Characters of ``X-Forwarded-For`` that are looked at, the last ones: those before anybody can write."""
SUBSCRIBER = 64
"""Bits of an IPv6 address that stand for one caller, who has all addresses that begin so."""

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Buckets:
    """A token bucket for each caller: so many requests a second, and so many more at once after a pause.

    Of a bucket only the time is kept at which it will be full (GCRA, as ATM's generic cell rate algorithm).
    """

    def __init__(self, rate: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            rate: Requests a second; 0: any number.
            burst: Requests that a full bucket holds.
            clock: Seconds; one that is never set.
        """
        self._is_on = rate > 0
        self._each_s = 1 / rate if rate else 0.0
        self._burst_s = burst * self._each_s
        self._clock = clock
        self._full_at: LRUCache[Hashable, float] = LRUCache(KEPT)

    def take(self, caller: Hashable) -> float:
        """Take one request out of the caller's bucket, or its turn later.

        Returns:
            Seconds until its turn; where they are more than ``PATIENCE_S`` nothing is taken.
        """
        if not self._is_on:
            return 0.0
        now = self._clock()
        full_at: float = self._full_at.get(caller, now)
        full_at = (full_at if full_at > now else now) + self._each_s  # ``max`` would take as long as all else
        wait = full_at - now - self._burst_s
        if wait <= PATIENCE_S:
            self._full_at[caller] = full_at
        return wait if wait > 0 else 0.0


class Proxies:
    """Whose word counts about where a request comes from."""

    def __init__(self, networks: Sequence[str]) -> None:
        """
        Args:
            networks: Addresses, or networks as ``10.0.0.0/8``.
        Raises:
            ValueError: one is none.
        """
        self._networks: Sequence[Network] = [ip_network(text) for text in networks]
        self.caller = lru_cache(KEPT)(self._caller)
        """From the address of the connection and ``X-Forwarded-For`` (at most ``LONGEST_FORWARDED`` characters) to who
        has sent the request; None: a program of this machine."""
        self._has_warned = False

    def _caller(self, peer: str, forwarded: str) -> str | None:
        address = _parse(peer)
        if forwarded and address is not None and not self._trusts(address):
            self._warn(peer)
        for text in reversed(forwarded.split(",")):
            if address is None or not self._trusts(address):
                break
            address = _parse(text.strip()) or address
        if address is None or address.is_loopback:
            return None
        return str(ip_network((address, SUBSCRIBER), strict=False) if address.version == 6 else address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _warn(self, peer: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s sends X-Forwarded-For, and server.trustedProxies does not name it: if it is a proxy, all who come"
                " by it have the limits of one caller",
                peer,
            )


def _parse(text: str) -> Address | None:
    """An address as it stands in a header: perhaps with a port, or in brackets. None: it is none, as of a socket file.

    An IPv4 address within IPv6 is that one.
    """
    plain = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    plain = plain.partition(":")[0] if plain.count(":") == 1 else plain
    try:
        address = ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
