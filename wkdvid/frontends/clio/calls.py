"""A request to clio's API and its answer, free of HTTP's machinery."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import orjson

from wkdvid.core.body_cache import Body
from wkdvid.core.services import Services
from wkdvid.core.users import User
from wkdvid.errors import InvalidRequest, RequestError, TooLarge, UpstreamUnavailable
from wkdvid.frontends.clio.stores import Clio

DOCUMENT_BYTES = 16 << 20
"""The most that a body has which is no list of many."""
MOST_RECORDS = 100_000
"""In a list."""
DEEPEST = 100
"""So many objects and lists may stand in each other."""
LONGEST_NAME = 300
_LONG_NUMBER = re.compile(rb"\d{19}")
_TAG = re.compile(r'(?:W/)?"(\d{1,12}(?:\.\d{1,9})?)"', re.ASCII)


class Access(Enum):
    """Who may send a request, before its handler looks closer. Of a route with ``<dataset>`` it means that dataset."""

    PUBLIC = "public"
    USER = "user"
    """Anybody who is logged in."""
    READ = "clio_read"
    GENERAL = "clio_general"
    """Reads, and writes what is the caller's own."""
    WRITE = "clio_write"
    DATASET_ADMIN = "dataset_admin"
    """Of a route without ``<dataset>``: of any. Its handler looks which."""
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    services: Services
    clio: Clio
    caller: User | None
    """None on public routes alone."""
    token: str | None
    parts: Mapping[str, str]
    """Of the path, by name, percent-decoded."""
    query: Mapping[str, str]
    body: bytes
    base: str
    """Scheme and host of this server, as others reach it."""
    headers: Mapping[str, str]
    cookies: Mapping[str, str]

    @property
    def user(self) -> User:
        if self.caller is None:
            raise ValueError("a public route has no user")
        return self.caller

    @property
    def dataset(self) -> str:
        """The one of the path, by the name under which roles are held and things are stored."""
        return self.clio.names.held(self.parts["dataset"])

    def json(self, most_bytes: int = DOCUMENT_BYTES) -> Any:
        """The body. Whatever its Content-Type: browsers call a text that they are given ``text/plain``.

        Raises:
            TooLarge: it has more bytes.
            InvalidRequest: it is not JSON, one thing stands in another more than ``DEEPEST`` times, or a whole number
                has over 64 bits.
        """
        if len(self.body) > most_bytes:
            raise TooLarge(f"a body of {len(self.body)} bytes, the limit is {most_bytes}")
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
        if _is_deep(value):
            raise InvalidRequest(f"JSON of more than {DEEPEST} objects and lists in each other")
        if _LONG_NUMBER.search(self.body):  # orjson makes a fraction of one that is too long
            json.loads(self.body, parse_int=_of_64_bits)
        return value

    def seen(self, count: int = 1) -> float | None:
        """``If-Match``: when what is to be changed was last changed, as far as the caller knows. None: not given.

        Args:
            count: How many things the body changes.
        Raises:
            InvalidRequest: it is no such time, or there is not one thing that it could be of.
        """
        text = self.headers.get("if-match")
        if text is None:
            return None
        found = _TAG.fullmatch(text)
        if found is None or count != 1:
            raise InvalidRequest('If-Match: expected the time of the last change of one thing, such as "1700000000.25"')
        return float(found[1])

    def number(self, name: str) -> int | None:
        """A parameter of the query; None: it is not given.

        Raises:
            Unprocessable: it is no whole number, 0 or more, of less than 19 digits.
        """
        text = self.query.get(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise Unprocessable([problem(("query", name), "expected a whole number, 0 or more", "int_parsing")])
        return int(text)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A parameter of the query that is true or false.

        Raises:
            Unprocessable: it is neither.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if text.lower() not in _FLAGS:
            raise Unprocessable([problem(("query", name), "not true or false", "bool_parsing")])
        return _FLAGS[text.lower()]

    def whole_number(self, name: str) -> int | None:
        """A parameter of the query that is a whole number of 64 bits; None: it is not there.

        Raises:
            Unprocessable: it is none.
        """
        text = self.query.get(name)
        number = None if text is None else whole_number(text)
        if text is not None and number is None:
            raise Unprocessable([problem(("query", name), "not a whole number of 64 bits", "int_parsing")])
        return number

    def point(self) -> tuple[int, int, int]:
        """``x``, ``y`` and ``z`` of the query.

        Raises:
            Unprocessable: one is missing, or not a whole number of 64 bits; all that is wrong.
        """
        problems, found = [], []
        for name in "xyz":
            text = self.query.get(name)
            if text is None:
                problems.append(problem(("query", name), "Field required", "missing"))
            elif (number := whole_number(text)) is None:
                problems.append(problem(("query", name), "not a whole number of 64 bits", "int_parsing"))
            else:
                found.append(number)
        if problems:
            raise Unprocessable(problems)
        return (found[0], found[1], found[2])


@dataclass(frozen=True, slots=True)
class Answer:
    """What is not JSON with status 200."""

    body: Body | AsyncIterator[Body] = b""
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] | None = None


Handler: TypeAlias = Callable[[Call], Awaitable[Any]]
"""Returns an Answer, or what is to be sent as JSON."""


@dataclass(frozen=True, slots=True)
class Route:
    methods: tuple[str, ...]
    path: str
    """Below a version's prefix, in Sanic's spelling; the dataset is ``<dataset>``."""
    handler: Handler
    access: Access


class Unprocessable(RequestError):
    """The body or the query is not of the form that is wanted; ``problems`` as FastAPI tells them."""

    code = "unprocessable"

    def __init__(self, problems: list[Mapping[str, Any]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems))
        self.problems = problems


class NotYet(UpstreamUnavailable):
    """What is asked for is still to be made. That is nobody's fault, so it is not logged."""

    is_said = True


def problem(loc: tuple[str | int, ...], msg: str, kind: str) -> Mapping[str, Any]:
    """
    Args:
        loc: Where, beginning with ``query``, ``body`` or ``path``.
    """
    return {"loc": list(loc), "msg": msg, "type": kind}


def etag(at: float) -> str:
    """The ETag of what was last changed then; ``If-Match`` takes it."""
    return f'"{at!r}"'


def is_name(text: str) -> bool:
    """Whether the database holds it as a name; a control character would only confuse whoever reads it."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


def _of_64_bits(digits: str) -> int:
    """
    Raises:
        InvalidRequest: the number has more.
    """
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise InvalidRequest(f"{digits[:40]} is no whole number of 64 bits; a text holds any")
    return int(digits)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [item for one in level if isinstance(one, dict | list) for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: Mapping[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value


_FLAGS = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}


def whole_number(text: str) -> int | None:
    """Of 64 bits; None: it is none."""
    digits = text.removeprefix("-")
    is_whole = digits.isascii() and digits.isdigit() and len(digits) < 20 and -(2**63) <= int(text) < 2**63
    return int(text) if is_whole else None
