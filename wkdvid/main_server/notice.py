"""What is logged once while it lasts, not at every try."""

from __future__ import annotations

import logging

log = logging.getLogger("wkdvid.main_server")


class Notice:
    def __init__(self, relief: str) -> None:
        """
        Args:
            relief: What is logged when the trouble is over.
        """
        self._relief = relief
        self._trouble: str | None = None

    def trouble(self, text: str) -> None:
        """Say what is wrong, unless it was the last that was said."""
        if text != self._trouble:
            self._trouble = text
            log.warning("%s", text)

    def well(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.info("%s", self._relief)
