"""The verifiers that a configuration asks for."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wkdvid.config import Config
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.notice import Notice
from wkdvid.core.secrets import look_up
from wkdvid.errors import ConfigError
from wkdvid.identity.chain import Identities
from wkdvid.identity.own import OwnTokens, lasting_secret
from wkdvid.identity.providers import Provider
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.users import COUNTER, SqlUsers

if TYPE_CHECKING:
    from wkdvid.identity.login import Login
    from wkdvid.identity.oidc import OidcVerifier

log = logging.getLogger("wkdvid.identity")

SECRET = "clio.secret"  # noqa: S105 - the name of the file that holds it
ANYONE = "anyone@localhost"
"""Who sends requests in mode ``open``."""
ADMINISTRATOR = "administrator@localhost"
"""Who has the administrators' token of mode ``token``."""


def open_identities(config: Config) -> tuple[Identities, Mapping[str, Login]]:
    """Who sends requests; and the ways to log in with a browser, by the name of the provider.

    Raises:
        ConfigError: the secret of tokens is too short, or cannot be read.
    """
    clio, folder, mode = config.clio, config.state_dir, config.access.mode
    token = config.access.admin_token if mode == "token" else None
    local = [ANYONE] if mode == "open" else [ADMINISTRATOR] if token else []
    secret = own_secret(config)
    verifiers = [_verifier(one) for one in clio.providers]
    logins = {one.provider.name: _login(one, secret) for one in verifiers if one.provider.client_id}
    identities = Identities(
        SqlUsers(open_engine(config.metadata.database_url), SharedCounter(folder / COUNTER)),
        OwnTokens(secret),
        verifiers,
        admins=[*local, *([clio.owner] if clio.owner else [])],
        anyone=clio.test_user or (ANYONE if mode == "open" else None),
        tokens={token: ADMINISTRATOR} if token else {},
    )
    return identities, logins


def _verifier(provider: Provider) -> OidcVerifier:
    from wkdvid.identity.oidc import OidcVerifier  # noqa: PLC0415 - slow to import, and few have a provider

    return OidcVerifier(provider, Notice(log, f"keys of {provider.issuers[0]} are there again"))


def own_secret(config: Config) -> str:
    """What this server signs with: that of the configuration, else one that is made and stays in the data directory.

    Raises:
        ConfigError: it cannot be read or made.
    """
    return config.clio.secret or lasting_secret(config.state_dir / SECRET)


def _login(verifier: OidcVerifier, secret: str) -> Login:
    from wkdvid.identity.login import Login  # noqa: PLC0415 - as above

    return Login(verifier, _client_secret(verifier.provider), secret)


def _client_secret(provider: Provider) -> str | None:
    """
    Raises:
        ConfigError: it is not where its reference says.
    """
    if provider.client_secret is None:
        return None
    found = look_up(provider.client_secret, os.environ)
    if found is None:
        raise ConfigError(f"clio.providers: client_secret: {provider.client_secret}: there is no such secret")
    return found
