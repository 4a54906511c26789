"""Sorted runs of (label, block, voxels) in files: what the tasks of a job leave for the merge.

A file holds any number of runs one after the other, each an array in numpy's own format (.npy), so a task is one file,
which is there whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from wkdvid.core.durable import replaced

RECORD = np.dtype([("label", "<u8"), ("block", "<u8"), ("count", "<u4")])
"""``block`` is the number of the block in the grid of the volume's blocks, x fastest."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Records as arrays (n,), which are quicker to search and sort than the fields of records."""

    label: npt.NDArray[np.uint64]
    block: npt.NDArray[np.uint64]
    count: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.label)

    def part(self, chosen: slice | npt.NDArray[Any]) -> Columns:
        return Columns(self.label[chosen], self.block[chosen], self.count[chosen])

    def sorted(self) -> Columns:
        """By label, then by block."""
        return self.part(np.lexsort((self.block, self.label)))

    def records(self) -> npt.NDArray[Any]:
        records = np.empty(len(self), RECORD)
        records["label"], records["block"], records["count"] = self.label, self.block, self.count
        return records


def joined(parts: Sequence[Columns]) -> Columns:
    """
    Args:
        parts: At least one.
    """
    return Columns(
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.block for part in parts]),
        np.concatenate([part.count for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class Run:
    """A sorted run in a file."""

    path: Path
    offset: int
    """Of its first record, in bytes."""
    count: int
    """Records."""

    def read(self, start: int, number: int) -> Columns:
        """Some of its records; fewer at its end.

        Raises:
            OSError: the file cannot be read, or is cut short.
        """
        number = min(number, self.count - start)
        found = np.fromfile(self.path, RECORD, number, offset=self.offset + start * RECORD.itemsize)
        if len(found) != number:
            raise OSError(f"{self.path.name}: cut short")
        return Columns(*(np.ascontiguousarray(found[name]) for name in ("label", "block", "count")))


def append_run(file: BinaryIO, records: npt.NDArray[Any]) -> None:
    np.lib.format.write_array(file, records, version=(1, 0), allow_pickle=False)


def write_run(path: Path, parts: Iterator[Columns], total: int) -> Run:
    """One run whose records come in sorted parts, ``total`` in all."""
    header = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (total,)}
    with replaced(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        for part in parts:
            file.write(part.records().tobytes())
    return Run(path, offset, total)


def runs_of(path: Path) -> list[Run]:
    """All runs of a file.

    Raises:
        OSError: there is no such file.
        ValueError: it is not one of these.
    """
    found = []
    with path.open("rb") as file:
        end = path.stat().st_size
        while file.tell() < end:
            np.lib.format.read_magic(file)
            (count,), _, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype != RECORD:
                raise ValueError(f"{path.name}: not a run of records")
            found.append(Run(path, file.tell(), count))
            file.seek(count * RECORD.itemsize, 1)
    return [run for run in found if run.count]
