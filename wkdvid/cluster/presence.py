"""Whether this process could hand tasks to a cluster, found out without importing what does so."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from wkdvid.errors import ConfigError
from wkdvid.extras import require


def check_dask(scheduler: str | None) -> None:
    """
    Args:
        scheduler: As ``jobs.scheduler``.
    Raises:
        ConfigError: one is named, and its package is not there.
    """
    if scheduler is not None:
        require("distributed", "distributed", "jobs.scheduler: needs Dask", ConfigError)


def check_scheduler(scheduler: str, timeout_s: float) -> None:
    """
    Raises:
        ConfigError: nothing listens at its address.
    """
    address = urlsplit(scheduler)
    try:
        socket.create_connection((address.hostname or "", address.port or 0), timeout_s).close()
    except (OSError, ValueError) as error:
        raise ConfigError(f"jobs.scheduler: {scheduler} does not answer: {error}") from error
