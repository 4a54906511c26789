"""A label index as a folder: sorted arrays, little-endian without a header, and ``index.json``, written last.

labels.u64    labels, ascending
sizes.u64     voxels of each label
offsets.u64   number of each label's first entry; one more at the end
blocks.u64    of each entry the number of its block in the grid of blocks, x fastest; ascending in a label
counts.u32    of each entry the voxels of the label in the block
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from wkdvid.backends.label_index.runs import Columns
from wkdvid.core.catalog_store import write_document
from wkdvid.core.durable import replaced
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Box
from wkdvid.core.label_index import BLOCK, MAX_ENTRIES, Entries, Labels
from wkdvid.core.volume import LayerInfo
from wkdvid.errors import CorruptChunk, TooLarge

MANIFEST = "index.json"
_BY_LABEL = ("labels.u64", "sizes.u64", "offsets.u64")
_BY_ENTRY = ("blocks.u64", "counts.u32")
_MANY = 1000
"""Labels from which on looking them up is done apart from the event loop."""


def manifest(layer: LayerEntry, info: LayerInfo) -> dict[str, Any]:
    """What identifies the source of an index, as JSON has it."""
    extent = info.levels[0].extent
    return {
        "version": 1,
        "backend": layer.backend,
        "options": dict(layer.options),
        "layer": info.name,
        "dtype": info.dtype.name,
        "block": BLOCK,
        "extent": [list(extent.start), list(extent.stop)],
    }


def grid_of(info: LayerInfo) -> Box:
    """All blocks of a volume, in blocks."""
    return info.levels[0].extent.scaled_down((BLOCK, BLOCK, BLOCK))


def write_index(folder: Path, parts: Iterator[Columns], plan: Mapping[str, Any]) -> None:
    """
    Args:
        parts: All records in order, by label and block.
    Raises:
        OSError: it cannot be written; then there is no index.
    """
    with contextlib.ExitStack() as files:
        opened = [files.enter_context(replaced(folder / name)) for name in (*_BY_LABEL, *_BY_ENTRY)]
        writer = _Writer(opened[: len(_BY_LABEL)], opened[len(_BY_LABEL) :])
        for part in parts:
            writer.add(part)
        found = writer.finish()
    write_document(folder / MANIFEST, {"source": dict(plan), **found})


class _Writer:
    def __init__(self, by_label: Sequence[BinaryIO], by_entry: Sequence[BinaryIO]) -> None:
        self._by_label = by_label
        self._by_entry = by_entry
        self._labels = 0
        self._entries = 0
        self._last: Sequence[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)] * len(by_label)
        """The columns of the last label, which may go on in the next part."""

    def add(self, part: Columns) -> None:
        """
        Args:
            part: At least one record.
        """
        first = np.flatnonzero(np.diff(part.label, prepend=~part.label[:1]))
        labels: npt.NDArray[np.uint64] = part.label[first]
        sizes: npt.NDArray[np.uint64] = np.add.reduceat(part.count, first, dtype=np.uint64)
        offsets = first.astype(np.uint64) + np.uint64(self._entries)
        last_label, last_size, last_offset = self._last
        if len(last_label) and last_label[0] == labels[0]:
            sizes[:1] += last_size
            offsets[:1] = last_offset
        else:
            self._put(self._last)
        self._put([column[:-1] for column in (labels, sizes, offsets)])
        self._last = [column[-1:] for column in (labels, sizes, offsets)]
        blocks, counts = self._by_entry
        blocks.write(part.block.tobytes())
        counts.write(part.count.tobytes())
        self._entries += len(part)

    def _put(self, columns: Sequence[npt.NDArray[np.uint64]]) -> None:
        for file, column in zip(self._by_label, columns, strict=True):
            file.write(column.tobytes())
        self._labels += len(columns[0])

    def finish(self) -> dict[str, int | None]:
        """What a reader has to know of the files."""
        self._put(self._last)
        self._by_label[-1].write(np.array([self._entries], np.uint64).tobytes())
        largest = int(self._last[0][0]) if self._labels else None
        return {"labels": self._labels, "entries": self._entries, "max_label": largest}


@dataclass(frozen=True, slots=True)
class FileLabelIndex:
    """Satisfies ``core.label_index.LabelIndex``. What is not looked at takes no memory."""

    grid: Box
    max_label: int | None
    name: str
    """Of the folder, for messages."""
    _labels: npt.NDArray[np.uint64]
    _sizes: npt.NDArray[np.uint64]
    _offsets: npt.NDArray[np.uint64]
    _blocks: npt.NDArray[np.uint64]
    _counts: npt.NDArray[np.uint32]

    @property
    def block(self) -> int:
        return BLOCK

    async def sizes(self, labels: Sequence[int] | Labels) -> Labels:
        return await asyncio.to_thread(self._find_sizes, labels) if len(labels) >= _MANY else self._find_sizes(labels)

    def _find_sizes(self, labels: Sequence[int] | Labels) -> Labels:
        wanted = np.asarray(labels, np.uint64)
        found = np.zeros(len(wanted), np.uint64)
        if len(self._labels):
            places = np.minimum(np.searchsorted(self._labels, wanted), len(self._labels) - 1)
            there = self._labels[places] == wanted
            found[there] = self._sizes[places[there]]
        return found

    async def entries(self, label: int) -> Entries:
        return await asyncio.to_thread(self._find_entries, label)

    def _find_entries(self, label: int) -> Entries:
        place = int(np.searchsorted(self._labels, np.uint64(label)))
        if place == len(self._labels) or self._labels[place] != label:
            return Entries(np.empty((0, 3), np.int64), np.empty(0, np.uint32))
        first, last = int(self._offsets[place]), int(self._offsets[place + 1])
        if not first < last <= len(self._blocks):
            raise CorruptChunk(f"{self.name}: the entries of label {label} are not where its offsets say")
        if last - first > MAX_ENTRIES:
            raise TooLarge(f"label {label} is in {last - first} blocks, the limit is {MAX_ENTRIES}")
        return Entries(self._coordinates(self._blocks[first:last]), np.array(self._counts[first:last]))

    def _coordinates(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        (nx, ny, _), rest = self.grid.size, numbers.astype(np.int64)
        if len(rest) and not 0 <= rest.min() <= rest.max() < self.grid.voxels:
            raise CorruptChunk(f"{self.name}: blocks outside of the volume")
        xyz = np.stack([rest % nx, rest // nx % ny, rest // (nx * ny)], axis=1)
        return xyz + np.array(self.grid.start, np.int64)

    async def listing(self, start: int, number: int) -> tuple[Labels, Labels]:
        return await asyncio.to_thread(self._list, start, number)

    def _list(self, start: int, number: int) -> tuple[Labels, Labels]:
        if start >= 2**64:
            return np.empty(0, np.uint64), np.empty(0, np.uint64)
        first = int(np.searchsorted(self._labels, np.uint64(start)))
        part = slice(first, first + number)
        return np.array(self._labels[part]), np.array(self._sizes[part])


def read_index(place: Callable[[str], Path], document: Mapping[str, Any], grid: Box, name: str) -> FileLabelIndex:
    """
    Args:
        place: Where a file of the folder is.
        document: ``index.json``, whose source is known to be right.
        name: Of the folder, for messages.
    Raises:
        CorruptChunk: the files are not what the document says.
    """
    labels, entries = (_count(document, key, name) for key in ("labels", "entries"))
    largest = _count(document, "max_label", name) if labels else None
    lengths = (labels, labels, labels + 1, entries, entries)
    columns = [_mapped(place(file), file, n, name) for file, n in zip((*_BY_LABEL, *_BY_ENTRY), lengths, strict=True)]
    return FileLabelIndex(grid, largest, name, *columns)


def _count(document: Mapping[str, Any], key: str, name: str) -> int:
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise CorruptChunk(f"{name}: {MANIFEST}: {key}: expected a whole number")
    return value


def _mapped(path: Path, file: str, length: int, name: str) -> npt.NDArray[Any]:
    dtype = np.dtype("<u4" if file.endswith("32") else "<u8")
    try:
        size = path.stat().st_size
        if size != length * dtype.itemsize:
            raise CorruptChunk(f"{name}: {file} has {size} bytes, expected {length} of {dtype.itemsize}")
        return np.memmap(path, dtype, "r", shape=(length,)).view(np.ndarray) if length else np.empty(0, dtype)
    except OSError as error:
        raise CorruptChunk(f"{name}: {file} cannot be read ({error.strerror})") from error
