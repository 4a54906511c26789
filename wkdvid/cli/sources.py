"""Reading a source without a server, with the rights of whoever runs the command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wkdvid.backends.opening import Opener

DEADLINE_S = 30.0


def own_opener(source: str, pool_bytes: int) -> Opener:
    """Any file may be read, relative ones begin here, and the host may be asked that the user names.

    Args:
        source: Path or URL.
        pool_bytes: Of decoded chunks that are kept.
    Raises:
        ConfigError: the configuration, by which credentials are granted, is wrong.
        InvalidRequest: not a source.
    """
    from wkdvid.backends.opening import Opener
    from wkdvid.config import load_config
    from wkdvid.core.credentials import Credentials, own_access
    from wkdvid.core.guard import Guard
    from wkdvid.core.limits import Limits
    from wkdvid.core.source import read_source

    named = read_source(source)
    hosts = frozenset({named.authority} if named.is_http else ())
    granted = load_config(None, os.environ, {}).sources.credentials
    guard = Guard((Path.cwd(), Path("/")), hosts, Credentials(granted, own_access(os.environ)))
    return Opener(guard, Limits(), pool_bytes=pool_bytes, deadline_s=DEADLINE_S)
