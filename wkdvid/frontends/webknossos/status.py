"""Errors as webKnossos knows them. 403 makes its browser fetch a new token, so only access says that."""

from __future__ import annotations

from collections.abc import Sequence

from wkdvid.errors import (
    BackendError,
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    RequestError,
    TooLarge,
    Unauthorized,
    UpstreamUnavailable,
    WkdvidError,
)

STATUS: dict[type[BaseException], int] = {
    RequestError: 400,
    NotFound: 404,
    TooLarge: 413,
    Unauthorized: 403,
    Forbidden: 403,
    UpstreamUnavailable: 503,
    BackendError: 502,
    DatabaseUnavailable: 503,
    WkdvidError: 500,
}


def message(texts: Sequence[str], code: str, request_id: str) -> dict[str, object]:
    return {"messages": [{"error": text} for text in texts], "code": code, "requestId": request_id}


def forbidden_text(text: str) -> str:
    """In these words the browser knows that it should renew its token."""
    return f"Token may be expired, consider reloading. Access forbidden: {text}"
