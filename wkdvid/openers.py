"""How a process of this configuration opens sources."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wkdvid.backends.opening import Opener
from wkdvid.backends.presence import LOOK_S
from wkdvid.config import Config
from wkdvid.core.credentials import Credentials, anonymous_access, own_access
from wkdvid.core.guard import Guard
from wkdvid.core.own_accounts import FOLDER
from wkdvid.core.secrets import Secrets

if TYPE_CHECKING:
    from wkdvid.backends.disk_cache.cache import DiskCache


def make_disk_cache(config: Config) -> DiskCache | None:
    sources = config.sources
    if sources.disk_cache_path is None:
        return None
    from wkdvid.backends.disk_cache.cache import DiskCache  # noqa: PLC0415 - it is slow to import, and few have one

    return DiskCache(
        sources.disk_cache_path,
        sources.disk_cache_bytes,
        window_s=sources.refresh_s,
        deadline_s=sources.deadline_s,
    )


def make_opener(
    config: Config, pool_bytes: int, deadline_s: float, cache: DiskCache | None = None, look_s: float = LOOK_S
) -> Opener:
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
        cache=cache,
        look_s=look_s,
    )


def make_credentials(config: Config) -> Credentials:
    """Where others can name sources too, the process's own credentials are for those that the operator grants alone."""
    otherwise = own_access(os.environ) if config.private else anonymous_access(os.environ)
    return Credentials(config.credentials, otherwise)
