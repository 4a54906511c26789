"""What all front ends share of HTTP: the caller's token, answers with the CORS headers, streams, the check of origins.

There is no middleware on the way of a read: a third of a warm request's time would go there.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
from sanic.cookies.request import parse_cookie
from sanic.http.constants import Stage
from sanic.request import Request
from sanic.response import BaseHTTPResponse, HTTPResponse

from wkdvid.core.access import Action, Protected, allowed, require_administrator
from wkdvid.core.body_cache import Body
from wkdvid.core.freshness import KEPT_DATASET
from wkdvid.core.services import Services
from wkdvid.errors import (
    BackendError,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    InvalidEntry,
    InvalidRequest,
    NotFound,
    RequestError,
    Unauthorized,
    UpstreamUnavailable,
    WkdvidError,
)
from wkdvid.frontends.ranges import ByteRange, parse_range
from wkdvid.frontends.request import SHARED

log = logging.getLogger("wkdvid.api")

CORS = {"Access-Control-Allow-Origin": "*"}
STALE = "X-Wkdvid-Stale"
"""On answers about a dataset whose source does not answer: seconds since what is shown was confirmed by it."""
OCTETS = "application/octet-stream"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
NO_REFERRER = {"Referrer-Policy": "no-referrer"}
"""Of pages: their address may hold a token."""
RANGES = {"Accept-Ranges": "bytes", "Access-Control-Expose-Headers": "Content-Range"}
SEND_WHOLE = 1 << 20
"""From this size on a body is sent apart from its head: together they would be copied."""
CACHED_HEAD = 1024
"""Characters of headers up to which their encoding is kept: long lists of bucket indices do not come again."""
API_STATUS: Mapping[type[BaseException], int] = {
    RequestError: 400,
    NotFound: 404,
    Unauthorized: 401,
    Forbidden: 403,
    Conflict: 409,
    DatabaseUnavailable: 503,
    UpstreamUnavailable: 503,
    BackendError: 502,
    WkdvidError: 500,
}
"""Of errors, on the routes of our own API."""
SESSION_COOKIE = "wkdvid_token"
"""Holds the token of who has signed in on a page; but in mode ``clio``, where clio's pages know its name."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


def services_of(request: Request) -> Services:
    services: Services = request.app.ctx.services
    return services


def datastore_of(request: Request) -> Services:
    """As ``services_of``, for the routes of webKnossos: they may take tokens that no others take."""
    services: Services = request.app.ctx.datastore_services
    return services


def token_of(request: Request) -> str | None:
    """The one that the request was sent with; else that of whoever has signed in on a page."""
    token = sent_token(request)
    return session_token(request) if token is None else token


def sent_token(request: Request) -> str | None:
    """A share link's in the path, ``?token=``, ``Authorization: Bearer`` or ``X-Auth-Token``, in this order.

    Who follows a link may have a token of their own too, which is not for this. The query is before the headers
    because webKnossos's Python package sends a dataset's sharing token there, and the user's own, which may not
    suffice, in a header.
    """
    link: str | None = getattr(request, "link", None)
    if link is not None:
        return link
    if "token=" in request.query_string and (token := request.args.get("token")):
        return str(token)
    headers = request.headers
    bearer = headers.get("authorization")
    if bearer is not None and bearer[:7].lower() == "bearer ":
        return str(bearer[7:].strip())
    token = headers.get("x-auth-token")
    return None if token is None else str(token)


def session_token(request: Request) -> str | None:
    """In a cookie, which a browser sends with whatever the page of anybody makes it send: see ``Origins``."""
    header = request.headers.get("cookie")
    return None if header is None else _token_in(header, request.app.ctx.session_cookie)


@lru_cache(maxsize=256)
def _token_in(cookies: str, name: str) -> str | None:
    return next(iter(parse_cookie(cookies).get(name, ())), None) or None


def cookie_header(base: str, name: str, value: str, life_s: int | None = None) -> str:
    """``Set-Cookie`` of what no script may read.

    Args:
        base: As of ``base_of``.
        life_s: None: until the browser is closed.
    """
    secure = "; Secure" if base.startswith("https:") else ""
    life = "" if life_s is None else f"; Max-Age={life_s}"
    return f"{name}={value}; Path=/{life}; HttpOnly; SameSite=Lax{secure}"


def host_of(request: Request) -> str:
    """As the caller wrote it. It goes into answers, so bytes that are no text are replaced."""
    return str(request.host).encode(errors="surrogateescape").decode(errors="replace")


def base_of(request: Request) -> str:
    """What addresses begin with that are given to other programs: scheme and host, and the share link that the caller
    came by. They are those of ``server.publicUrl``, else as the caller wrote them.

    A server behind a proxy cannot know that its callers use https.
    """
    public: str | None = request.app.ctx.public_url
    base = public or f"{request.scheme}://{host_of(request)}"
    link: str | None = getattr(request, "link", None)
    return base if link is None else f"{base}{SHARED}{link}"


