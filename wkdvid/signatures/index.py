"""The index of a dataset's signatures: a folder of arrays that are mapped into memory, as numpy's own files.

``meta.json`` says what it is and in which folder beside it the arrays are, so that one rename replaces them all:

* ``points.npy``: (n, 3) int32, x, y, z in voxels, and ``signatures.npy``: (n,) uint64, by block (z, y, x);
* ``blocks.npy``: (m, 3) int32, indices of the blocks (place // side), and ``starts.npy``: (m + 1,) int64, where each
  block's signatures begin;
* ``kept.npy``: (n,) bool, which of them likenesses are looked for in: of identical ones only so many;
* ``order0.npy`` to ``order3.npy``: uint32, the numbers of those by 16 of their bits, and ``starts0.npy`` to
  ``starts3.npy``: (65537,) int64, where those with the same 16 bits begin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.core.limits import MIB
from wkdvid.errors import CorruptChunk
from wkdvid.signatures.bands import BANDS, KEYS, Band, Bands

META = "meta.json"
VERSION = 1
META_BYTES = 4 * MIB
TRIES = 3
"""An index may be replaced between reading which folder it is in and opening that."""


@dataclass(frozen=True, slots=True)
class SignatureIndex:
    """An open index. Looking into it reads files: not for the event loop."""

    side: int
    """Of a block, in voxels."""
    points: npt.NDArray[np.int32]
    blocks: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    bands: Bands
    about: Mapping[str, Any]
    """``meta.json``."""

    @property
    def signatures(self) -> npt.NDArray[np.uint64]:
        return self.bands.signatures


def open_index(folder: Path) -> SignatureIndex | None:
    """None: there is none.

    Raises:
        CorruptChunk: what is there is none, or is not whole.
    """
    for _ in range(TRIES):
        meta = read_meta(folder)
        if meta is None:
            return None
        try:
            return _open(folder / meta["arrays"], meta)
        except FileNotFoundError:
            continue
        except (ValueError, EOFError, OSError) as error:
            raise CorruptChunk(
                f"the signatures of {folder.parent.name}/{folder.name} cannot be read: {error}"
            ) from None
    raise CorruptChunk(f"the signatures of {folder.parent.name}/{folder.name} are not whole: arrays are missing")


def read_meta(folder: Path) -> Mapping[str, Any] | None:
    """What ``meta.json`` says; None: there is none.

    Raises:
        CorruptChunk: it is not what we write.
    """
    try:
        with (folder / META).open("rb") as file:
            meta = json.loads(file.read(META_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        meta = None
    known = isinstance(meta, dict) and meta.get("version") == VERSION
    if not known or not _is_folder(meta.get("arrays")) or not isinstance(meta.get("block"), int) or meta["block"] < 1:
        raise CorruptChunk(f"{META} of {folder.parent.name}/{folder.name}: not of an index of version {VERSION}")
    found: Mapping[str, Any] = meta
    return found


def _is_folder(name: object) -> bool:
    return isinstance(name, str) and name.isalnum()


def _open(folder: Path, meta: Mapping[str, Any]) -> SignatureIndex:
    signatures = _array(folder, "signatures", np.uint64, None)
    points = _array(folder, "points", np.int32, len(signatures), 3)
    kept = _array(folder, "kept", np.bool_, len(signatures))
    starts = _array(folder, "starts", np.int64, None)
    blocks = _array(folder, "blocks", np.int32, len(starts) - 1, 3)
    tables = tuple(_band(folder, number) for number in range(BANDS))
    if starts[-1] != len(signatures):
        raise ValueError("blocks and signatures do not belong together")
    return SignatureIndex(meta["block"], points, blocks, starts, Bands(signatures, kept, tables), meta)


def _band(folder: Path, number: int) -> Band:
    order = _array(folder, f"order{number}", np.uint32, None)
    starts = _array(folder, f"starts{number}", np.int64, KEYS + 1)
    if starts[-1] != len(order):
        raise ValueError(f"the tables of band {number} do not belong together")
    return Band(order, starts)


def _array(folder: Path, name: str, dtype: type[np.generic], length: int | None, *width: int) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    if array.dtype != dtype or array.ndim != 1 + len(width) or array.shape != (length or len(array), *width):
        raise ValueError(f"{name}.npy holds {array.dtype} {array.shape}")
    return array
