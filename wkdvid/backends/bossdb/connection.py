"""A session of HTTP that is there while it is used, and requests that are tried again where that may help."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

import aiohttp
import yarl

from wkdvid.core.hosts import PASSING
from wkdvid.core.upstream import again, asking
from wkdvid.errors import CorruptChunk, UpstreamUnavailable

CONNECT_S = 3.0
SILENCE_S = 8.0
"""Longest wait for the next byte of an answer."""
AT_A_TIME = 16
"""Requests to one host."""
IDLE_S = 15.0
"""After so long without a request the session is closed."""
PAUSES_S = (0.5, 1.0)
"""The longest pause before each further try; the shortest is ``SHORTEST_PAUSE_S``."""
SHORTEST_PAUSE_S = 0.1
LONGEST_RETRY_AFTER_S = 2.0

_CAUSES: Mapping[type[Exception], str] = {
    aiohttp.ClientConnectorDNSError: "the name of the host cannot be resolved",
    aiohttp.ClientSSLError: "no secure connection can be made",
    aiohttp.ClientConnectorError: "the host cannot be connected to",
    aiohttp.ConnectionTimeoutError: "the host cannot be connected to",
    aiohttp.ServerTimeoutError: "the source stopped sending",
    aiohttp.ClientPayloadError: "the source broke off",
}


Form: TypeAlias = Mapping[str, str]
Headers: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes = field(repr=False)
    retry_after_s: float
    """What the server asks for; 0 if it does not, or in another way than a number of seconds."""

    @property
    def is_ok(self) -> bool:
        return self.status == HTTPStatus.OK


Send: TypeAlias = Callable[[str, str, int, Headers, Form | None], Awaitable[Answer]]
"""``Connection.send``"""


class Connection:
    """Lends a session, and closes it when nobody has used it for a while.

    A volume that a reload replaces is only let go, and may still be read; so no owner knows when the last read has
    ended. The session belongs to a task, which a loop that ends cancels.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._users = 0
        self._idle: asyncio.TimerHandle | None = None

    async def send(self, method: str, url: str, limit: int, headers: Headers, form: Form | None) -> Answer:
        """One request, tried once. Redirects are not followed, and bodies not decompressed.

        Args:
            url: Percent-encoded.
            limit: Bytes of the body.
        Raises:
            UpstreamUnavailable: no answer, or not all of it.
            CorruptChunk: the body is longer than ``limit``.
        """
        try:
            with asking(url) as answered:
                async with (
                    self._lent() as session,
                    session.request(
                        method, yarl.URL(url, encoded=True), headers=headers, data=form, allow_redirects=False
                    ) as response,
                ):
                    answered(response.status)
                    return Answer(
                        status=response.status,
                        body=await _body(response, limit),
                        retry_after_s=_seconds(response.headers.get("Retry-After", "")),
                    )
        except (aiohttp.ClientError, OSError) as error:
            cause = next((text for kind, text in _CAUSES.items() if isinstance(error, kind)), "the source broke off")
            raise UpstreamUnavailable(cause) from None

    @contextlib.asynccontextmanager
    async def _lent(self) -> AsyncIterator[aiohttp.ClientSession]:
        if self._idle is not None:
            self._idle.cancel()
        if self._session is None:
            self._session = _open()
            self._keeper = asyncio.create_task(_keep(self._session), name="keep a session")
        self._users += 1
        try:
            yield self._session
        finally:
            self._users -= 1
            if not self._users:
                self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._let_go)

    def _let_go(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        self._session = self._keeper = None

    async def aclose(self) -> None:
        """Close the session at once. What is under way then fails, and its next try opens another."""
        keeper = self._keeper
        self._let_go()
        if keeper is not None:
            await asyncio.wait([keeper])


async def _keep(session: aiohttp.ClientSession) -> None:
    async with session:
        await asyncio.Event().wait()  # until it is cancelled


def _open() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit_per_host=AT_A_TIME),
        timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=SILENCE_S),
        headers={"Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    try:
        await response.content.readexactly(limit + 1)
    except asyncio.IncompleteReadError as error:
        return error.partial
    raise CorruptChunk(f"the source sends more than {limit} bytes")


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() else 0.0


async def insist(url: str, send: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer to a request, which is sent again where it fails in passing. Pauses are drawn at random, so that what
    failed together is not tried again together.

    Raises:
        UpstreamUnavailable: the last try had no answer. (One that has a status is returned with whichever it is.)
        CorruptChunk: as ``Connection.send``.
    """
    for longest_s in PAUSES_S:
        pause_s = random.uniform(SHORTEST_PAUSE_S, longest_s)  # noqa: S311 - no secret
        with contextlib.suppress(UpstreamUnavailable):
            answer = await send()
            if answer.status not in PASSING:
                return answer
            pause_s = max(pause_s, min(answer.retry_after_s, LONGEST_RETRY_AFTER_S))
        again(url)
        await asyncio.sleep(pause_s)
    return await send()
