"""The file that holds what sources have sent: one SQLite database, which all workers of a host share.

An object is kept whole, or in pages of which each is a row. SQLite sees to agreement between processes, to a process
that dies in the middle of a write, and to reusing the room of what is removed. Without syncing, a machine that loses
its power may leave a broken file: that is found out, and the file begun anew. It is a cache.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from xxhash import xxh3_128

from wkdvid.core.limits import KIB, MIB
from wkdvid.core.notice import Notice

log = logging.getLogger("wkdvid.disk_cache")

Result = TypeVar("Result")

FILE = "sources.sqlite"
WHOLE = range(-1, 0)
"""The number of the piece that is a whole object; those from 0 on are pages."""
DOCUMENT = range(-2, -1)
"""The same, of metadata: without it nothing else can be shown, so it goes last."""
ROOM_BYTES = 16 * KIB
"""SQLite's page. Rows of 64 KiB and less waste little of it, and take few."""
LOG_PAGES = 256
"""Of the write-ahead log, from which on it is put back into the file."""
LARGEST_SHARE = 16
LARGEST = 64 * MIB
"""What is kept at a time of one object, and so what the log beside the file takes: this, or that part of the whole."""
BUSY_S = 0.5
"""How long another worker's write is waited for, before this one is given up."""
RETRY_S = 60.0
"""After a failure of the disk it is left alone for so long."""
REMOVED_AT_A_TIME = 32

_TABLES = """
CREATE TABLE IF NOT EXISTS pieces (
    object BLOB NOT NULL, number INTEGER NOT NULL, checked REAL NOT NULL, validator BLOB NOT NULL, digest BLOB NOT NULL,
    value BLOB, UNIQUE (object, number)
);
CREATE INDEX IF NOT EXISTS oldest ON pieces (number = -2, checked);
CREATE TABLE IF NOT EXISTS renewed (dataset TEXT PRIMARY KEY, at REAL NOT NULL);
"""
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@dataclass(frozen=True, slots=True)
class Piece:
    """An object, or a page of one."""

    value: bytes | None
    """None: the source has no such object."""
    validator: bytes
    """Names the version of the object that this is of; empty where the source gives none."""
    checked: float
    """``time.time()`` before the source sent it, or confirmed that it is still so."""


