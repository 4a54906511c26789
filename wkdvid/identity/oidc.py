"""Tokens of OpenID Connect providers, checked with the keys that they publish (JWKS), or that stand in a file."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import jwt

from wkdvid.core.notice import Notice
from wkdvid.errors import Unauthorized, UpstreamUnavailable
from wkdvid.identity.claims import Identity, shown
from wkdvid.identity.providers import ANY_AUDIENCE, Provider

FRESH_S = 3600.0
"""For which keys are taken as they are."""
PAUSE_S = 60.0
"""Between two looks for a key that is not among those that are known."""
RETRY_S = 5.0
"""After a look that failed, where no key is known."""
ANSWER_S = 10.0
METADATA = "/.well-known/openid-configuration"
"""Below the issuer: where a provider says what its addresses are."""


class OidcVerifier:
    """Of one provider."""

    def __init__(self, provider: Provider, notice: Notice) -> None:
        self.provider = provider
        self._notice = notice
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._looked = float("-inf")
        """``time.monotonic()`` of the last look at the keys."""
        self._looking = asyncio.Lock()

    async def verify(self, token: str, nonce: str | None = None) -> Identity:
        """
        Args:
            nonce: What the token must hold, where it was asked for.
        Raises:
            Unauthorized: the token does not count.
            UpstreamUnavailable: the provider's keys are not known, and cannot be had now.
        """
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            claims = self._claims(token, key)
        except jwt.PyJWTError as error:
            raise Unauthorized("Could not validate credentials") from error
        if nonce is not None and claims.get("nonce") != nonce:
            raise Unauthorized("the token was given for another login")
        email = claims.get(self.provider.email_claim)
        if not isinstance(email, str) or "@" not in email:
            raise Unauthorized(f"the token has no {self.provider.email_claim!r}")
        if self.provider.require_email_verified and claims.get("email_verified") is not True:
            raise Unauthorized("the provider has not verified the email of this token")
        return Identity(
            email=email.lower(),
            issued=float(claims.get("iat", 0)),
            expires=float(claims["exp"]),
            claims=shown(claims),
            groups=_texts(claims.get(self.provider.groups_claim)) if self.provider.groups_claim else (),
        )

    def _claims(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
        one = self.provider
        any_audience = ANY_AUDIENCE in one.audiences
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(one.algorithms),
            issuer=list(one.issuers),
            audience=None if any_audience else list(one.audiences),
            leeway=one.leeway_s,
            options={"require": ["exp"], "verify_aud": not any_audience},
        )
        return claims

    async def _key(self, kid: str | None) -> jwt.PyJWK:
        known = self._keys.get(kid)
        age = time.monotonic() - self._looked
        if age > (FRESH_S if known is not None else PAUSE_S if self._keys else RETRY_S):
            await self._look()
        if not self._keys:
            raise UpstreamUnavailable("the provider of logins does not answer")
        known = self._keys.get(kid) or (next(iter(self._keys.values())) if kid is None and self._keys else None)
        if known is None:
            raise jwt.InvalidKeyError("signed with a key that the provider does not publish")
        return known

    async def _look(self) -> None:
        async with self._looking:
            if time.monotonic() - self._looked <= (PAUSE_S if self._keys else RETRY_S):
                return  # somebody else has just looked
            try:
                self._keys = await self._read_keys()
                self._notice.well()
            except (OSError, aiohttp.ClientError, ValueError, LookupError, TypeError, jwt.PyJWTError) as error:
                self._notice.trouble(f"the keys of {self.provider.issuers[0]} cannot be had: {type(error).__name__}")
            finally:
                self._looked = time.monotonic()

    async def _read_keys(self) -> Mapping[str | None, jwt.PyJWK]:
        if self.provider.jwks_file is not None:
            text = await asyncio.to_thread(self.provider.jwks_file.read_bytes)
        else:
            text = await _get(self.provider.keys_address or await self._published_address())
        return {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(text)).keys}

    async def _published_address(self) -> str:
        """(OpenID Connect Discovery 1.0, section 4)"""
        document = json.loads(await _get(self.provider.issuers[0] + METADATA))
        if document["issuer"] != self.provider.issuers[0]:
            raise ValueError("the provider's metadata are of another issuer")
        return str(document["jwks_uri"])


async def _get(address: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session, session.get(address) as answer:
        return await answer.read()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
