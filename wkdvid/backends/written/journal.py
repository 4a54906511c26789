"""What is being written, noted beforehand: of a process that is killed what follows from its writes can be made up for.

A note is a file that its writer keeps locked. One that can be locked by another has no writer any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from wkdvid.backends.written.arrays import unwritten
from wkdvid.core.geometry import Vec3


@dataclass(frozen=True, slots=True)
class Note:
    """Blocks of scale 0 whose voxels, or what follows from them, may be old or new."""

    data_uuid: str
    version: int
    """0 for all nodes together."""
    blocks: tuple[Vec3, ...]
    """By their indices."""
    lower: bool
    """Whether the scales below follow."""


class Journal:
    """The notes of all workers of the host, in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    @asynccontextmanager
    async def noted(self, note: Note) -> AsyncIterator[None]:
        """The note is there before and gone after; it stays if this fails.

        Raises:
            BackendError: it cannot be stored.
        """
        path = self._folder / f"{secrets.token_hex(16)}.json"
        try:
            file = await asyncio.to_thread(_created, path, json.dumps(asdict(note)).encode())
        except OSError as error:
            raise unwritten(error, "the journal of writes") from error
        try:
            yield
            path.unlink()
        finally:
            os.close(file)

    def read(self, path: Path) -> Note | None:
        """A note, whoever has it; None: it is gone already."""
        try:
            given = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        blocks = tuple((x, y, z) for x, y, z in given["blocks"])
        return Note(given["data_uuid"], given["version"], blocks, given["lower"])

    @contextmanager
    def leftover(self, path: Path) -> Iterator[bool]:
        """Whether a note has no writer and is there still; then it is locked meanwhile.

        For who holds a lock of its node: who has a look at notes of all nodes would keep others from their own.
        """
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            yield False
            return
        try:
            yield _is_mine(file)
        finally:
            os.close(file)

    def forget(self, path: Path) -> None:
        """What follows from its blocks is made."""
        path.unlink()

    def paths(self) -> list[Path]:
        """Of all notes, with a writer or without."""
        return sorted(self._folder.glob("*.json"))


def _created(path: Path, text: bytes) -> int:
    """The descriptor of a new file, which is whole, durable and locked as soon as it has its name."""
    nameless = path.with_suffix(".new")
    file = os.open(nameless, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        with os.fdopen(file, "wb", closefd=False) as whole:  # of a disk that gets full ``os.write`` writes a part
            whole.write(text)
        os.fsync(file)
        nameless.rename(path)
        _sync(path.parent)
    except BaseException:
        os.close(file)
        nameless.unlink(missing_ok=True)
        raise
    return file


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _is_mine(file: int) -> bool:
    """Whether it could be locked, and is there still."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file).st_nlink > 0
