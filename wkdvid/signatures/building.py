"""Making an index out of records, within a bounded part of the memory, and putting it into its place in one step."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap, write_array_header_1_0

from wkdvid.core.catalog_store import write_document
from wkdvid.core.host_lock import HostLock
from wkdvid.errors import CorruptChunk, InvalidRequest, UnsupportedRequest
from wkdvid.signatures.bands import BANDS, KEYS, STEP, Band, fill
from wkdvid.signatures.index import META, VERSION, read_meta
from wkdvid.signatures.records import Records
from wkdvid.signatures.sorting import sorted_by_block

LARGEST_BLOCK = 1024
MOST_IDENTICAL = 100
"""Of identical signatures, in which likenesses are looked for."""
MOST = 2**32
"""Signatures that their numbers can tell apart."""


def build(folder: Path, chunks: Iterable[Records], side: int, about: Mapping[str, Any]) -> int:
    """Make or replace the index of a folder. Whoever has the old one open keeps it.

    Args:
        side: Of a block, in voxels.
        about: What else ``meta.json`` is to say.
    Returns:
        How many signatures there are.
    Raises:
        InvalidRequest: there are none, or the side is out of its range.
        UnsupportedRequest: another process is at it.
    """
    with _locked(folder):
        _remove_all_but(folder, _meta(folder).get("arrays"))
        arrays = folder / secrets.token_hex(8)
        try:
            make_arrays(arrays, chunks, side)
            return _publish(folder, arrays, side, about)
        except BaseException:
            shutil.rmtree(arrays, ignore_errors=True)
            raise


def install(folder: Path, made: Path, side: int, about: Mapping[str, Any]) -> int:
    """As ``build``, of what ``make_arrays`` has made in another folder of the same disk, whose name is of letters and
    digits. May be called again if it was interrupted.
    """
    with _locked(folder):
        arrays = folder / made.name
        if made.exists():
            made.rename(arrays)
        return _publish(folder, arrays, side, about)


def make_arrays(arrays: Path, chunks: Iterable[Records], side: int) -> None:
    """All arrays of an index, in a new folder or in that of an earlier try.

    Memory: about 300 MB, one byte for each signature, and 40 for each of the most frequent one.

    Raises:
        InvalidRequest: as ``build``.
    """
    if not 1 <= side <= LARGEST_BLOCK:
        raise InvalidRequest(f"block: {side} is not a number of voxels from 1 to {LARGEST_BLOCK}")
    scratch = arrays / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    count = _write_points(arrays, sorted_by_block(chunks, side, scratch), side)
    if not 0 < count < MOST:
        raise InvalidRequest(f"there are {count} signatures; an index holds 1 to {MOST - 1}")
    shutil.rmtree(scratch)
    _write_bands(arrays)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = HostLock(folder / "lock")
    if not lock.acquire():
        raise UnsupportedRequest(f"the signatures of {folder.parent.name}/{folder.name} are being made already")
    try:
        yield
    finally:
        lock.release()


def _publish(folder: Path, arrays: Path, side: int, about: Mapping[str, Any]) -> int:
    count = len(np.load(arrays / "signatures.npy", mmap_mode="r"))
    write_document(folder / META, {"version": VERSION, "arrays": arrays.name, "count": count, "block": side, **about})
    _remove_all_but(folder, arrays.name)
    return count


def count_of(folder: Path, arrays: str) -> int | None:
    """How many signatures an index has; None: it is not that one."""
    meta = _meta(folder)
    return meta["count"] if meta.get("arrays") == arrays else None


def _meta(folder: Path) -> Mapping[str, Any]:
    """Empty where there is none that can be read: then it is replaced as if there were none."""
    try:
        return read_meta(folder) or {}
    except CorruptChunk:
        return {}


def _remove_all_but(folder: Path, name: str | None) -> None:
    """What an interrupted process has left, and what has been replaced."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != name:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _growing(path: Path, dtype: str, *width: int) -> Iterator[BinaryIO]:
    """An array file to which rows are appended: its header has room for their number, which is written at the end."""
    header: dict[str, Any] = {"descr": dtype, "fortran_order": False, "shape": (0, *width)}
    with path.open("wb") as file:
        write_array_header_1_0(file, header)
        begin = file.tell()
        yield file
        row = np.dtype(dtype).itemsize * int(np.prod(width, dtype=np.int64))
        header["shape"] = ((file.tell() - begin) // row, *width)
        file.seek(0)
        write_array_header_1_0(file, header)
        file.flush()
        os.fsync(file.fileno())


def _write_points(folder: Path, ordered: Iterable[Records], side: int) -> int:
    """How many there are."""
    count, blocks, starts = 0, [], []
    with _growing(folder / "points.npy", "<i4", 3) as points, _growing(folder / "signatures.npy", "<u8") as signatures:
        for records in ordered:  # no block is in two of them
            points.write(records["point"].tobytes())
            signatures.write(records["signature"].tobytes())
            indices = np.floor_divide(records["point"], side)
            first = np.flatnonzero(np.any(np.diff(indices, axis=0, prepend=indices[:1] - 1), axis=1))
            blocks.append(indices[first])
            starts.append(count + first)
            count += len(records)
    if count:
        _save(folder / "blocks.npy", np.concatenate(blocks))
        _save(folder / "starts.npy", np.append(np.concatenate(starts), count).astype(np.int64))
    return count


def _write_bands(folder: Path) -> None:
    signatures = np.load(folder / "signatures.npy", mmap_mode="r")
    points = np.load(folder / "points.npy", mmap_mode="r")
    kept = np.ones(len(signatures), bool)
    _drop_identical(signatures, points, _write_band(folder, signatures, 0, kept), kept)
    _save(folder / "kept.npy", kept)
    for band in range(0 if not kept.all() else 1, BANDS):
        _write_band(folder, signatures, band, kept)


def _write_band(folder: Path, signatures: npt.NDArray[np.uint64], band: int, kept: npt.NDArray[np.bool_]) -> Band:
    order = open_memmap(folder / f"order{band}.npy", "w+", np.dtype("<u4"), (int(kept.sum()),))
    table = fill(order, signatures, band, kept)
    order.flush()
    _save(folder / f"starts{band}.npy", table.starts)
    return table


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _drop_identical(
    signatures: npt.NDArray[np.uint64], points: npt.NDArray[np.int32], table: Band, kept: npt.NDArray[np.bool_]
) -> None:
    """Of identical signatures leave so many, chosen by their places as if at random, but always the same."""
    for start, stop in _parts(table.starts):
        numbers = table.order[start:stop]
        found = signatures[numbers]
        ordered = np.sort(found)
        if np.any(ordered[MOST_IDENTICAL:] == ordered[:-MOST_IDENTICAL]):
            by_chance = np.lexsort((_scattered(points[numbers]), found))
            same = found[by_chance]
            rank = np.arange(len(same)) - np.searchsorted(same, same)
            kept[numbers[by_chance[rank >= MOST_IDENTICAL]]] = False


def _parts(starts: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of whole keys of about ``STEP`` signatures."""
    key = 0
    while key < KEYS:
        following = max(int(np.searchsorted(starts, starts[key] + STEP, side="right")) - 1, key + 1)
        yield int(starts[key]), int(starts[following])
        key = following


def _scattered(points: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    """A number for each place that looks like chance: murmur64's finaliser, as of ``imgsearch_sig``."""
    mixed = np.zeros(len(points), np.uint64)
    for axis in range(3):
        mixed ^= points[:, axis].astype(np.uint64)
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            mixed ^= mixed >> np.uint64(33)
            mixed *= np.uint64(factor)
        mixed ^= mixed >> np.uint64(33)
    return mixed
