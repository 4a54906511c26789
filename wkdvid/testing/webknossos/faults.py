"""What goes wrong at the stand-in, on demand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Faults:
    """Nothing goes wrong until something is set."""

    where: str = ""
    """Requests whose path holds this are the ones that suffer."""
    down: bool = False
    """Connections are closed without an answer."""
    delay_s: float = 0.0
    """Before an answer begins. It may be long: a request that waits ends with the server."""
    status: int | None = None
    """Answered instead, without a body."""
    page: bool = False
    """A login page is answered instead, as a proxy does."""
