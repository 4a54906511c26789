"""Files that an interrupted download goes on with: an array on disk, and a journal of the pieces that are in it.

The journal ``PATH.progress`` begins with a line of JSON that says what is downloaded; each piece that has been written
adds a line. A piece is written again if its line is not whole, so a process may be killed at any moment.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wkdvid.client.decoding import Array
from wkdvid.client.errors import InvalidArgument
from wkdvid.client.slicing import Point
from wkdvid.extras import install


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The array that is to be on disk."""

    path: Path
    shape: Point
    dtype: np.dtype[Any]
    axes: str
    """A letter for each axis."""
    chunks: Point
    """Of zarr."""
    about: Mapping[str, Any]
    """What it is a copy of: JSON. Another copy is not mixed in."""


class _Store(Protocol):
    @property
    def shape(self) -> Point: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __setitem__(self, index: Any, array: Array) -> None: ...


def _open_npy(target: Target, *, anew: bool) -> _Store:
    """Fortran order where channels are first: then a piece is contiguous where it can be."""
    if anew:
        return np.lib.format.open_memmap(
            target.path, mode="w+", dtype=target.dtype, shape=target.shape, fortran_order=target.axes[0] == "c"
        )
    return np.lib.format.open_memmap(target.path, mode="r+")


def _open_zarr(target: Target, *, anew: bool) -> _Store:
    try:
        import zarr  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidArgument(f"zarr is not installed: {install('client')}") from error
    if not anew:
        return zarr.open_array(str(target.path), mode="r+")
    return zarr.create_array(
        store=str(target.path),
        shape=target.shape,
        chunks=tuple(map(min, target.chunks, target.shape)),
        dtype=target.dtype,
        dimension_names=tuple(target.axes),
        fill_value=0,
        attributes=dict(target.about),
        overwrite=True,
    )


_FORMATS = {".npy": _open_npy, ".zarr": _open_zarr}


def _checked(open_store: Callable[..., _Store], target: Target, *, anew: bool) -> _Store:
    """
    Raises:
        InvalidArgument: there is something else by now than what was begun.
    """
    try:
        store = open_store(target, anew=anew)
    except (ValueError, FileNotFoundError) as error:
        raise InvalidArgument(f"{target.path}: {error}") from error
    if (store.shape, store.dtype) != (target.shape, target.dtype):
        raise InvalidArgument(
            f"{target.path} is {store.shape} of {store.dtype}, the download {target.shape} of {target.dtype};"
            " remove it to begin anew"
        )
    return store


class Download:
    """
    Raises:
        InvalidArgument: the path has no known suffix, or holds what was not begun as this download.
    """

    def __init__(self, target: Target) -> None:
        self._journal = target.path.with_name(f"{target.path.name}.progress")
        open_store = _FORMATS.get(target.path.suffix)
        if open_store is None:
            raise InvalidArgument(f"{target.path}: one of {', '.join(_FORMATS)} is expected at the end")
        heading = json.dumps(target.about, sort_keys=True)
        self.done = self._begin(target.path, heading)
        self._store = _checked(open_store, target, anew=not self.done)
        self._lock = threading.Lock()

    def _begin(self, path: Path, heading: str) -> set[str]:
        """Names of the pieces that are there."""
        lines = self._lines()
        if not lines and path.exists():
            raise InvalidArgument(
                f"{path} exists, and no {self._journal.name} says that it is a download to go on with"
            )
        if lines and lines[0] != heading:
            raise InvalidArgument(f"{self._journal} is of another download: {lines[0]}; remove it and {path.name}")
        done = lines[1:] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        anew = self._journal.with_suffix(".new")
        anew.write_text("".join(f"{line}\n" for line in (heading, *done)))
        anew.replace(self._journal)
        return set(done)

    def _lines(self) -> list[str]:
        """Those of the journal that are whole."""
        if not self._journal.exists():
            return []
        text = self._journal.read_text("utf-8", "replace")
        return text[: text.rfind("\n") + 1].splitlines()

    def has(self, start: Sequence[int]) -> bool:
        return _name(start) in self.done

    def put(self, start: Sequence[int], index: tuple[Any, ...], array: Array) -> None:
        """
        Args:
            start: First coordinate of the piece, by which it is known.
            index: Where it belongs.
        """
        self._store[index] = array
        with self._lock, self._journal.open("ab") as journal:
            os.write(journal.fileno(), f"{_name(start)}\n".encode())


def _name(start: Sequence[int]) -> str:
    return "_".join(map(str, start))
