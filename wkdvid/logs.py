"""Where log lines go: standard error, ours from INFO on, other packages' from WARNING on."""

from __future__ import annotations

import logging.config


def configure_logging() -> None:
    """Set up the logging of this process; a spawned worker begins without its parent's."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "loggers": {"wkdvid": {"level": "INFO"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
        }
    )
