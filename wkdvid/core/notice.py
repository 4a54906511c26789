"""What is logged once while it lasts, not at every try."""

from __future__ import annotations

import logging


class Notice:
    def __init__(self, log: logging.Logger, relief: str) -> None:
        """
        Args:
            relief: What is logged when the trouble is over.
        """
        self._log = log
        self._relief = relief
        self._trouble: str | None = None

    def trouble(self, text: str, mistake: Exception | None = None) -> None:
        """Say what is wrong, unless it was the last that was said.

        Args:
            mistake: One of ours, to be shown in full.
        """
        if text != self._trouble:
            self._trouble = text
            self._log.warning("%s", text, exc_info=mistake)

    def well(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._log.info("%s", self._relief)
