"""Sorting more records than fit into memory: runs on disk, then merged range by range."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.signatures.records import RECORD, Records

RUN = 2**21
"""Records that are sorted at a time; about 80 bytes of memory each."""
STEP = 1024
"""One of so many keys tells where the others are."""

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Run:
    rows: Keys
    """Of each record, ascending."""
    records: Records

    def part(self, start: int | None, stop: int | None) -> Records:
        """Records of the rows from ``start`` to before ``stop``."""
        first = 0 if start is None else int(np.searchsorted(self.rows, start))
        last = len(self.rows) if stop is None else int(np.searchsorted(self.rows, stop))
        return self.records[first:last]


def sorted_by_block(chunks: Iterable[Records], side: int, scratch: Path) -> Iterator[Records]:
    """All records by block (z, y, x), and in a block by place (x, y, z); those that are there twice are there once.

    Args:
        side: Of a block, in voxels; up to 1024.
        scratch: Folder for the runs.
    """
    runs = [_write_run(records, side, scratch / f"run{i}") for i, records in enumerate(_joined(chunks, RUN))]
    for start, stop in itertools.pairwise([None, *_splits(runs), None]):
        found = np.concatenate([run.part(start, stop) for run in runs] or [np.empty(0, RECORD)])
        if len(found):
            yield _unique(_sorted(found, side)[1])


def _joined(chunks: Iterable[Records], count: int) -> Iterator[Records]:
    """The same records in arrays of about ``count``."""
    held: list[Records] = []
    for chunk in chunks:
        held.append(chunk)
        if sum(map(len, held)) >= count:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _write_run(records: Records, side: int, path: Path) -> _Run:
    rows, ordered = _sorted(records, side)
    arrays: list[Any] = []
    for name, array in (("rows", rows), ("records", ordered)):
        file = path.with_suffix(f".{name}.npy")
        np.save(file, array)
        arrays.append(np.load(file, mmap_mode="r"))
    return _Run(*arrays)


def _splits(runs: Sequence[_Run]) -> list[int]:
    """Rows that divide the records of all runs into parts of about ``RUN``."""
    sample = np.sort(np.concatenate([run.rows[::STEP] for run in runs] or [np.empty(0, np.int64)]))
    return [int(row) for row in np.unique(sample[RUN // STEP :: RUN // STEP])]


def _sorted(records: Records, side: int) -> tuple[Keys, Records]:
    """With the row of blocks (z, y) of each record."""
    blocks = np.floor_divide(records["point"], side).astype(np.int64)
    offsets = records["point"] - blocks * side
    rows = (blocks[:, 2] << 32) + blocks[:, 1]
    places = (blocks[:, 0] << 32) + (offsets[:, 0] * side + offsets[:, 1]) * side + offsets[:, 2]
    order = np.lexsort((records["signature"], places, rows))
    return rows[order], records[order]


def _unique(records: Records) -> Records:
    again = np.zeros(len(records), bool)
    again[1:] = (records["point"][1:] == records["point"][:-1]).all(axis=1)
    again[1:] &= records["signature"][1:] == records["signature"][:-1]
    return records[~again]
