"""A request to a data instance and its answer, free of HTTP's machinery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import orjson

from wkdvid.core.body_cache import Body, Key
from wkdvid.core.layers import Layer
from wkdvid.core.limits import Limits
from wkdvid.core.services import Services
from wkdvid.errors import TooLarge
from wkdvid.frontends.dvid.instances import Instance

Kind_co = TypeVar("Kind_co", bound=Instance, covariant=True)

OCTETS = "application/octet-stream"
JSON = "application/json"
TEXT = "text/plain"
SENT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Call(Generic[Kind_co]):
    """One request below ``/api/node/<uuid>/<instance>/``."""

    services: Services
    instance: Kind_co
    endpoint: str
    parts: tuple[str, ...]
    """Path segments after the endpoint, percent-decoded."""
    query: Mapping[str, str]
    body: bytes
    method: str = "GET"
    byte_range: str | None = None
    """The Range header."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One body, or parts that are sent as they come."""

    body: Body = b""
    content_type: str = OCTETS
    status: int = 200
    """Of one body."""
    parts: AsyncIterator[Body] | None = None
    """Instead of ``body``. A failure before the first is told as an error, a later one breaks the connection off."""
    length: int | None = None
    """Bytes of all parts, where known."""
    headers: Mapping[str, str] | None = None


Handler: TypeAlias = Callable[[Call[Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What instances of one type answer to."""

    handlers: Mapping[str, Handler]
    """For GET and HEAD, by the path segment after the instance's name."""
    throttled: frozenset[str] = frozenset()
    """Those that take ``throttle=``."""
    changing: Mapping[str, Mapping[str, Handler]] = field(default_factory=lambda: {"POST": {}})
    """By method. They change something, so they are for open nodes and for callers who may write."""
    large: frozenset[Handler] = frozenset()
    """Of those, what takes a larger body than other requests: it is stored, not parsed."""
    asking: Mapping[str, Handler] = field(default_factory=dict)
    """For POST too, but they only read."""
    not_offered: frozenset[str] = frozenset()
    """Those that DVID takes a POST on, and that are not offered here."""
    others: Mapping[str, Handler] = field(default_factory=dict)
    """By method, for endpoints that are none of those above. They may raise ``status.UnknownEndpoint``."""
    post_texts: Mapping[str, str] = field(default_factory=dict)
    """What is said of a POST on those that only read, where it is something special."""


def json_answer(value: object, content_type: str = JSON) -> Answer:
    return Answer(orjson.dumps(value), content_type)


async def together(pieces: AsyncIterator[Body], limits: Limits) -> AsyncIterator[Body]:
    """Small pieces joined before they are sent.

    Raises:
        TooLarge: there are more bytes than an answer may have.
    """
    held, length = bytearray(), 0
    async for piece in pieces:
        length += len(piece)
        if length > limits.response_bytes:
            raise TooLarge(f"the answer has more than {limits.response_bytes} bytes (limits.response_bytes)")
        held += piece
        if len(held) >= SENT_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def ready(services: Services, layer: Layer, key: Key) -> Body | None:
    """A body from the cache, if it is there."""
    return services.bodies.get(key) if layer.lasting else None


def keep(services: Services, layer: Layer, key: Key, body: Body) -> None:
    """Have a body ready for the next one who asks, unless it may be changed until then."""
    if layer.lasting:
        services.bodies.put(key, body)
