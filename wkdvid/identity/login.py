"""Logging in with a browser: OpenID Connect's authorization code flow with PKCE (RFC 6749, 7636).

What is to be known when the browser comes back travels in a signed cookie of its own: any worker can go on.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session

from wkdvid.errors import InvalidRequest, Unauthorized, UpstreamUnavailable
from wkdvid.identity.claims import Identity
from wkdvid.identity.oidc import METADATA, OidcVerifier

SCOPE = "openid email profile"
LIFE_S = 600
"""How long somebody may take to log in."""
ANSWER_S = 10.0
_ENDPOINTS = ("authorization_endpoint", "token_endpoint")


@dataclass(frozen=True, slots=True)
class Begun:
    address: str
    """Where the browser goes."""
    kept: str
    """What it is to bring back in a cookie."""


class Login:
    def __init__(self, verifier: OidcVerifier, client_secret: str | None, signing_secret: str) -> None:
        """
        Args:
            verifier: Of the provider, which has a client id.
            client_secret: None for a public client.
            signing_secret: Of the cookie.
        """
        self._verifier = verifier
        self._client_secret = client_secret
        self._signing_secret = signing_secret
        self._audience = f"login {verifier.provider.issuers[0]}"
        """Of the cookie's token, so that it is good for nothing else."""
        self._endpoints: Mapping[str, str] | None = None

    async def begin(self, callback: str, back_to: str) -> Begun:
        """
        Args:
            callback: Our own address that the provider sends the browser to.
            back_to: Where it goes in the end; checked by the caller.
        Raises:
            UpstreamUnavailable: the provider does not say how it is to be asked.
        """
        endpoints = await self._metadata()
        verifier, nonce = secrets.token_urlsafe(64), secrets.token_urlsafe(16)
        with self._session(callback) as session:
            address, state = session.create_authorization_url(
                endpoints["authorization_endpoint"], code_verifier=verifier, nonce=nonce
            )
        kept = {"state": state, "verifier": verifier, "nonce": nonce, "back": back_to, "aud": self._audience}
        kept["exp"] = int(time.time()) + LIFE_S
        return Begun(address, jwt.encode(kept, self._signing_secret, "HS256"))

    async def finish(self, callback: str, query: Mapping[str, str], kept: str | None) -> tuple[Identity, str]:
        """Who has logged in, and where the browser goes.

        Raises:
            Unauthorized: it has not been here before, took too long, or the provider refused.
            UpstreamUnavailable: the provider does not answer.
        """
        before = self._begun(kept)
        if before is None:
            raise Unauthorized("this login was not begun here, or has taken too long; begin anew")
        if not secrets.compare_digest(query.get("state", ""), before["state"]):
            raise Unauthorized("this answer belongs to another login; begin anew")
        if "code" not in query:
            raise Unauthorized(f"the provider refused: {query.get('error', 'no code')[:80]}")
        token = await self._exchanged(callback, query["code"], before["verifier"])
        return await self._verifier.verify(token, before["nonce"]), before["back"]

    def has_begun(self, kept: str | None) -> bool:
        """Whether the browser was sent to this provider, and may still come back."""
        return self._begun(kept) is not None

    def _begun(self, kept: str | None) -> Mapping[str, Any] | None:
        try:
            begun: Mapping[str, Any] = jwt.decode(kept or "", self._signing_secret, ["HS256"], audience=self._audience)
        except jwt.PyJWTError:
            return None
        return begun

    async def _exchanged(self, callback: str, code: str, verifier: str) -> str:
        endpoint = (await self._metadata())["token_endpoint"]
        try:
            answer = await asyncio.to_thread(self._fetch, callback, endpoint, code, verifier)
        except AuthlibBaseError as error:
            raise Unauthorized(f"the provider refused: {error.error}") from error
        except requests.RequestException as error:
            raise UpstreamUnavailable("the provider of logins does not answer") from error
        if not isinstance(answer.get("id_token"), str):
            raise InvalidRequest("the provider of logins gave no identity")
        return str(answer["id_token"])

    def _fetch(self, callback: str, endpoint: str, code: str, verifier: str) -> Mapping[str, Any]:
        with self._session(callback) as session:
            answer: Mapping[str, Any] = session.fetch_token(
                endpoint, code=code, code_verifier=verifier, grant_type="authorization_code", timeout=ANSWER_S
            )
        return answer

    def _session(self, callback: str) -> OAuth2Session:
        return OAuth2Session(
            self._verifier.provider.client_id,
            self._client_secret,
            scope=SCOPE,
            redirect_uri=callback,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._client_secret else "none",
        )

    async def _metadata(self) -> Mapping[str, str]:
        if self._endpoints is None:
            address = self._verifier.provider.issuers[0] + METADATA
            try:
                answer = await asyncio.to_thread(requests.get, address, timeout=ANSWER_S)
                answer.raise_for_status()
                found = answer.json()
                self._endpoints = {name: str(found[name]) for name in _ENDPOINTS}
            except (requests.RequestException, ValueError, LookupError, TypeError) as error:
                raise UpstreamUnavailable("the provider of logins does not answer") from error
        return self._endpoints
