"""Errors as clio-store tells them: ``{"detail": ...}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wkdvid.errors import (
    BackendError,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    RequestError,
    TooLarge,
    Unauthorized,
    UpstreamUnavailable,
    WkdvidError,
)
from wkdvid.frontends.clio.calls import Unprocessable

STATUS: Mapping[type[BaseException], int] = {
    RequestError: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Unprocessable: 422,
    DatabaseUnavailable: 503,
    UpstreamUnavailable: 503,
    BackendError: 502,
    WkdvidError: 500,
}


def document(error: WkdvidError) -> Mapping[str, Any]:
    return {"detail": error.problems if isinstance(error, Unprocessable) else str(error)}


def headers(error: WkdvidError) -> Mapping[str, str]:
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
