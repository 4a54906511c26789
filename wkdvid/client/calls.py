"""Requests, and what is done with their answers, as values: nothing here sends anything.

What the client does is written once, as generators (``Steps``) that yield *effects* and are given their results. A
transport (``wkdvid.client.transport``) carries effects out, blocking or on an event loop, and there are few of them:

    Call        a request, tried again while the server is busy -> what its answer means
    Send        a request, once -> its ``Reply``
    Pause       wait
    Work        a function that takes its time -> what it returns; an event loop has a thread do it
    Each        many ``Steps``, several at once
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from wkdvid.client.errors import BY_STATUS, HttpError, UnexpectedResponse
from wkdvid.errors import WkdvidError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SUCCESS = frozenset({200, 206})
"""206 is what DVID answers where not all is there yet."""
MOST_BYTES = 2**30
"""Of an answer whose size the request does not tell."""
MOST_ERROR_BYTES = 10_000
"""Of what is kept of a failure's body."""
OCTETS = "application/octet-stream"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    reason: str
    body: bytearray


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request, and how its answer is read. ``yield from call`` in ``Steps`` is what the answer means."""

    action: str
    """What is attempted, in a word or two, for messages."""
    path: str
    """From ``/api`` on, percent-encoded."""
    decode: Callable[[Reply], T]
    """Raises what parsing does: ValueError, LookupError, TypeError, AttributeError, the codecs' errors."""
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = OCTETS
    accepted: frozenset[int] = SUCCESS
    limit: int = MOST_BYTES
    """Most bytes that the answer may have."""

    def __iter__(self) -> Generator[Effect, Any, T]:
        result: T = yield self
        return result

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{query_text(self.query)}" if self.query else self.path

    def failure(self, reply: Reply) -> HttpError:
        error = BY_STATUS.get(reply.status, HttpError)
        return error(self.action, self.method, self.target, reply.status, reply.reason, bytes(reply.body))

    def result(self, reply: Reply) -> T:
        """
        Raises:
            HttpError: the status is not one of success.
            UnexpectedResponse: it is, but the body is no answer.
        """
        if reply.status not in self.accepted:
            raise self.failure(reply)
        try:
            return self.decode(reply)
        except (
            WkdvidError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise UnexpectedResponse(f"{self.action}: {self.method} {self.target}: {error}") from error


class Receiver:
    """Collects the body of one answer, piece by piece, no more than it may have."""

    def __init__(self, call: Call[Any], status: int, reason: str) -> None:
        self.reply = Reply(status, reason, bytearray())
        self._call = call
        is_success = status in call.accepted
        self._limit, self._kept = (call.limit, call.limit) if is_success else (MOST_BYTES, MOST_ERROR_BYTES)
        self._received = 0

    def add(self, piece: bytes) -> None:
        """
        Raises:
            UnexpectedResponse: the body has more bytes than the call allows.
        """
        self._received += len(piece)
        if self._received > self._limit:
            raise UnexpectedResponse(
                f"{self._call.action}: {self._call.method} {self._call.target}: longer than {self._limit} bytes"
            )
        self.reply.body.extend(piece[: max(self._kept - len(self.reply.body), 0)])


@dataclass(frozen=True, slots=True)
class Send:
    call: Call[Any]


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Each:
    jobs: Iterable[Steps[None]]


Effect: TypeAlias = Call[Any] | Send | Pause | Work | Each


class Steps(Protocol[T_co]):
    """A ``Call``, or a generator of effects."""

    def __iter__(self) -> Generator[Effect, Any, T_co]: ...


def query_text(query: Mapping[str, str]) -> str:
    """Commas stay as they are: lists of blocks are long enough."""
    return urlencode(query, safe=",:")


def segment(text: str) -> str:
    """One segment of a path; ``:`` and ``~`` stand in DVID's names of versions."""
    return quote(text, safe=":~")
