"""Who may write where: between the tasks, threads and processes of one host.

Open-file-description locks on ranges of one file: two descriptors exclude each other wherever they were opened, and the
operating system lets go of a lock when its process ends, however it ends. Hosts that share a database and a bucket do
not see each other's: write to one data instance from one host at a time.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from wkdvid.core.geometry import Vec3
from wkdvid.errors import UpstreamUnavailable

STRIPES = 4096
"""Locks that the blocks of one scale of one data instance in one node share: rarely two at a time."""
FIRST_WAIT_S = 0.001
LONGEST_WAIT_S = 0.02
"""Between two tries: no thread waits, and who waits can be cancelled."""

_FLOCK = struct.Struct("@hhqqi4x")
"""``struct flock`` of 64-bit Linux: type, whence, start, length, pid."""
_BLOCKS_FROM = 1 << 40
"""Where the blocks' ranges begin; versions are far below."""


class WriteLocks:
    """Locks of nodes, which a commit takes whole, and of blocks, which only one writer changes at a time."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: The same for all workers of the host.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "writes.lock"

    @asynccontextmanager
    async def writing(self, version: int) -> AsyncIterator[None]:
        """Among the writers of a node: it is not committed meanwhile. Waits for a commit."""
        gate, node = _of_node(version)
        with self._opened() as file:
            await _acquire(file, fcntl.F_RDLCK, gate)
            await _acquire(file, fcntl.F_RDLCK, node)
            _set(file, fcntl.F_UNLCK, gate)
            yield

    @asynccontextmanager
    async def committing(self, version: int) -> AsyncIterator[None]:
        """Alone with a node: writes have ended, and none begins. New writers wait at the gate, so it comes about."""
        with self._opened() as file:
            for byte in _of_node(version):
                await _acquire(file, fcntl.F_WRLCK, byte)
            yield

    @asynccontextmanager
    async def blocks(self, data_uuid: str, version: int, scale: int, indices: Iterable[Vec3]) -> AsyncIterator[None]:
        """Alone with blocks of one scale.

        Who holds some and wants more takes those of a coarser scale: so nobody waits for one who waits for him.
        """
        with self._opened() as file:
            for start, length in _ranges(data_uuid, version, scale, indices):
                await _acquire(file, fcntl.F_WRLCK, start, length)
            yield

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of its own; closing it lets go of all its locks.

        Raises:
            UpstreamUnavailable: there is none to be had: too many are open, or nothing may be written there.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UpstreamUnavailable(f"the locks of writes cannot be opened: {error.strerror}") from error
        try:
            yield file
        finally:
            os.close(file)


def _of_node(version: int) -> tuple[int, int]:
    """Bytes of its gate, which writers pass, and of the node, which they hold."""
    return 2 * version, 2 * version + 1


def _ranges(data_uuid: str, version: int, scale: int, indices: Iterable[Vec3]) -> Iterator[tuple[int, int]]:
    """Stripes of the blocks in ascending order, neighbouring ones as one: (start, length) in bytes of the file."""
    place = hashlib.blake2b(f"{data_uuid}/{version}/{scale}".encode(), digest_size=5).digest()
    first = _BLOCKS_FROM + int.from_bytes(place) * STRIPES
    stripes = sorted({(x + 67 * y + 1009 * z) % STRIPES for x, y, z in indices})
    start = 0
    for i, stripe in enumerate(stripes):
        if i + 1 == len(stripes) or stripes[i + 1] > stripe + 1:
            yield first + stripes[start], stripe + 1 - stripes[start]
            start = i + 1


async def _acquire(file: int, kind: int, start: int, length: int = 1) -> None:
    wait_s = FIRST_WAIT_S
    while not _set(file, kind, start, length):
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _set(file: int, kind: int, start: int, length: int = 1) -> bool:
    """Whether the lock was to be had."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True