class DiskStore:
    """To be used by one thread. No failure of the disk is raised: what cannot be read is not there."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """
        Args:
            max_bytes: Of all files in the folder, ``freshness.SMALLEST`` or more.
        """
        self._folder = folder
        self._file = folder / FILE
        self.largest = min(LARGEST, max_bytes // LARGEST_SHARE)
        """Bytes of an object that is kept."""
        self._rooms = (max_bytes - self.largest - 2 * LOG_PAGES * ROOM_BYTES) // ROOM_BYTES
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._rests_until = {"reading": 0.0, "writing": 0.0}
        self._notice = Notice(log, "sources are kept on disk again")
        self.mended = 0
        """Pieces that were not what had been written, and files that were begun anew."""

    def get(self, name: bytes, numbers: range) -> dict[int, Piece]:
        """Those pieces of an object that are there."""

        def select(database: sqlite3.Connection) -> dict[int, Piece]:
            rows = database.execute(
                "SELECT number, value, validator, checked, digest FROM pieces"
                " WHERE object = ? AND number BETWEEN ? AND ?",
                (name, numbers.start, numbers.stop - 1),
            ).fetchall()
            found = {number: Piece(value, validator, checked) for number, value, validator, checked, _ in rows}
            for number, *_, digest in rows:
                if digest != _digest(name, number, found[number].validator, found[number].value):
                    self._mend(database, name, number)
                    del found[number]
            return found

        return self._read(select, {})

    def put(self, name: bytes, pieces: Mapping[int, bytes | None], validator: bytes, checked: float) -> None:
        """Keep pieces of an object. Those of another version go, and of other objects as many as it takes."""
        size = sum(len(value or b"") for value in pieces.values())
        if size > self.largest:
            return
        rows = [
            (name, number, checked, validator, _digest(name, number, validator, value), value)
            for number, value in pieces.items()
        ]

        def insert(database: sqlite3.Connection) -> object:
            database.execute("DELETE FROM pieces WHERE object = ? AND validator <> ?", (name, validator))
            self._make_room(database, size // ROOM_BYTES + 2 * len(rows) + 4)
            return database.executemany("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?, ?, ?)", rows)

        self._write(insert)

    def confirm(self, name: bytes, validator: bytes, checked: float) -> None:
        """The source still has the version of an object that its pieces are of."""
        self._write(
            lambda database: database.execute(
                "UPDATE pieces SET checked = ? WHERE object = ? AND validator = ?", (checked, name, validator)
            )
        )

    def drop(self, name: bytes) -> None:
        """Forget an object."""
        self._write(lambda database: database.execute("DELETE FROM pieces WHERE object = ?", (name,)))

    def renew(self, datasets: Mapping[str, float]) -> None:
        """Note for processes that begin later that datasets were opened afresh at these times (``time.time()``)."""
        self._write(
            lambda database: database.executemany("INSERT OR REPLACE INTO renewed VALUES (?, ?)", datasets.items())
        )

    def renewed(self, since: float) -> dict[str, float]:
        """What ``renew`` has noted; what is older is forgotten."""

        def select(database: sqlite3.Connection) -> dict[str, float]:
            database.execute("DELETE FROM renewed WHERE at < ?", (since,))
            return dict(database.execute("SELECT dataset, at FROM renewed").fetchall())

        return self._done("writing", select) or {}

    def used_bytes(self) -> int:
        """What the pieces take in the file, with what SQLite needs for them."""
        return self._read(lambda database: _used_rooms(database) * ROOM_BYTES, 0)

    def close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _read(self, work: Callable[[sqlite3.Connection], Result], otherwise: Result) -> Result:
        found = self._done("reading", work)
        return otherwise if found is None else found

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        if self._done("writing", work) is not None:
            self._notice.well()

    def _done(self, kind: str, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """What ``work`` gives, in a transaction of its own; None if the disk fails. From a full one is still read."""
        if time.monotonic() < self._rests_until[kind]:
            return None
        try:
            database = self._opened()
            with database:
                return work(database)
        except (sqlite3.Error, OSError) as error:
            self._failed(error, kind)
            return None

    def _opened(self) -> sqlite3.Connection:
        """The database; opened again where another worker has begun the file anew."""
        if self._database is not None and _inode(self._file) != self._inode:
            self.close()
        if self._database is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._file.exists() and self._file.stat().st_size > self._rooms * ROOM_BYTES:
                self._begin_anew()  # it was larger once; SQLite would not shrink it
            self._database = _connect(self._file, self._rooms)
            self._inode = _inode(self._file)
        return self._database

    def _failed(self, error: Exception, kind: str) -> None:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in _PASSING:
            return
        self.close()
        if code & 0xFF in _BROKEN or code == sqlite3.SQLITE_IOERR_SHORT_READ:
            log.warning("the kept sources in %s are broken (%s), and begun anew", self._file, error)
            self.mended += 1
            with contextlib.suppress(OSError):
                if _inode(self._file) == self._inode:
                    self._begin_anew()
            return
        self._rests_until[kind] = time.monotonic() + RETRY_S
        self._notice.trouble(f"sources cannot be kept on disk, and are read from where they are: {self._file}: {error}")

    def _begin_anew(self) -> None:
        for file in (self._file, *(Path(f"{self._file}{suffix}") for suffix in ("-wal", "-shm"))):
            file.unlink(missing_ok=True)

    def _mend(self, database: sqlite3.Connection, name: bytes, number: int) -> None:
        if not self.mended:
            log.warning("a kept piece of a source is not what was written; such are removed and read again")
        self.mended += 1
        database.execute("DELETE FROM pieces WHERE object = ? AND number = ?", (name, number))

    def _make_room(self, database: sqlite3.Connection, rooms: int) -> None:
        """Remove what was confirmed longest ago. Who asks for a piece has it confirmed, so it is not what is used.

        Metadata is asked for at each opening only, and goes when there is nothing else.
        """
        while _used_rooms(database) + rooms > self._rooms:
            removed = database.execute(
                "DELETE FROM pieces WHERE rowid IN (SELECT rowid FROM pieces ORDER BY number = -2, checked LIMIT ?)",
                (REMOVED_AT_A_TIME,),
            )
            if not removed.rowcount:
                return


def _connect(file: Path, rooms: int) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=BUSY_S, check_same_thread=False)
    try:
        for pragma in (
            f"page_size={ROOM_BYTES}",
            "journal_mode=WAL",
            "synchronous=OFF",
            f"wal_autocheckpoint={LOG_PAGES}",
            f"journal_size_limit={LOG_PAGES * ROOM_BYTES}",
            f"max_page_count={rooms}",
        ):
            database.execute(f"PRAGMA {pragma}")
        database.executescript(_TABLES)
    except BaseException:
        database.close()
        raise
    file.chmod(0o600)
    return database


def _used_rooms(database: sqlite3.Connection) -> int:
    (pages,), (free,) = (database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count"))
    return int(pages) - int(free)


def _digest(name: bytes, number: int, validator: bytes, value: bytes | None) -> bytes:
    digest = xxh3_128(b"%b %d %d %b" % (name, number, value is None, validator))
    digest.update(value or b"")
    return digest.digest()


def _inode(file: Path) -> int:
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        return 0
