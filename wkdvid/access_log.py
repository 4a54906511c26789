"""A line for each request, or for those that took long. It tells no path: that may name what is not for everybody."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

log = logging.getLogger("wkdvid.access")

Which: TypeAlias = Literal["slow", "all", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request and what became of it."""

    id: str
    method: str
    route: str
    """Its template."""
    status: int | str
    seconds: float
    sent: int
    """Bytes."""
    client: str
    """Address of who is connected: the client, or a proxy."""
    user: str | None
    """None: not known."""


class AccessLog:
    def __init__(self, which: Which, slow_s: float, user_of: Callable[[str | None], str | None]) -> None:
        """
        Args:
            user_of: From a token to the name of its user, without asking anybody.
        """
        self.user_of = user_of
        self.from_s = {"all": 0.0, "slow": slow_s, "none": math.inf}[which]
        """Requests that took so long have a line."""
        self._slow_s = slow_s

    def write(self, one: Answered) -> None:
        is_slow = one.seconds >= self._slow_s
        fields = {
            "request": one.id,
            "method": one.method,
            "route": one.route,
            "status": one.status,
            "seconds": round(one.seconds, 6),
            "bytes": one.sent,
            "client": one.client,
            **({} if one.user is None else {"user": one.user}),
        }
        log.log(
            logging.WARNING if is_slow else logging.INFO,
            "%s%s %s: %s, %.1f ms, %d bytes, %s%s (%s)",
            "slow: " if is_slow else "",
            one.method,
            one.route,
            one.status,
            one.seconds * 1000,
            one.sent,
            one.client,
            "" if one.user is None else f", {one.user}",
            one.id,
            extra={"fields": fields},
        )
