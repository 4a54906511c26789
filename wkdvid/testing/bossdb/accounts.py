"""Who may read the stand-in: tokens, and a Keycloak that gives some which expire."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from wkdvid.testing.bossdb.documents import Refusal

PUBLIC = "public"
CLIENT_ID = "endpoint"


class Accounts:
    def __init__(self) -> None:
        self.tokens: set[str] = set()
        """Of ``Authorization: Token``, beside ``public``; they may read everything."""
        self.users: dict[str, str] = {}
        """Name and password of those who may log in; they may read everything."""
        self.expires_in_s = 300.0
        """Of tokens given from now on."""
        self.logins = 0
        self._numbers = itertools.count(1)
        self._expiry: dict[str, float] = {}

    def is_trusted(self, header: str) -> bool:
        """Whether the caller may read what is private.

        Raises:
            PermissionError: credentials that are none.
        """
        kind, _, token = header.partition(" ")
        if kind == "Token" and token == PUBLIC:
            return False
        if (kind == "Token" and token in self.tokens) or (
            kind == "Bearer" and self._expiry.get(token, 0) > time.monotonic()
        ):
            return True
        raise PermissionError

    def expire_all(self) -> None:
        """As if time had passed, which no client can know."""
        self._expiry.clear()

    def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The password grant of OpenID Connect.

        Raises:
            Refusal: a wrong client, user or password.
        """
        self.logins += 1
        user = form.get("username", "")
        known = form.get("grant_type") == "password" and form.get("client_id") == CLIENT_ID
        if not known or self.users.get(user) is None or self.users[user] != form.get("password"):
            raise Refusal(HTTPStatus.UNAUTHORIZED, 3004, "invalid_grant")
        number = next(self._numbers)
        self._expiry[f"access-{number}"] = time.monotonic() + self.expires_in_s
        return {
            "access_token": f"access-{number}",
            "expires_in": self.expires_in_s,
            "refresh_token": f"refresh-{number}",
            "refresh_expires_in": self.expires_in_s,
            "token_type": "bearer",
        }

    def log_out(self, form: Mapping[str, str]) -> None:
        self._expiry.pop(form.get("refresh_token", "").replace("refresh-", "access-"), None)
