"""The verifiers that a configuration asks for."""

from __future__ import annotations

import logging

from wkdvid.config import Config
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.notice import Notice
from wkdvid.identity.chain import Identities
from wkdvid.identity.oidc import OidcVerifier
from wkdvid.identity.own import OwnTokens, lasting_secret
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.users import COUNTER, SqlUsers

log = logging.getLogger("wkdvid.identity")

SECRET = "clio.secret"  # noqa: S105 - the name of the file that holds it
ANYONE = "anyone@localhost"
"""Who sends requests in mode ``open``."""
ADMINISTRATOR = "administrator@localhost"
"""Who has the administrators' token of mode ``token``."""


def open_identities(config: Config) -> Identities:
    """
    Raises:
        ConfigError: the secret of tokens is too short, or cannot be read.
    """
    clio, folder, mode = config.clio, config.state_dir, config.access.mode
    token = config.access.admin_token if mode == "token" else None
    local = [ANYONE] if mode == "open" else [ADMINISTRATOR] if token else []
    return Identities(
        SqlUsers(open_engine(config.metadata.database_url), SharedCounter(folder / COUNTER)),
        OwnTokens(clio.secret or lasting_secret(folder / SECRET)),
        [OidcVerifier(one, Notice(log, f"the keys of {one.issuers[0]} are there again")) for one in clio.providers],
        admins=[*local, *([clio.owner] if clio.owner else [])],
        anyone=clio.test_user or (ANYONE if mode == "open" else None),
        tokens={token: ADMINISTRATOR} if token else {},
    )
