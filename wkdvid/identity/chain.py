"""A token -> who sends it. The verifiers in their order: our own tokens, providers', opaque ones, the test user."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from cachebox import LRUCache

from wkdvid.core.links import is_link
from wkdvid.core.users import ADMIN, User, Users
from wkdvid.errors import Forbidden, Unauthorized
from wkdvid.identity.claims import Identity
from wkdvid.identity.own import ISSUER, OwnTokens

if TYPE_CHECKING:
    from wkdvid.identity.oidc import OidcVerifier

KEPT = 20_000
"""Tokens whose check is not repeated."""
KEPT_S = 300.0
DAY_S = 86400.0
LONGEST_TOKEN = 8192
NO_TOKENS: Mapping[str, str] = MappingProxyType({})
REFUSED = "Could not validate credentials"


@dataclass(frozen=True, slots=True)
class _Checked:
    identity: Identity
    until: float
    """``time.monotonic()``"""

    @property
    def counts(self) -> bool:
        """The token's own end is a time of day, and the clock may be set: it does not lengthen what is remembered."""
        expires = self.identity.expires
        return time.monotonic() < self.until and (expires is None or time.time() < expires)


class Identities:
    def __init__(
        self,
        users: Users,
        own: OwnTokens,
        providers: Sequence[OidcVerifier],
        *,
        admins: Collection[str] = (),
        anyone: str | None = None,
        tokens: Mapping[str, str] = NO_TOKENS,
    ) -> None:
        """
        Args:
            admins: Emails of administrators, whatever is stored.
            anyone: Who sends requests without a token, or with what is none.
            tokens: Emails by opaque tokens that stand in the configuration.
        """
        self.users = users
        self.own = own
        self._by_issuer: Mapping[str, OidcVerifier] = {
            issuer: verifier for verifier in providers for issuer in verifier.provider.issuers
        }
        self._admins = frozenset(email.lower() for email in admins)
        self._anyone = None if anyone is None else anyone.lower()
        self._tokens = {hashlib.sha256(token.encode()).hexdigest(): email.lower() for token, email in tokens.items()}
        self._checked: LRUCache[bytes, _Checked] = LRUCache(KEPT)

    @property
    def needs_no_token(self) -> bool:
        """Then a token proves nothing: any web page can make one up."""
        return self._anyone is not None

    async def user(self, token: str | None) -> User:
        """Who sends it: as stored, or somebody without any role.

        Raises:
            Unauthorized: no token, or none that counts.
            Forbidden: the user is disabled.
            UpstreamUnavailable, DatabaseUnavailable: that cannot be known now.
        """
        return await self.user_of(await self.identify(token))

    async def user_of(self, identity: Identity) -> User:
        email = identity.email
        stored = await self.users.find(email)
        if stored is not None and stored.disabled:
            raise Forbidden("Inactive user")
        user = stored or User(email=email)
        filled = replace(
            user,
            name=user.name or identity.name,
            picture=user.picture or identity.picture,
            groups=(*user.groups, *(group for group in identity.groups if group not in user.groups)),
        )
        if email in self._admins and not filled.is_admin:
            return replace(filled, global_roles=(*filled.global_roles, ADMIN))
        return filled

    async def new_token(self, email: str, days: float, *, opaque: bool = False, label: str = "") -> str:
        """A token of a user's.

        Args:
            opaque: A random text, of which the hash alone is kept, instead of a JWT, which says whose it is.
            label: To know an opaque one by.
        Raises:
            DatabaseUnavailable: an opaque one cannot be kept.
        """
        if not opaque:
            return self.own.mint(email, {}, days * DAY_S)
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        await self.users.add_token(digest, email, label, time.time() + days * DAY_S)
        return token

    def known(self, token: str | None) -> str | None:
        """Whom a token that was checked lately belongs to, for the log; nobody is asked."""
        if token is None:
            return self._anyone
        checked: _Checked | None = self._checked.get(_digest(token).digest())
        return None if checked is None else checked.identity.email

    async def email(self, token: str | None) -> str:
        """Of who sends it; "" where that is nobody who is known here.

        Raises:
            UpstreamUnavailable, DatabaseUnavailable: as ``user``.
        """
        try:
            return (await self.identify(token)).email
        except Unauthorized:
            return ""

    async def identify(self, token: str | None) -> Identity:
        """
        Raises:
            Unauthorized, UpstreamUnavailable, DatabaseUnavailable: as ``user``.
        """
        if not token:
            return self._without_token()
        if len(token) > LONGEST_TOKEN or is_link(token):  # which is nobody, not even whoever needs no token
            raise Unauthorized(REFUSED)
        digest = _digest(token)
        checked: _Checked | None = self._checked.get(digest.digest())
        if checked is None or not checked.counts:
            checked = await self._check(token, digest.hexdigest())
            self._checked[digest.digest()] = checked
        if checked.identity.issued < await self.users.token_epoch(checked.identity.email):
            raise Unauthorized(REFUSED)
        return checked.identity

    async def _check(self, token: str, digest: str) -> _Checked:
        issuer = _issuer(token)
        if issuer is None:
            email = self._tokens.get(digest) or await self.users.owner_of_token(digest)
            return _Checked(Identity(email=email, issued=float("inf")) if email else self._without_token(), 0.0)
        if issuer == ISSUER:
            identity = self.own.verify(token)
        elif issuer in self._by_issuer:
            identity = await self._by_issuer[issuer].verify(token)
        else:
            raise Unauthorized(REFUSED)
        return _Checked(identity, time.monotonic() + KEPT_S)

    def _without_token(self) -> Identity:
        if self._anyone is None:
            raise Unauthorized(REFUSED)
        return Identity(email=self._anyone, issued=float("inf"))


def _digest(token: str) -> hashlib._Hash:
    return hashlib.sha256(token.encode(errors="surrogateescape"))


def _issuer(token: str) -> str | None:
    """Whom a JWT says it is from, not verified: "" if nobody. None: it is no JWT."""
    import jwt  # noqa: PLC0415 - slow to import, and not needed where nobody sends a token

    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, UnicodeEncodeError):  # a header may hold any bytes
        return None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else ""
