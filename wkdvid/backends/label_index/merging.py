"""Merging sorted runs that are larger than the memory, in as many passes as it takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from threading import Event

import numpy as np

from wkdvid.backends.label_index.runs import Columns, Run, joined, write_run
from wkdvid.errors import JobFailed

FAN_IN = 128
"""Runs that are merged at a time."""
RECORD_BYTES = 100
"""Of memory for each record that is held: as it was read, joined, sorted, written."""


@dataclass(slots=True)
class _Cursor:
    """The part of a run that is held, and how far it was read."""

    run: Run
    piece: int
    """Records that are read at a time."""
    held: Columns
    done: int = 0
    """Records that are held or were taken."""

    def fill(self) -> None:
        if not len(self.held) and not self.is_read:
            self.held = self.run.read(self.done, self.piece)
            self.done += len(self.held)

    @property
    def is_read(self) -> bool:
        return self.done == self.run.count

    @property
    def last(self) -> tuple[int, int]:
        return (int(self.held.label[-1]), int(self.held.block[-1]))

    def take(self, until: tuple[int, int] | None) -> Columns:
        """Of what is held, that which is no greater than ``until``; all of it (None)."""
        number = len(self.held) if until is None else self._count(*until)
        taken, self.held = self.held.part(slice(number)), self.held.part(slice(number, None))
        return taken

    def _count(self, label: int, block: int) -> int:
        first, last = (int(np.searchsorted(self.held.label, np.uint64(label), side)) for side in ("left", "right"))
        return first + int(np.searchsorted(self.held.block[first:last], np.uint64(block), "right"))


_NOTHING = Columns(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint32))


def merge(runs: Sequence[Run], budget: int, stop: Event) -> Iterator[Columns]:
    """All records in order, in parts.

    What is no greater than the last record held of each run that goes on can be sent on: what comes is greater.

    Args:
        budget: Bytes of memory.
        stop: Set from elsewhere when this is not wanted any more.
    Raises:
        OSError: a run cannot be read.
        JobFailed: stopped.
    """
    piece = max(budget // RECORD_BYTES // max(len(runs), 1), 1)
    cursors = [_Cursor(run, piece, _NOTHING) for run in runs]
    while cursors:
        if stop.is_set():
            raise JobFailed("stopped")
        for cursor in cursors:
            cursor.fill()
        until = min((cursor.last for cursor in cursors if not cursor.is_read), default=None)
        yield joined([cursor.take(until) for cursor in cursors]).sorted()
        cursors = [cursor for cursor in cursors if len(cursor.held) or not cursor.is_read]


def reduced(runs: Iterable[Run], folder: Path, budget: int, stop: Event) -> Sequence[Run]:
    """Merge groups of runs into files of a folder until there are few enough for ``merge``; errors as ``merge``.

    Args:
        runs: Taken as they are needed: of a large volume there are millions.
    """
    level = 0
    while True:
        rest = iter(runs)
        first = list(islice(rest, FAN_IN + 1))
        if len(first) <= FAN_IN:
            return first
        groups = iter(partial(_group, chain(first, rest)), [])
        runs = [
            write_run(folder / str(level) / f"{i}.npy", merge(group, budget, stop), sum(run.count for run in group))
            for i, group in enumerate(groups)
        ]
        shutil.rmtree(folder / str(level - 1), ignore_errors=True)
        level += 1


def _group(runs: Iterator[Run]) -> list[Run]:
    return list(islice(runs, FAN_IN))
