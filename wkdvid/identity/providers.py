"""OpenID Connect providers, as they are configured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wkdvid.core.secrets import Reference
from wkdvid.errors import ConfigError

GOOGLE = "google"
"""A ``provider`` that needs no more than its audiences."""
GOOGLE_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
ANY_AUDIENCE = "*"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """``[[clio.providers]]``."""

    provider: str = ""
    """``google``, which has the addresses built in."""
    issuer: str = ""
    jwks_uri: str = ""
    """Of its keys; without it, the provider is asked for it (discovery)."""
    jwks_file: Path | None = None
    """Instead of an address: works without a network."""
    audiences: tuple[str, ...] = ()
    """Of the tokens that count: client ids. ``*`` takes those for anybody, which is not advisable."""
    algorithms: tuple[str, ...] = ALGORITHMS
    email_claim: str = "email"
    groups_claim: str = ""
    require_email_verified: bool = True
    leeway_s: float = 60.0
    client_id: str = ""
    """Of this server at the provider, for logins in a browser."""
    client_secret: Reference | None = None
    """Of this server there; None for public clients."""

    @property
    def name(self) -> str:
        """For people: its host."""
        return self.provider or urlsplit(self.issuer).netloc or self.issuer

    @property
    def issuers(self) -> tuple[str, ...]:
        return GOOGLE_ISSUERS if self.provider == GOOGLE else (self.issuer,)

    @property
    def keys_address(self) -> str:
        return self.jwks_uri or (GOOGLE_KEYS if self.provider == GOOGLE else "")


def check_provider(where: str, one: Provider) -> None:
    """
    Raises:
        ConfigError: what no single key shows to be wrong.
    """
    if one.provider not in ("", GOOGLE):
        raise ConfigError(f"{where}.provider: {one.provider!r} is not {GOOGLE!r}; leave it out, and give the issuer")
    if not all(one.issuers):
        raise ConfigError(f"{where}.issuer: missing")
    if not one.audiences:
        raise ConfigError(f"{where}.audiences: missing; the client ids whose tokens count, or ['{ANY_AUDIENCE}']")
    wrong = [name for name in one.algorithms if name not in ALGORITHMS]
    if wrong:
        raise ConfigError(f"{where}.algorithms: {wrong[0]!r} is not one of {', '.join(ALGORITHMS)}")
