"""Errors as this API's clients see them."""

from __future__ import annotations

from wkdvid.errors import (
    BackendError,
    Forbidden,
    RequestError,
    Unauthorized,
    UpstreamUnavailable,
    WkdvidError,
)

STATUS: dict[type[BaseException], int] = {
    RequestError: 400,
    Unauthorized: 401,
    Forbidden: 403,
    UpstreamUnavailable: 503,
    BackendError: 502,
    WkdvidError: 500,
}
