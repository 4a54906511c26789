"""What a backend asks of a BossDB: documents and cutouts, with credentials. Paths are those below ``/v1/``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from wkdvid.backends.bossdb.connection import Answer, Connection, insist
from wkdvid.backends.bossdb.credentials import Authority, Credentials, FixedToken, Login, Token
from wkdvid.backends.opening import parse_document
from wkdvid.core.hosts import PASSING, REFUSED
from wkdvid.core.source import Source
from wkdvid.errors import AuthRejected, BackendError, CorruptChunk, UpstreamUnavailable

BLOSC = "application/blosc"
JSON = "application/json"


class Api(Connection):
    """One BossDB as one user sees it. Safe to use by many layers at a time, all on one loop.

    It lives as long as its session, so what is opened next finds it.
    """

    def __init__(self, domain: Source, credentials: Credentials) -> None:
        super().__init__()
        self.name = domain.name
        self._base = f"{domain.url}v1/"
        self._authority: Authority = (
            FixedToken(credentials) if isinstance(credentials, Token) else Login(credentials, self.send)
        )

    async def document(self, path: str, limit: int) -> dict[str, Any] | int:
        """A JSON object, or the status (404, or 400) with which the server says that it has none.

        Args:
            limit: Bytes that it may have.
        Raises:
            BackendError: the server refuses, fails or answers with something else.
        """
        answer = await self._get(path, JSON, limit)
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            return answer.status
        return parse_document(self._body(answer, path), f"{self.name} ({path})")

    async def cutout(self, path: str, limit: int) -> bytes:
        """A blosc frame.

        Args:
            limit: Bytes that it may have.
        Raises:
            BackendError: it cannot be had.
        """
        return self._body(await self._get(path, BLOSC, limit), path)

    async def _get(self, path: str, accept: str, limit: int) -> Answer:
        try:
            header = await self._authority.header(None)
            answer = await self._insist(path, limit, {"Accept": accept, "Authorization": header})
            if answer.status == HTTPStatus.UNAUTHORIZED:
                header = await self._authority.header(header)
                answer = await self._insist(path, limit, {"Accept": accept, "Authorization": header})
        except BackendError as error:
            raise type(error)(f"{self.name} ({path}): {error}") from error
        return answer

    async def _insist(self, path: str, limit: int, headers: Mapping[str, str]) -> Answer:
        url = self._base + path
        return await insist(url, partial(self.send, "GET", url, limit, headers, None))

    def _body(self, answer: Answer, path: str) -> bytes:
        if answer.is_ok:
            return answer.body
        where = f"{self.name} ({path})"
        if answer.status in REFUSED:
            raise AuthRejected(f"{where}: the source refuses to be read with these credentials")
        if answer.status in PASSING or answer.status == HTTPStatus.NOT_FOUND:
            raise UpstreamUnavailable(f"{where}: the source answers with status {answer.status}")
        raise CorruptChunk(f"{where}: the source answers with status {answer.status}")
