"""What of a configuration that is read anew may differ from the one that runs."""

from __future__ import annotations

from dataclasses import replace

from wkdvid.config import Config
from wkdvid.errors import ConfigError


def taken_over(begun: Config, running: Config, new: Config) -> Config:
    """The new configuration as it can run from now on.

    Args:
        begun: As it was read when the server was started.
        running: The same, with what was chosen then: a free port.
    Raises:
        ConfigError: it differs in what all workers share as long as the server runs.
    """
    changed = [name for name, value in _fixed(begun).items() if _fixed(new)[name] != value]
    if changed:
        raise ConfigError(f"{', '.join(changed)}: cannot change while the server runs; stop it and start it anew")
    return replace(new, server=replace(new.server, http_address=running.server.http_address))


def _fixed(config: Config) -> dict[str, object]:
    """The socket is open, and workers that change over must not answer from two catalogs or write to two places."""
    return {
        "server.httpAddress": config.server.http_address,
        "server.stateDir": config.state_dir,
        "datasets.path": config.datasets.path,
        "metadata.database_url": config.metadata.database_url,
        "volumes.url": config.volumes.url,
        "webknossos.name": config.webknossos.name,
    }
