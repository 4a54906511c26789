"""A request to clio's API and its answer, free of HTTP's machinery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import orjson

from wkdvid.core.body_cache import Body
from wkdvid.core.services import Services
from wkdvid.core.users import User
from wkdvid.errors import InvalidRequest, RequestError, UpstreamUnavailable
from wkdvid.frontends.clio.stores import Clio


class Access(Enum):
    """Who may send a request, before its handler looks closer. Of a route with ``<dataset>`` it means that dataset."""

    PUBLIC = "public"
    USER = "user"
    """Anybody who is logged in."""
    READ = "clio_read"
    GENERAL = "clio_general"
    """Reads, and writes what is the caller's own."""
    WRITE = "clio_write"
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

    def json(self) -> Any:
        """The body. Whatever its Content-Type: browsers call a text that they are given ``text/plain``.

        Raises:
            InvalidRequest: it is not JSON.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error

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


_FLAGS = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}


def whole_number(text: str) -> int | None:
    """Of 64 bits; None: it is none."""
    digits = text.removeprefix("-")
    is_whole = digits.isascii() and digits.isdigit() and len(digits) < 20 and -(2**63) <= int(text) < 2**63
    return int(text) if is_whole else None
