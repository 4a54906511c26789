"""pydvid's ``dvid_connection``: one connection for each thread."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from typing import Any


class DvidConnection:
    """Used like an ``http.client.HTTPConnection``; each thread that does has one of its own."""

    def __init__(self, hostname: str, timeout: float | None = None) -> None:
        """
        Args:
            hostname: Of the server, with ``:PORT``.
        """
        self.hostname, self.timeout = hostname, timeout
        self._connections: dict[int, HTTPConnection] = {}

    def __getattr__(self, name: str) -> Any:
        """What the connection of this thread has."""
        thread = threading.get_ident()
        if thread not in self._connections:
            self._connections[thread] = HTTPConnection(self.hostname, timeout=self.timeout)
        return getattr(self._connections[thread], name)

    def close(self) -> None:
        """Of all threads."""
        for connection in list(self._connections.values()):
            connection.close()
