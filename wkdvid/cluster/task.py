"""What goes between a server and the workers of a cluster. Everybody on the way can read it: it holds no secret."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from wkdvid.core.entries import Document
from wkdvid.core.geometry import Box
from wkdvid.core.jobs import Job

MARK = "cluster.mark"
"""File of the data directory that tells it from any other."""


@dataclass(frozen=True, slots=True)
class Task:
    """One box of one stage."""

    job: Job
    """With the plan of who hands out its tasks."""
    document: Document
    """The entry of the job's dataset, in the form of datasets.json, secrets by reference; empty: a configured one."""
    mark: str
    """Of the data directory that what is made belongs in."""
    stage: int
    box: Box


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task was not done, as a value: what an exception holds need not survive its way."""

    text: str
    passing: bool
    """Whether it may be tried again."""


def read_mark(data_dir: Path) -> str:
    """Of a data directory; empty where no server has ever handed out tasks for it."""
    try:
        return (data_dir / MARK).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def make_mark(data_dir: Path) -> str:
    """The mark, made if there is none: two servers that make it at the same time make one, which is never half there.

    Raises:
        OSError: nothing can be written there.
    """
    if found := read_mark(data_dir):
        return found
    name = secrets.token_hex(16)
    made = data_dir / f".{MARK}.{name}"
    made.write_text(name, encoding="ascii")
    with contextlib.suppress(FileExistsError):
        (data_dir / MARK).hardlink_to(made)
    made.unlink()
    return read_mark(data_dir)
