"""How a process of this configuration opens sources."""

from __future__ import annotations

import os

from wkdvid.backends.opening import Opener
from wkdvid.config import Config
from wkdvid.core.credentials import Credentials, anonymous_access, own_access
from wkdvid.core.guard import Guard
from wkdvid.core.own_accounts import FOLDER
from wkdvid.core.secrets import Secrets


def make_opener(config: Config, pool_bytes: int, deadline_s: float) -> Opener:
    guard = Guard(config.file_roots, config.http_hosts, make_credentials(config))
    secrets = Secrets(config.sources.secrets)
    return Opener(
        guard,
        config.limits,
        pool_bytes=pool_bytes,
        deadline_s=deadline_s,
        secrets=secrets,
        variables=config.variables(os.environ),
        keys=config.state_dir / FOLDER,
    )


def make_credentials(config: Config) -> Credentials:
    """Where others can name sources too, the process's own credentials are for those that the operator grants alone."""
    otherwise = own_access(os.environ) if config.private else anonymous_access(os.environ)
    return Credentials(config.credentials, otherwise)
