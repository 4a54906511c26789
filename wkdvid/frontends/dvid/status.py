"""Errors as DVID tells them: status 400 for almost everything, and a line of text that ends in the path."""

from __future__ import annotations

from wkdvid.errors import (
    BackendError,
    DatabaseUnavailable,
    Forbidden,
    RequestError,
    Unauthorized,
    UpstreamUnavailable,
    WkdvidError,
)


class BadCall(RequestError):
    """What the instance's type does not know. DVID tells the path within this text."""

    code = "bad_call"


class UnknownEndpoint(RequestError):
    """Raised by a handler that takes any: nothing has this name."""

    code = "unknown_endpoint"


class Busy(RequestError):
    """All slots for throttled requests are taken; clients wait and try again."""

    code = "busy"


STATUS: dict[type[BaseException], int] = {
    RequestError: 400,
    Busy: 503,
    Unauthorized: 401,
    Forbidden: 403,
    UpstreamUnavailable: 503,
    BackendError: 502,
    DatabaseUnavailable: 503,
    WkdvidError: 500,
}


def text(error: WkdvidError, path: str) -> str:
    """
    Args:
        path: Of the request, percent-decoded.
    """
    if isinstance(error, BadCall):
        return f"{error}\n"
    if isinstance(error, Busy):
        return f"{error}\n\n"
    return f"{error} ({path}).\n"
