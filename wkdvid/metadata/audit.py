"""The record of who has changed what: written in the transaction of the change itself."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from wkdvid.metadata.schema import audit


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
