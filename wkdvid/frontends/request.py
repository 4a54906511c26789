"""The request as handlers see it: one that came below ``/shared/TOKEN`` is the one behind that, with its token."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Any

from sanic.exceptions import SanicException
from sanic.request import Request

from wkdvid.core.links import TOKEN

URL_BYTES = 65_535
"""The longest URL that the HTTP parser can hold: it would close the connection without an answer."""
SHARED = "/shared/"
_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_PROCESS = secrets.token_hex(6)
_NUMBERS = itertools.count(1)
_BEGIN = SHARED.encode()
_BELOW = re.compile(rf"{SHARED}({TOKEN})(?=/)".encode())


class TooLongUrl(SanicException):
    """A URL that does not fit into the HTTP parser."""

    status_code = 414
    quiet = True


class ServedRequest(Request):
    """A request whose URL nobody can parse still has a 400 as its answer, and one whose URL is too long a 414.

    To report such a one Sanic 25.12 makes a stand-in of method NONE with the same URL, which fails again.
    """

    link: str | None = None
    """The token that stood in the path. Clients that append paths to an address can send none in a header."""

    def __init__(self, **parts: Any) -> None:
        url: bytes = parts["url_bytes"]
        if parts["method"] == "NONE":
            parts["url_bytes"] = b"*"
        elif len(url) > URL_BYTES:
            raise TooLongUrl(f"the URL has {len(url)} bytes, the limit is {URL_BYTES}")
        elif url.startswith(_BEGIN) and (below := _BELOW.match(url)):
            self.link = below[1].decode()
            parts["url_bytes"] = url[below.end() :]  # nothing that is logged or answered has the token in its path
        super().__init__(**parts)

    @property
    def id(self) -> str:
        """Names the request in its answer, in logs and traces: as who sends it calls it (X-Request-ID), or anew."""
        if self._id is None:
            given = self.headers.get("x-request-id")
            self._id = given if given is not None and _ID.fullmatch(given) else f"{_PROCESS}{next(_NUMBERS):06x}"
        return str(self._id)
