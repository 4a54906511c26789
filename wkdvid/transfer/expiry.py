"""Which of the volumes that transfers have made are removed, and removing them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Made:
    """What one transfer has made, whole or not."""

    name: str
    """Of its folder; what is not whole begins with a dot."""
    changed: float
    """Seconds since 1970."""
    size: int
    """Bytes."""


def expired(made: Sequence[Made], now: float, keep_days: float, keep_bytes: int) -> Sequence[str]:
    """Names of what is older than that, and of the oldest of what is whole, until the rest is no larger than that."""
    old = [one for one in made if now - one.changed > keep_days * DAY_S]
    whole = [one for one in made if one not in old and not one.name.startswith(".")]
    excess = sum(one.size for one in whole) - keep_bytes
    for one in sorted(whole, key=lambda one: (one.changed, one.name)):
        if excess <= 0:
            break
        old.append(one)
        excess -= one.size
    return [one.name for one in old]


def expire(folder: Path, now: float, keep_days: float, keep_bytes: int) -> Sequence[str]:
    """Remove what has expired; several processes may do so at a time. Returns the names.

    Args:
        folder: Of all transfers; need not be there.
    """
    names = expired(_found(folder), now, keep_days, keep_bytes)
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
    return names


def _found(folder: Path) -> Sequence[Made]:
    try:
        return [Made(entry.name, entry.stat().st_mtime, _size(entry.path)) for entry in os.scandir(folder)]
    except FileNotFoundError:  # none at all, or another process removes them now
        return []


def _size(folder: str) -> int:
    return sum(os.lstat(Path(at) / name).st_size for at, _, names in os.walk(folder) for name in names)
