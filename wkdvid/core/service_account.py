"""Access tokens of a Google service account, made by google-auth."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeGuard

from wkdvid.errors import AuthRejected, UpstreamUnavailable

SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)
LEAST_LEFT = timedelta(minutes=30)
"""A token is good for an hour. A source that is opened keeps it until it is opened again (``sources.refresh_s``)."""
TIMEOUT_S = 10

Key: TypeAlias = Mapping[str, str]
"""The JSON object that Google's console gives for a service account."""
KEY_MEMBERS = frozenset({"client_email", "private_key", "token_uri"})


def is_key(value: object) -> TypeGuard[Key]:
    """Whether it has the form of a key: an object of texts with those that a token takes."""
    if not isinstance(value, dict) or not value.keys() >= KEY_MEMBERS:
        return False
    return all(isinstance(member, str) for member in value.values())


class ServiceAccount:
    """One key and its latest token. The key is read anew for each token, so it may be replaced."""

    def __init__(self, key: Callable[[], Key], prefix: str) -> None:
        """
        Args:
            key: Reads it; may raise anything.
            prefix: What it is granted for, for messages: they do not name its file.
        """
        self._key = key
        self._prefix = prefix
        self._token = ""
        self._expiry_s = -math.inf
        """``time.monotonic()``: the clock may be set, and Google's is not ours."""
        self._renewing = asyncio.Lock()

    def headers(self) -> Mapping[str, str]:
        """What goes along with a request. ``renew`` comes first."""
        return {"Authorization": f"Bearer {self._token}"}

    async def renew(self) -> None:
        """Have a token that lasts.

        Raises:
            AuthRejected: the key is not there or not accepted.
            UpstreamUnavailable: nobody answers.
        """
        async with self._renewing:
            if self._expiry_s - time.monotonic() < LEAST_LEFT.total_seconds():
                self._token, left = await asyncio.to_thread(self._ask)
                self._expiry_s = time.monotonic() + left.total_seconds()

    def _ask(self) -> tuple[str, timedelta]:
        """A token, and how long it lasts."""
        # Imported here: it would delay every command and every worker, and few need it.
        from google.auth.exceptions import TransportError  # noqa: PLC0415
        from google.auth.transport.requests import Request  # noqa: PLC0415
        from google.oauth2.service_account import Credentials  # noqa: PLC0415

        try:
            credentials = Credentials.from_service_account_info(self._key(), scopes=SCOPES)  # type: ignore[no-untyped-call]
            credentials.refresh(partial(Request(), timeout=TIMEOUT_S))
        except TransportError:
            raise UpstreamUnavailable(f"{self._prefix}: Google gives no token for the service account") from None
        except Exception:  # of any kind where the file is no key; texts may hold parts of it, or of the answer
            raise AuthRejected(f"{self._prefix}: the service account that is granted for it is not accepted") from None
        return credentials.token, credentials.expiry.replace(tzinfo=UTC) - datetime.now(UTC)
