"""TensorStore's errors, and those of files, as ours. TensorStore's begin with the name of an absl status."""

from __future__ import annotations

from collections.abc import Mapping

import tensorstore as ts

from wkdvid.core.hosts import PASSING
from wkdvid.core.source import Source
from wkdvid.errors import AccessDenied, AuthRejected, BackendError, CorruptChunk, UpstreamUnavailable

_BY_STATUS: Mapping[str, tuple[type[BackendError], str]] = {
    "UNAVAILABLE": (UpstreamUnavailable, "the source does not answer"),
    "DEADLINE_EXCEEDED": (UpstreamUnavailable, "the source does not answer in time"),
    "ABORTED": (UpstreamUnavailable, "the source broke off, again and again"),
    "RESOURCE_EXHAUSTED": (UpstreamUnavailable, "the source is overloaded"),
    "CANCELLED": (UpstreamUnavailable, "the read was cancelled"),
    "INTERNAL": (UpstreamUnavailable, "the source failed"),
    "UNKNOWN": (UpstreamUnavailable, "the source failed"),
    "NOT_FOUND": (UpstreamUnavailable, "the source is not there"),
    "PERMISSION_DENIED": (AccessDenied, "the source refuses to be read"),
    "UNAUTHENTICATED": (AuthRejected, "the source refuses our credentials"),
}
_CAUSES: Mapping[str, str] = {
    "could not resolve host": "the name of the source's host cannot be resolved",
    "couldn't resolve host": "the name of the source's host cannot be resolved",
    "could not connect to server": "the source's host cannot be connected to",
    "couldn't connect to server": "the source's host cannot be connected to",
}
"""What libcurl says where TensorStore tells only that it tried again and again."""
_NO_CREDENTIALS = (AuthRejected, "the server has not the credentials that it should be read with")
"""TensorStore fails before it asks: there is no such profile, or no file of credentials."""
_REFUSED = (AuthRejected, "the source refuses to be read")
_UNAUTHORIZED = "[HTTP code 401]"
"""TensorStore has one status for 401 and 403."""
_PASSING = frozenset(map(str, PASSING))
_FAILED = _BY_STATUS["UNKNOWN"]
_CORRUPT = (CorruptChunk, "the stored bytes do not fit their metadata")


def translate(error: Exception, what: str) -> BackendError:
    """The failure of reading ``what``. The error's own text stays out of it: it names paths and upstream bodies."""
    if isinstance(error, BackendError):
        return error  # of a function that reads chunks; it says what and where
    if isinstance(error, OSError) and error.errno is not None:  # of the operating system, not of TensorStore
        kind, text = _REFUSED if isinstance(error, PermissionError) else _FAILED
    elif "credentials provider" in str(error):
        kind, text = _NO_CREDENTIALS
    elif _UNAUTHORIZED in str(error):
        kind, text = _BY_STATUS["UNAUTHENTICATED"]
    else:
        kind, text = _BY_STATUS.get(status_of(error), _CORRUPT)
        text = next((better for told, better in _CAUSES.items() if told in str(error).lower()), text)
    return kind(f"{what}: {text}")


def translate_of(error: Exception, source: Source, key: str) -> BackendError:
    """The failure of reading an object of a source. A refusal says so where the server has shown no credentials."""
    failure = translate(error, f"{source.name} ({key})")
    if isinstance(failure, AuthRejected) and source.scheme != "file" and not source.access.granted:
        return type(failure)(f"{failure}; no credentials of the server are granted for it (sources.credentials)")
    return failure


def status_of(error: Exception) -> str:
    """The absl status that TensorStore's text begins with, in capitals."""
    return str(error).split(":", 1)[0].strip()


def passing_answers() -> int:
    """How many answers of sources, since this process began, said that another try may do better: 503 and the like."""
    (codes,) = ts.experimental_collect_matching_metrics("/tensorstore/http/response_codes") or ({"values": ()},)
    return sum(answers["value"] for answers in codes["values"] if answers["code"] in _PASSING)
