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
            # What tifffile finds wrong, tag by tag, with a file that is opened again and again, its reason says once.
            "loggers": {"wkdvid": {"level": "INFO"}, "tifffile": {"level": "CRITICAL"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
        }
    )
