"""What a client may raise.

DvidError
├── ConnectionFailed        no whole answer: refused, broken off, timed out; the cause is kept
├── HttpError               an answer with another status than success
│   ├── Refused             400: DVID's way to say that it does not understand, or does not do it
│   ├── Denied              401 or 403
│   ├── NotFound            404: a key without a value, a label without voxels
│   └── Busy                503, for as long as was waited
├── UnexpectedResponse      success, but a body that cannot be the answer: too long or short, damaged, not JSON
├── InvalidSelection        a slicing that cannot be answered; also an IndexError
└── InvalidArgument         another argument; also a ValueError
"""

from __future__ import annotations

from collections.abc import Mapping

SHOWN_BYTES = 500
"""Of the body in a message."""


class DvidError(Exception):
    pass


class ConnectionFailed(DvidError):
    pass


class HttpError(DvidError):
    """An answer with the status of a failure.

    Attributes:
        action: what was attempted, in a word or two.
        url: path and query of the request; without what the client adds to every request, such as tokens.
        body: what the server says about it, its first 10,000 bytes.
    """

    def __init__(self, action: str, method: str, url: str, status: int, reason: str, body: bytes) -> None:
        super().__init__(action, method, url, status, reason, body)
        self.action, self.method, self.url = action, method, url
        self.status, self.reason, self.body = status, reason, body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    def __str__(self) -> str:
        said = f": {self.text[:SHOWN_BYTES]}" if self.body else ""
        return f"{self.action}: {self.method} {self.url} was answered {self.status} {self.reason}{said}"


class Refused(HttpError):
    pass


class Denied(HttpError):
    pass


class NotFound(HttpError):
    pass


class Busy(HttpError):
    """Also ``ThrottleTimeoutException``, as pydvid calls it.

    Attributes:
        attempts: how often it was asked.
        waited_s: for how long, in seconds.
    """

    attempts = 1
    waited_s = 0.0

    def __str__(self) -> str:
        return f"{super().__str__()} (asked {self.attempts} times in {self.waited_s:.1f} s)"


ThrottleTimeoutException = Busy

BY_STATUS: Mapping[int, type[HttpError]] = {400: Refused, 401: Denied, 403: Denied, 404: NotFound, 503: Busy}


class UnexpectedResponse(DvidError):
    pass


class InvalidSelection(DvidError, IndexError):
    pass


class InvalidArgument(DvidError, ValueError):
    pass
