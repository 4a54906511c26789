"""Where log lines go: standard error, ours from INFO on, others' from WARNING on; as text or as JSON."""

from __future__ import annotations

import logging.config
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import orjson

LogFormat: TypeAlias = Literal["auto", "text", "json"]
"""``auto``: text for a terminal, else JSON."""


def no_request() -> str | None:
    return None


class JsonFormatter(logging.Formatter):
    """One line: time, level, logger, message, then what the record has under ``fields``, and the request's id."""

    def __init__(self, request_id: Callable[[], str | None]) -> None:
        """
        Args:
            request_id: Of the request that is being answered.
        """
        super().__init__()
        self._request_id = request_id

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if "request" not in line and (number := self._request_id()) is not None:
            line["request"] = number
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode(errors="replace")


def configure_logging(form: LogFormat = "text", request_id: Callable[[], str | None] = no_request) -> None:
    """Set up the logging of this process; a spawned worker begins without its parent's.

    Args:
        request_id: As ``JsonFormatter`` takes it.
    """
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    line = {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": line if is_text else {"()": JsonFormatter, "request_id": request_id}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            # What tifffile finds wrong, tag by tag, with a file that is opened again and again, its reason says once.
            "loggers": {"wkdvid": {"level": "INFO"}, "tifffile": {"level": "CRITICAL"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
        }
    )
