"""Requests to the main server, with a deadline, tried again where that may help (webknossos.md C.1, C.2).

The key stands in the query of each, and the caller's token in some, so no message holds a URL or another's text.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import quote

import aiohttp
import orjson
import yarl

from wkdvid.core.hosts import PASSING
from wkdvid.core.notice import Notice
from wkdvid.errors import UpstreamUnavailable

log = logging.getLogger("wkdvid.main_server")

Json: TypeAlias = Any

CONNECT_S = 3.0
ASK_S = 8.0
"""For a question that somebody waits for, all tries together."""
LEAST_S = 0.01
"""0 would be for ever."""
PAUSES_S = (0.1, 0.5)
"""Before the second and the third try, at most."""
AT_A_TIME = 16
"""Connections; further requests wait for one of them, within their own deadline."""
ANSWER_BYTES = 4 * 1024**2
PAGE = object()
"""In the place of a JSON document: an answer of another kind, mostly a proxy's or the browser's start page."""

_CAUSES: Mapping[type[Exception], str] = {
    aiohttp.ClientConnectorDNSError: "cannot be reached: its name cannot be resolved",
    aiohttp.ClientSSLError: "cannot be reached: no secure connection can be made",
    aiohttp.ClientConnectorError: "cannot be reached: no connection can be made",
    aiohttp.ConnectionTimeoutError: "cannot be reached: no connection can be made",
    TimeoutError: "does not answer in time",
}
NO_QUERY: Mapping[str, str] = MappingProxyType({})
URL_HINT = "is webknossos.url what it should be?"
IS_PAGE = f"answers with a page where its API should be; {URL_HINT}"


class MainServerUnavailable(UpstreamUnavailable):
    """It gives no answer, or none of its own."""

    is_said = True

    def __init__(self, what: str) -> None:
        """``what`` it does instead."""
        super().__init__(f"the main server of webKnossos {what}")
        self.what = what


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Json
    """None where there is none; ``PAGE`` where it is not JSON."""

    @property
    def is_ok(self) -> bool:
        """Whether it was understood and carried out."""
        return 200 <= self.status < 300 and self.body is not PAGE


class Client:
    """One datastore's way to its main server; one session for all requests of a process."""

    def __init__(self, url: str, name: str, key: str) -> None:
        """
        Args:
            url: Of the main server.
            name: Of this datastore there.
            key: What the main server knows this datastore by.
        """
        self.datastore = name
        self._base = f"{url.rstrip('/')}/api/datastores/{quote(name, safe='')}"
        self._key = key
        self._session: aiohttp.ClientSession | None = None
        self._notice = Notice(log, "the main server of webKnossos answers again")
        self._not_known = (
            f"knows no datastore {name!r} with this key: see its row in webknossos.dataStores,"
            " and webknossos.name and webknossos.key here"
        )

    async def ask(
        self, method: str, path: str, query: Mapping[str, str] = NO_QUERY, body: Json = None, within_s: float = ASK_S
    ) -> Answer:
        """Its answer, of whatever status; asked for up to three times. That there is none is logged, once.

        Raises:
            MainServerUnavailable: no answer, or one that says that there is none now.
        """
        end = time.monotonic() + within_s
        pauses = iter(PAUSES_S)
        while True:
            try:
                return await self._try(method, path, body, query, end)
            except MainServerUnavailable as error:
                pause_s = next(pauses, within_s)
                if time.monotonic() + pause_s >= end:
                    self._notice.trouble(str(error))
                    raise
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 - no secret

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_A_TIME),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/json"},
            )
        return self._session

    async def _try(self, method: str, path: str, body: Json, query: Mapping[str, str], end: float) -> Answer:
        try:
            async with self._opened().request(
                method,
                yarl.URL(f"{self._base}/{path}").with_query({"key": self._key, **query}),
                data=None if body is None else orjson.dumps(body),
                headers={} if body is None else {"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=max(end - time.monotonic(), LEAST_S), sock_connect=CONNECT_S),
                allow_redirects=False,  # the key would go along
            ) as response:
                answer = Answer(response.status, _document(await _read(response)))
        except (aiohttp.ClientError, OSError) as error:
            cause = next((text for kind, text in _CAUSES.items() if isinstance(error, kind)), "breaks off its answers")
            raise MainServerUnavailable(cause) from None
        if answer.status in PASSING:
            raise MainServerUnavailable(f"answers with status {answer.status}")
        if 300 <= answer.status < 400:
            raise MainServerUnavailable(f"redirects to another address; {URL_HINT}")
        if answer.status == HTTPStatus.FORBIDDEN:  # who may not read is refused with status 200
            raise MainServerUnavailable(IS_PAGE if answer.body is PAGE else self._not_known)
        if answer.body is not PAGE:
            self._notice.well()
        return answer

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """
    Raises:
        MainServerUnavailable: more than anything that it could have to say.
    """
    try:
        await response.content.readexactly(ANSWER_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial
    raise MainServerUnavailable(f"answers with more than {ANSWER_BYTES} bytes")


def _document(body: bytes) -> Json:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return PAGE
