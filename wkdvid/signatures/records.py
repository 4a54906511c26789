"""Signatures and where they are, as the records of 20 bytes that ``imgsearch_sig`` reads and writes, little-endian:
x, y, z in voxels as uint32, then the signature as uint64. Ours may have negative coordinates: they are int32.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.core.limits import MIB
from wkdvid.errors import InvalidRequest

RECORD = np.dtype([("point", "<i4", (3,)), ("signature", "<u8")])
Records: TypeAlias = npt.NDArray[np.void]
"""(n,) of ``RECORD``."""
CHUNK = 2**20
"""Records that are read at a time."""
STRAY = 1
"""Records of an import that may make no sense: the tool writes one more than it has read, of whatever is in memory."""
INFO_BYTES = MIB
_BLOCK = re.compile(r"([0-9]{1,10})_([0-9]{1,10})_([0-9]{1,10})")


def records_of(points: npt.NDArray[Any], signatures: npt.NDArray[Any]) -> Records:
    """
    Args:
        points: (n, 3), whole numbers.
        signatures: (n,) uint64.
    """
    records = np.empty(len(points), RECORD)
    records["point"], records["signature"] = points, signatures
    return records


class Import:
    """Reads what is there already. ``skipped`` counts the records that were left out."""

    def __init__(self, source: Path) -> None:
        """
        Args:
            source: A file of records, or a folder with ``info.json`` and ``blocks/``, as the tool makes it.
        """
        self._source = source
        self.skipped = 0

    def block(self) -> int | None:
        """Side of the blocks that the folder is cut into; None for a file.

        Raises:
            InvalidRequest: there is no such file or folder.
        """
        if self._source.is_file():
            return None
        path = self._source / "info.json"
        if not path.is_file():
            raise InvalidRequest(f"{self._source}: neither a file of records nor a folder with info.json")
        side, bits = _info(path)
        if bits != 64:
            raise InvalidRequest(f"{path}: num_bits is {bits}; signatures of 64 bits can be read")
        return side

    def records(self) -> Iterator[Records]:
        """
        Raises:
            InvalidRequest: more than one record is none, or lies in another block than its file says; or no blocks.
        """
        side = self.block()
        if side is None:
            yield from (self._checked(self._source, chunk, None, 0) for chunk in _chunks(self._source))
            return
        blocks = self._source / "blocks"
        if not blocks.is_dir():
            raise InvalidRequest(f"{self._source}: there is no folder blocks")
        for path in sorted(blocks.iterdir()):
            match = _BLOCK.fullmatch(path.name)
            if match is None:
                raise InvalidRequest(f"{path}: not called X_Y_Z, as blocks are")
            index = np.array([int(part) for part in match.groups()], np.int64)
            yield from (self._checked(path, chunk, index, side) for chunk in _chunks(path))

    def _checked(self, path: Path, records: Records, index: npt.NDArray[np.int64] | None, side: int) -> Records:
        points = records["point"]
        fits = (points >= 0).all(axis=1)  # as uint32: below 2^31
        if index is not None:
            fits &= (points // side == index).all(axis=1)
        self.skipped += len(records) - int(fits.sum())
        if self.skipped > STRAY:
            where = "" if index is None else f" in block {path.name}"
            x, y, z = points[~fits][-1].view("<u4").tolist()
            raise InvalidRequest(f"{path}: {x}, {y}, {z} cannot be the place of a signature{where}; x, y, z < 2^31")
        return records[fits]


def _chunks(path: Path) -> Iterator[Records]:
    """All whole records; a last one that is cut off is left out."""
    with path.open("rb") as file:
        while len(chunk := file.read(CHUNK * RECORD.itemsize)) >= RECORD.itemsize:
            yield np.frombuffer(chunk, RECORD, len(chunk) // RECORD.itemsize)


def _info(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            info = json.loads(file.read(INFO_BYTES))
        side, bits = info["block_size"], info.get("num_bits", 64)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidRequest(f"{path}: not the JSON of an index of signatures, with block_size and num_bits") from None
    if not isinstance(side, int) or side < 1:
        raise InvalidRequest(f"{path}: block_size {side!r} is not a number of voxels")
    return side, bits
