"""Everything that can go wrong, free of HTTP.

WkdvidError
├── ConfigError                 a bad configuration file, option, environment variable or datasets.json
├── DatabaseUnavailable         our own database does not answer, or refuses
├── JobFailed                   long work that cannot go on; the message says at which box and why
├── RequestError                the caller's fault
│   ├── InvalidRequest          a value that cannot be understood or is out of its range
│   ├── UnsupportedRequest      understood, but not offered for this layer
│   ├── NotFound                no such dataset, layer, instance, version
│   │   └── NotShown            no such dataset, or none that this caller may see: it is not said which
│   ├── TooLarge                over a limit; the message names the limit
│   ├── Conflict                somebody else has changed it meanwhile
│   ├── Unauthorized            no credentials, or bad ones
│   ├── Forbidden               good credentials that do not suffice
│   └── InvalidEntry            a datasets.json entry that cannot be registered; ``problems`` lists each with its path
└── BackendError                the source's fault; never shown as data, never cached
    ├── UpstreamUnavailable     a passing failure: refused, timed out, 5xx
    │   └── SourceGone          it was there, and is not any more
    ├── CorruptChunk            bytes that cannot be what their metadata says
    └── AuthRejected            the source refuses to be read, or our credentials
        └── AccessDenied        it says 403, which is also what some stores say of what they lack

Each front end maps these to statuses in one table, by walking ``type(error).__mro__``. ``code`` is stable and may be
matched by clients; the message says what, where and the allowed range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class WkdvidError(Exception):
    code: ClassVar[str] = "error"
    is_said: ClassVar[bool] = False
    """Logged where it begins, once while it lasts; requests that meet it need no line each."""


class ConfigError(WkdvidError):
    code = "config"


class DatabaseUnavailable(WkdvidError):
    code = "database_unavailable"


class JobFailed(WkdvidError):
    code = "job_failed"


class RequestError(WkdvidError):
    code = "request"


class InvalidRequest(RequestError):
    code = "invalid_request"


class UnsupportedRequest(RequestError):
    code = "unsupported"


class NotFound(RequestError):
    code = "not_found"


class NotShown(NotFound):
    """Has the code of its base: nothing tells which it is."""


class TooLarge(RequestError):
    code = "too_large"


class Conflict(RequestError):
    code = "conflict"


class Unauthorized(RequestError):
    code = "unauthorized"


class Forbidden(RequestError):
    code = "forbidden"


class InvalidEntry(RequestError):
    code = "invalid_entry"

    def __init__(self, problems: Sequence[str]) -> None:
        """``problems``: one line each, beginning with the JSON path of what is wrong."""
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class BackendError(WkdvidError):
    code = "backend"


class UpstreamUnavailable(BackendError):
    code = "upstream_unavailable"


class SourceGone(UpstreamUnavailable):
    """With the code of its base: clients do the same."""


class CorruptChunk(BackendError):
    code = "corrupt_chunk"


class AuthRejected(BackendError):
    code = "auth_rejected"


class AccessDenied(AuthRejected):
    """With the code of its base: clients need not tell them apart."""
