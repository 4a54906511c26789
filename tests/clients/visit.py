"""What a page does while it is open: whom it asks, what fails, what it complains of."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Response

WAIT_MS = 120_000
"""For what a page will show: other tests take the processor meanwhile."""


class Visit:
    """A new page of a browser, watched from its first request on."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        """
        Args:
            options: What is different of the page from how Playwright opens it.
        """
        self.page = browser.new_page(**options)
        self.page.set_default_timeout(WAIT_MS)
        self.hosts: set[str] = set()
        """host:port of everything that was asked for over the network."""
        self.paths: list[str] = []
        self.refused: list[str] = []
        self.complaints: list[str] = []
        """Errors and warnings of the console, and exceptions that nobody caught."""
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("response", self._answered)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )

    def __enter__(self) -> Visit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.page.close()

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data"):
            self.hosts.add(parts.netloc)
            self.paths.append(f"{parts.path}?{parts.query}" if parts.query else parts.path)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append(f"{response.status} {response.url}")
