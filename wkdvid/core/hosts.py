"""What the network says about a host: its addresses, whether they are public, where it redirects to."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import aiohttp
import yarl

from wkdvid.core.source import shown
from wkdvid.errors import UpstreamUnavailable

TIMEOUT_S = 10.0
REDIRECTS = (301, 302, 303, 307, 308)
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet, judged by the IPv4 address that it stands for, if any."""
    if isinstance(address, IPv6Address):
        inner = IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address.ipv4_mapped
        if inner is not None:
            return is_public(inner)
        if address.sixtofour or address.teredo:  # tunnels to an IPv4 address of the sender's choice
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


async def resolve(host: str, port: int) -> list[IPv4Address | IPv6Address]:
    """Every address that a connection to the host could go to; spellings such as ``0x7f.1`` are resolved as well.

    Raises:
        UpstreamUnavailable: there is none.
    """
    if f".{host.rstrip('.')}".endswith(".localhost"):  # RFC 6761; curl does not ask DNS for these
        return [ip_address("127.0.0.1")]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except (OSError, UnicodeError):  # a TimeoutError is an OSError
        raise UpstreamUnavailable(f"source: host {host!r} cannot be resolved") from None
    return [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


async def redirect_of(url: str) -> str | None:
    """The Location that a GET is redirected to, or None if it is answered otherwise. The body is not read.

    Raises:
        UpstreamUnavailable: there is no answer.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(yarl.URL(url, encoded=True), allow_redirects=False) as response,
        ):
            return response.headers.get("Location") if response.status in REDIRECTS else None
    except (aiohttp.ClientError, OSError):
        raise UpstreamUnavailable(f"source: {shown(url)!r} does not answer") from None
