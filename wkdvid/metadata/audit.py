"""The record of who has changed what: written in the transaction of the change itself."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import audit


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    at: float
    """Seconds since 1970."""
    email: str
    """Who did it."""
    action: str
    dataset: str | None
    detail: Mapping[str, Any]


class Record:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def page(self, before: int | None, size: int, email: str | None = None) -> Sequence[Line]:
        """The last lines, newest first.

        Args:
            before: Number of a line; those before it alone.
            email: Of whom; None: of all.
        """
        wanted = sa.select(audit).order_by(audit.c.number.desc()).limit(size)
        if before is not None:
            wanted = wanted.where(audit.c.number < before)
        if email is not None:
            wanted = wanted.where(audit.c.email == email)
        rows = await self._queries.read(lambda c: c.execute(wanted).all())
        return [Line(row.number, row.at, row.email, row.action, row.dataset, json.loads(row.detail)) for row in rows]


def note(
    connection: sa.Connection,
    email: str,
    action: str,
    dataset: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """
    Args:
        detail: As JSON has it; no secrets.
    """
    row = {"at": time.time(), "email": email, "action": action, "dataset": dataset, "detail": json.dumps(detail or {})}
    connection.execute(sa.insert(audit).values(row))
