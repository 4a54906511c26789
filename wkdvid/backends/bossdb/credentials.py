"""Who asks: anybody, a token, or a user whom Keycloak gives tokens that expire. Secrets come by reference."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from wkdvid.backends.bossdb.connection import Answer, Send, insist
from wkdvid.backends.numbers import is_size
from wkdvid.backends.opening import Opener
from wkdvid.core.concurrent import begin_shared
from wkdvid.core.source import Source, quote_path
from wkdvid.errors import AuthRejected, InvalidRequest, UpstreamUnavailable

PUBLIC = "public"
"""The token that reads what anybody may read."""
CLIENT_ID = "endpoint"
REALM = "auth/realms/BOSS"
TOKEN_PATH = "protocol/openid-connect/token"  # noqa: S105 - an address
MARGIN_S = 10.0
"""A token is renewed so long before it expires."""
HOLD_OFF_S = 10.0
"""After a refusal the login server is left alone for so long: it may lock a user who fails often."""
ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Token:
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Password:
    realm: str
    """URL of the Keycloak realm; ends in ``/``."""
    username: str = field(repr=False)
    password: str = field(repr=False)


Credentials: TypeAlias = Token | Password


async def read_credentials(options: Mapping[str, Any], domain: Source, opener: Opener) -> Credentials:
    """The credentials that an entry refers to.

    Raises:
        InvalidRequest: what is wrong with them, by the option's name; no secret is shown.
        UpstreamUnavailable: the name of the login host cannot be resolved.
    """
    if options.get("token") is not None and options.get("password") is not None:
        raise InvalidRequest("token: an entry has either a token, or a username with its password")
    if options.get("token") is not None:
        return Token(_secret(options, "token", opener, domain.url))
    if options.get("username") is None and options.get("password") is None:
        return Token(PUBLIC)
    realm = await http_source(
        options.get("auth", _usual_realm(domain)), "auth: expected the URL of a Keycloak realm", opener
    )
    # The password goes to the login host, and what it buys to the domain: the operator grants both.
    both = (realm.url, domain.url)
    return Password(realm.url, _secret(options, "username", opener, *both), _secret(options, "password", opener, *both))


async def http_source(text: object, expected: str, opener: Opener) -> Source:
    """The admitted http(s) address that an option names.

    Raises:
        InvalidRequest: ``expected``, or that it is not allowed.
        UpstreamUnavailable: the host's name cannot be resolved.
    """
    if not isinstance(text, str) or not text.lower().startswith(("http://", "https://")) or "?" in text:
        raise InvalidRequest(f"{expected}, http(s)://HOST, with no '?' in it; got {text!r}")
    return await opener.source(text)


def _secret(options: Mapping[str, Any], name: str, opener: Opener, *urls: str) -> str:
    """The secret of an option, granted for each of the addresses."""
    try:
        secret, *_ = [opener.secrets.read(options.get(name), url) for url in urls]
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error}") from None
    if not secret.isprintable() or (name == "token" and not secret.isascii()):
        raise InvalidRequest(f"{name}: the secret holds characters that cannot be sent")
    return secret


def _usual_realm(domain: Source) -> str | None:
    """On the host beside the API's: ``auth.bossdb.io`` for ``api.bossdb.io``; None for an address without a name."""
    first, dot, rest = domain.authority.partition(".")
    if not dot or first.isdecimal():
        return None
    return f"{domain.scheme}://auth.{rest}/{quote_path(REALM)}"


class Authority(Protocol):
    """Gives the ``Authorization`` header."""

    async def header(self, refused: str | None) -> str:
        """
        Args:
            refused: The header that was just refused, if any: another one is wanted.
        Raises:
            AuthRejected: there is none.
            UpstreamUnavailable: it cannot be had now.
        """
        ...


class FixedToken:
    def __init__(self, token: Token) -> None:
        self._header = f"Token {token.value}"

    async def header(self, refused: str | None) -> str:
        if refused is not None:
            raise AuthRejected("the source refuses the token")
        return self._header


class Login:
    """Tokens by Keycloak's password grant; however many ask for one, they wait for one request."""

    def __init__(self, password: Password, send: Send) -> None:
        self._password = password
        self._send = send
        self._renewal: asyncio.Task[str] | None = None
        self._header = ""
        self._good_until = 0.0

    async def header(self, refused: str | None) -> str:
        renewal = self._renewal
        now = asyncio.get_running_loop().time()
        if renewal is None or (renewal.done() and (now >= self._good_until or refused == self._header)):
            renewal = self._renewal = begin_shared(self._renew(), "log in")
        return await asyncio.shield(renewal)  # others wait for it too

    async def _renew(self) -> str:
        now = asyncio.get_running_loop().time
        self._header, self._good_until = "", 0.0
        answer = await insist(self._password.realm, self._ask)
        try:
            token, expires_in_s = _parse_grant(answer)
        except AuthRejected:
            self._good_until = now() + HOLD_OFF_S
            raise
        self._header = f"Bearer {token}"
        self._good_until = now() + expires_in_s - min(MARGIN_S, expires_in_s / 2)
        return self._header

    async def _ask(self) -> Answer:
        form = {
            "grant_type": "password",
            "client_id": CLIENT_ID,
            "username": self._password.username,
            "password": self._password.password,
        }
        try:
            return await self._send("POST", f"{self._password.realm}{TOKEN_PATH}", ANSWER_BYTES, {}, form)
        except UpstreamUnavailable as error:
            raise UpstreamUnavailable(f"logging in: {error}") from None


def _parse_grant(answer: Answer) -> tuple[str, float]:
    """Token and seconds until it expires.

    Raises:
        AuthRejected: the login server gives none, for whatever reason; the text of its answer is not shown.
    """
    if not answer.is_ok:
        raise AuthRejected(f"credentials: the login server answers with status {answer.status}")
    try:
        grant = json.loads(answer.body)
        token, expires_in_s = grant["access_token"], grant["expires_in"]
    except (ValueError, RecursionError, TypeError, KeyError):
        token, expires_in_s = None, None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not is_size(expires_in_s):
        raise AuthRejected("credentials: the login server's answer holds no token")
    return token, float(expires_in_s)
