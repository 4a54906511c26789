"""What the network says about a host: its addresses, whether they are public, what it answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING

from wkdvid.core.upstream import again, asking
from wkdvid.errors import AuthRejected, CorruptChunk, UpstreamUnavailable

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_S = 10.0
PAUSES_S = (0.1, 0.2, 0.4)
"""Between two tries of a GET."""
REDIRECTS = (301, 302, 303, 307, 308)
ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
FIRST_BYTE: Mapping[str, str] = MappingProxyType({"Range": "bytes=0-0"})
"""Of what may be large, where the answer's head alone is wanted."""
PASSING = (408, 429, 500, 502, 503, 504)
"""As TensorStore sees them."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
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


async def redirect_of(url: str, what: str, headers: Mapping[str, str] = NO_HEADERS) -> str | None:
    """The Location that a GET is redirected to, or None if it is not. The body is not read.

    Args:
        what: The source, for messages: a URL holds secrets, and what a source is redirected to is not for everybody.
        headers: Sent along; to this address alone, as redirects are not followed.
    Raises:
        UpstreamUnavailable: there is no answer, or again and again one that says nothing.
    """
    status, location = await _head(url, what, headers)
    return location if status in REDIRECTS else None


async def serves_ranges(url: str, what: str, headers: Mapping[str, str] = NO_HEADERS) -> bool:
    """Whether a GET of a part is answered otherwise than with the whole. The body is not read.

    Args:
        headers: Sent along.
    Raises:
        UpstreamUnavailable: as ``redirect_of``.
    """
    status, _ = await _head(url, what, headers)
    return status != HTTPStatus.OK


async def _head(url: str, what: str, headers: Mapping[str, str]) -> tuple[int, str | None]:
    """Status and Location of the answer to a GET."""
    for pause_s in (0.0, *PAUSES_S):
        if pause_s:
            again(url)
            await asyncio.sleep(pause_s)
        async with _answer(url, what, {**headers, **FIRST_BYTE}, TIMEOUT_S) as response:
            if response.status not in PASSING:
                return response.status, response.headers.get("Location")
    raise UpstreamUnavailable(f"{what}: the source answers with status {response.status}")


async def fetch_start(url: str, what: str, length: int, headers: Mapping[str, str] = NO_HEADERS) -> bytes | None:
    """The first ``length`` bytes of an object, or all where it has fewer; None if it is not there.

    Nothing more is loaded, whatever the server says or leaves out about the size. Redirects are not followed. The
    caller sets the deadline.

    Raises:
        AuthRejected: the server refuses.
        UpstreamUnavailable: it fails, again and again.
        CorruptChunk: it answers in a way that is of no use, and that no second try would better.
    """
    for pause_s in PAUSES_S:
        try:
            return await _start(url, what, length, headers)
        except UpstreamUnavailable:
            again(url)
            await asyncio.sleep(pause_s)
    return await _start(url, what, length, headers)


async def _start(url: str, what: str, length: int, headers: Mapping[str, str]) -> bytes | None:
    async with _answer(url, what, headers, None) as response:
        if response.status in ABSENT:
            return None
        if response.status in REFUSED:
            raise AuthRejected(f"{what}: the source refuses to be read")
        if response.status in PASSING:
            raise UpstreamUnavailable(f"{what}: the source answers with status {response.status}")
        if response.status != HTTPStatus.OK:
            raise CorruptChunk(f"{what}: the source answers with status {response.status}")
        try:
            return await response.content.readexactly(length)
        except asyncio.IncompleteReadError as error:
            return error.partial


@contextlib.asynccontextmanager
async def _answer(
    url: str, what: str, headers: Mapping[str, str], total_s: float | None
) -> AsyncIterator[aiohttp.ClientResponse]:
    import aiohttp  # noqa: PLC0415 - a tenth of the time to start, and not needed where all sources are local
    import yarl  # noqa: PLC0415

    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=total_s)) as session:
            with asking(url) as answered:
                async with session.get(yarl.URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
                    answered(response.status)
                    yield response
    except (aiohttp.ClientError, OSError):
        raise UpstreamUnavailable(f"{what}: the source does not answer") from None