class Reply(HTTPResponse):
    """An answer whose headers were encoded once for all like it: Sanic spends a fifth of a warm request on that."""

    __slots__ = ("_head", "size")

    def __init__(self, body: Body | str, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(body, status, None, content_type)
        encode = _encoded_head if sum(map(len, headers.values())) <= CACHED_HEAD else _encode_head
        self._head = encode(content_type, tuple(headers.items()))
        self.size = len(self.body or b"")

    @property
    def is_plain(self) -> bool:
        """Whether nothing has been added to its headers, and it has a body."""
        return self.status == 200 and self.size > 0 and not self.headers

    def head(self, request_id: str) -> bytes:
        """What is sent before the body of a plain one, on a connection that stays open."""
        name, values = self._head
        lines = b"%b: %b\r\ncontent-length: %d\r\nconnection: keep-alive\r\nx-request-id: %b"
        return b"HTTP/1.1 200 OK\r\n" + lines % (name, values, self.size, request_id.encode()) + b"\r\n\r\n"

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """The encoded headers, then those that Sanic has set for this answer (its length, the connection)."""
        yield self._head
        for name, value in self.headers.items():
            yield name.encode(), str(value).encode()


def _encode_head(content_type: str, headers: tuple[tuple[str, str], ...]) -> tuple[bytes, bytes]:
    """Headers as Sanic would encode them, made safe against line breaks in values.

    Returns:
        The first one's name, and its value with all other headers behind it: Sanic then formats one line, not eight.
    """
    template = HTTPResponse(status=200, headers=dict(headers), content_type=content_type)
    (name, value), *others = template.processed_headers
    return name, b"\r\n".join([value, *(b"%b: %b" % other for other in others)])


_encoded_head = lru_cache(maxsize=256)(_encode_head)


def reply(
    body: Body | str, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    if content_type == HTML:
        headers = {**NO_REFERRER, **(headers or {})}
    return Reply(body, status, content_type, {**CORS, **headers} if headers else CORS)


async def tell_stale(request: Request, response: BaseHTTPResponse) -> None:
    """Say with an answer that what it shows is kept from a source which does not answer now: since when, in seconds.

    To be run for each answer, but only where sources are kept.
    """
    key = KEPT_DATASET.get()
    if key is None:
        return
    KEPT_DATASET.set(None)  # what is asked next over the same connection may be about another dataset, or none
    stale_s = services_of(request).source_cache.stale_s(key)
    if stale_s is not None:
        response.headers.add(STALE, str(round(stale_s)))
        response.headers.add("Access-Control-Expose-Headers", STALE)


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    return reply(orjson.dumps(value), JSON, status, headers)


async def send_bytes(
    request: Request, body: Body, content_type: str, headers: Mapping[str, str] | None = None, status: int = 200
) -> HTTPResponse | None:
    """Answer with one body of any size; a large one is not copied."""
    if len(body) < SEND_WHOLE:
        return reply(body, content_type, status, headers)
    return await send_parts(request, _one(body), content_type, len(body), headers, status)


async def send_object(
    request: Request, body: Body, content_type: str, headers: Mapping[str, str] = RANGES
) -> HTTPResponse | None:
    """As ``send_bytes``, or the part that the request's Range names.

    Args:
        headers: Of the object: ``RANGES``, perhaps with more.
    """
    asked = asked_range(request, headers.get("ETag"))
    if asked is None:
        return await send_bytes(request, body, content_type, headers)
    part = asked.of(len(body))
    if part is None:
        return reply("", content_type, 416, {**headers, "Content-Range": f"bytes */{len(body)}"})
    told = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
    return reply(body[part.start : part.stop], content_type, 206, {**headers, "Content-Range": told})


def asked_range(request: Request, tag: str | None = None) -> ByteRange | None:
    """The part of an object that is asked for; None: the whole is to be sent.

    Args:
        tag: The object's ETag. Who has a part of what had another one wants no part of this (If-Range).
    """
    is_other = request.headers.get("if-range") not in (None, tag)
    return None if is_other else parse_range(request.headers.get("range"))


async def _one(body: Body) -> AsyncIterable[Body]:
    yield body


async def send_parts(
    request: Request,
    parts: AsyncIterable[Body],
    content_type: str,
    length: int | None,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
) -> HTTPResponse | None:
    """Stream an answer. What fails before the first part is answered as an error; later it breaks the connection off.

    Args:
        length: Bytes in all, or None if unknown (then the answer is chunked).
    """
    sized = {"content-length": str(length)} if length is not None else {}
    head = {**CORS, **(headers or {}), **sized}
    rest = aiter(parts)
    first = await anext(rest, b"")
    is_head = request.method == "HEAD"
    if is_head and length is not None:
        return HTTPResponse(status=status, headers=head, content_type=content_type)
    response = await request.respond(status=status, headers=head, content_type=content_type)
    if response is None:
        return None
    if is_head:  # without a length, since none is known
        await response.send(b"")
        stream: Any = request.stream
        stream.send(b"", end_stream=True)  # of a HEAD Sanic's is no coroutine, so that ``eof`` cannot await it
        return None
    try:
        await response.send(first)
        async for part in rest:
            await response.send(part)
    except BaseException:
        _break_off(request)
        raise
    await response.eof()
    return None


def _break_off(request: Request) -> None:
    """Close the connection. Nothing may follow: if the head is not sent yet, Sanic would try to report the failure."""
    stream: Any = request.stream
    if stream is not None:
        stream.stage = Stage.FAILED
    transport: Any = request.transport  # uvloop's is no asyncio.Transport
    if transport is not None:
        transport.abort()


@dataclass(frozen=True, slots=True)
class Origins:
    """Which hosts and origins a change of state may come from where the request has no token of its own for it."""

    hosts: frozenset[str]
    """Host names without ports."""
    origins: frozenset[str]
    """Whole origins, such as ``https://webknossos.org``."""

    def check(self, request: Request) -> None:
        """Refuse what a foreign web page could make a browser send to somebody's localhost.

        Raises:
            Forbidden: unknown Host or foreign Origin.
        """
        host = request.headers.get("host", "")
        if host_name(host) not in self.hosts:
            raise Forbidden(f"changes are not accepted under the host name {host_name(host)!r}; set server.publicUrl")
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{request.scheme}://{host}" and origin not in self.origins:
            raise Forbidden(f"changes are not accepted from pages of {origin[:200]!r}; see server.corsDomains")


async def require_administration(request: Request, token: str | None, dataset: Protected | None = None) -> None:
    """Before anything is changed.

    Args:
        dataset: Which is to be administrated; None: all of them.
    Raises:
        Unauthorized, Forbidden: the caller may not administrate.
        Forbidden: the request may come from a foreign page.
    """
    authorizer = services_of(request).authorizer
    await require_administrator(authorizer, token, dataset)
    _refuse_foreign(request, token, needless=await allowed(authorizer, None, Action.ADMINISTRATE, None))


def _refuse_foreign(request: Request, token: str | None, *, needless: bool) -> None:
    """A token that was not needed proves nothing, as any page can make one up; nor does one that browsers add.

    Args:
        needless: Whether no token is needed for what is asked.
    """
    by_session = token is not None and token == session_token(request) and sent_token(request) is None
    if needless or by_session:
        request.app.ctx.origins.check(request)
    if by_session:
        refuse_unknown_forms(request)


def refuse_unknown_forms(request: Request) -> None:
    """What a browser sends by itself for any page: a change that is no JSON, and does not say where it is from.

    Raises:
        Forbidden: it is one.
    """
    is_json = request.headers.get("content-type", "").partition(";")[0].strip() == JSON
    if request.method not in ("GET", "HEAD") and not is_json and "origin" not in request.headers:
        raise Forbidden("changes by a page's session are not accepted from a form that does not say where it is from")


async def require_writing(request: Request, token: str | None, dataset: Protected) -> None:
    """Before what a dataset holds is changed.

    Raises:
        Unauthorized, Forbidden: the caller may not, or as ``require_administration``.
    """
    authorizer = services_of(request).authorizer
    if not await allowed(authorizer, token, Action.WRITE, dataset):
        if token is None:
            raise Unauthorized("writing needs a token (Authorization: Bearer, X-Auth-Token or ?token=)")
        raise Forbidden("this token may not write here")
    _refuse_foreign(request, token, needless=await allowed(authorizer, None, Action.WRITE, dataset))


def known_origins(urls: Sequence[str | None], cors_domains: Sequence[str], bind_host: str) -> Origins:
    """
    Args:
        urls: Where we are known to be, and the main server: their origins are trusted.
        cors_domains: Origins, as the operator lists them; ``*`` grants no change of state.
        bind_host: The address that the server listens on.
    """
    parts = [urlsplit(url) for url in urls if url]
    names = {part.hostname for part in parts if part.hostname} | LOOPBACK_NAMES | {bind_host}
    origins = {f"{part.scheme}://{part.netloc}" for part in parts} | {d for d in cors_domains if d != "*"}
    return Origins(frozenset(names), frozenset(origins))


def host_name(host: str) -> str:
    """Of a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def status_for(error: BaseException, table: Mapping[type[BaseException], int]) -> int:
    """The status of the most special class of the error that the table holds."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), 500)


def log_failure(log: logging.Logger, request: Request, error: WkdvidError) -> None:
    """A line for what is our fault or a source's, unless it was said already."""
    if not error.is_said:
        log.warning("request %s: %s %s: %s: %s", request.id, request.method, request.path, type(error).__name__, error)


async def api_failed(
    request: Request, error: WkdvidError, statuses: Mapping[type[BaseException], int] = API_STATUS
) -> HTTPResponse:
    """What a route of our own, which follows nobody's protocol, answers where it fails."""
    status = status_for(error, statuses)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log_failure(log, request, error)
    texts = error.problems if isinstance(error, InvalidEntry) else [str(error)]
    messages = [{"error": text} for text in texts]
    return json_reply({"messages": messages, "code": error.code, "requestId": request.id}, status)


def json_body(request: Request) -> Any:
    """
    Raises:
        InvalidRequest: not JSON; the message gives line and column.
    """
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
