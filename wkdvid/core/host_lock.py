"""One worker of a host for what only one may do."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Protocol


class Lock(Protocol):
    """Held by one worker at a time: of a host (``HostLock``), or of all that share a database (``SharedLock``)."""

    def acquire(self) -> bool:
        """Whether this process holds it now. Does not wait; who does not hold it asks again."""
        ...

    def release(self) -> None: ...


class HostLock:
    """A lock that the operating system lets go of when the process that holds it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: The lock's file, the same for all workers of the host; also holds the host's id.
        """
        self._path = path
        self._file: int | None = None
        self.host = ""
        """Stays the same over restarts and differs from any other host's. Known to who holds the lock."""

    def acquire(self) -> bool:
        """Whether this process holds it, from now on or already. Does not wait."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            self._file = file
            self.host = _host_id(file)
        return True

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _host_id(file: int) -> str:
    found = os.read(file, 64).decode(errors="replace")
    if found:
        return found
    made = secrets.token_hex(16)
    os.write(file, made.encode())
    return made
