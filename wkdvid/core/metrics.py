"""What this process counts and measures, in memory that the workers of a run share by way of files.

To count something, declare it where it happens, on module level:

    STALE = counter("wkdvid_disk_cache_stale_total", "Answers out of the disk cache while the source was down").of()
    READS = counter("wkdvid_source_reads_total", "Boxes that were read", ("host",))

    STALE.add()
    READS.of("example.org").add(3)

A series is a few eight-byte slots, so counting is an addition in memory (0.2 us), and what was counted outlives a
worker that is killed. Additions are not atomic between threads: count in the event loop's. Names and units are
Prometheus's (https://prometheus.io/docs/practices/naming).
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar

import orjson

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = tuple[str, ...]

SLOTS = 65_536
"""Of a process, 8 bytes each."""
SPARE = 32
"""The first ones, which no series has: where no room is left, they are counted in."""
MOST = 1000
"""Series of one family; all later ones are counted as one, whose labels are ``other``. What clients or sources choose
must not fill the memory."""
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Family:
    kind: Kind
    name: str
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets: each inclusive, in the unit of its name."""

    @property
    def width(self) -> int:
        """Slots of a series. A histogram's: its buckets, the last one without a bound, and the sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


class Series:
    """The value of one family for given labels."""

    __slots__ = ("_board", "slot")

    def __init__(self, board: Board, family: Family) -> None:
        self._board = board
        self.slot = 0

    def add(self, amount: float = 1) -> None:
        self._board.values[self.slot] += amount

    def set(self, value: float) -> None:
        self._board.values[self.slot] = value


class Distribution(Series):
    """Those of a histogram."""

    __slots__ = ("_bounds", "_sum")

    def __init__(self, board: Board, family: Family) -> None:
        super().__init__(board, family)
        self._bounds = family.bounds
        self._sum = len(family.bounds) + 1

    def observe(self, value: float) -> None:
        values, slot = self._board.values, self.slot
        values[slot + bisect_left(self._bounds, value)] += 1
        values[slot + self._sum] += value


AnySeries = TypeVar("AnySeries", bound=Series)


class Metric(Generic[AnySeries]):
    """The series of a family by their labels."""

    def __init__(self, board: Board, family: Family, make: Callable[[Board, Family], AnySeries]) -> None:
        self._board = board
        self._family = family
        self._make = make
        self._series: dict[Labels, AnySeries] = {}

    def of(self, *labels: str) -> AnySeries:
        return self._series.get(labels) or self._new(labels)

    def _new(self, labels: Labels) -> AnySeries:
        if len(labels) != len(self._family.labels):
            raise TypeError(f"{self._family.name} has the labels {self._family.labels}, got {labels}")
        if len(self._series) >= MOST:
            labels = (OTHER,) * len(labels)
        if labels not in self._series:
            self._series[labels] = self._make(self._board, self._family)
            self._board.place(self._family, labels, self._series[labels])
        return self._series[labels]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a series holds, of all workers together."""

    family: Family
    labels: Labels
    values: Sequence[float]
    """As ``Family.width`` has them."""


class Board:
    """All that a process counts.

    Each worker has a pair of files in the folder of the run: ``N.values``, the slots, which it also holds a lock on as
    long as it lives, and ``N.names``, a line for each series. Who takes the place of another worker takes the first
    pair that nobody holds, and counts on where that stands; so no count is lost, and there is nothing to clear away.
    """

    def __init__(self) -> None:
        self.values = memoryview(mmap.mmap(-1, SLOTS * 8)).cast("d")
        self._placed: dict[tuple[Family, Labels], Series] = {}
        self._slots: dict[tuple[Family, Labels], int] = {}
        self._used = SPARE
        self._names: int | None = None
        self._folder: Path | None = None

    def place(self, family: Family, labels: Labels, series: Series) -> None:
        """Find the slots of a series that is new in this process."""
        key = family, labels
        self._placed[key] = series
        known = self._slots.get(key)
        if known is None and self._used + family.width > SLOTS:
            return
        if known is None:
            known = self._slots[key] = self._used
            self._used += family.width
            if self._names is not None:
                with contextlib.suppress(OSError):  # no room on the disk: a request must not fail with its count
                    os.write(self._names, _line(family, labels, known))
        series.slot = known

    def share(self, folder: Path) -> None:
        """Count where the other workers of the run see it, from now on and as long as this process lives.

        Raises:
            OSError: there is no room.
        """
        number, file = _free_pair(folder)
        os.posix_fallocate(file, 0, SLOTS * 8)  # a page that finds no room when it is first written ends the process
        names = folder / f"{number}.names"
        found = list(_named(names))
        self._names = os.open(names, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._names, b"\n")  # the last line may be half written
        before, self.values = self.values, memoryview(mmap.mmap(file, SLOTS * 8)).cast("d")
        self._slots = {(family, labels): slot for family, labels, slot in found}
        self._used = max((slot + family.width for family, _, slot in found), default=SPARE)
        self._folder = folder
        for family, _, slot in found:
            if family.kind == "gauge":
                self.values[slot] = 0
        for (family, labels), series in self._placed.items():
            self._move(family, labels, series, before)

    def _move(self, family: Family, labels: Labels, series: Series, before: memoryview[float]) -> None:
        old = series.slot
        series.slot = 0
        self.place(family, labels, series)
        if old and series.slot:
            for i in range(family.width):
                self.values[series.slot + i] += before[old + i]

    def readings(self) -> tuple[int, list[Reading]]:
        """How many workers live, and what all have counted; gauges are those of the living, added."""
        if self._folder is None:
            own = ((family, labels, series.slot) for (family, labels), series in self._placed.items())
            return 1, _sum([(True, own, self.values)])
        boards = [_of_worker(path) for path in sorted(self._folder.glob("*.values"))]
        return sum(lives for lives, _, _ in boards), _sum(boards)


Row: TypeAlias = tuple[Family, Labels, int]
"""With the first of its slots."""


def _free_pair(folder: Path) -> tuple[int, int]:
    """Its number, and its file of slots, locked."""
    for number in itertools.count():
        file = os.open(folder / f"{number}.values", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        else:
            return number, file
    raise AssertionError


def _line(family: Family, labels: Labels, slot: int) -> bytes:
    row = (family.kind, family.name, family.help, family.labels, family.bounds, labels, slot)
    return orjson.dumps(row) + b"\n"


def _named(path: Path) -> Iterator[Row]:
    """What is written there. Lines that were half written are left out."""
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(orjson.JSONDecodeError):
            kind, name, text, labels, bounds, values, slot = orjson.loads(line)
            yield Family(kind, name, text, tuple(labels), tuple(bounds)), tuple(values), slot


def _of_worker(path: Path) -> tuple[bool, Iterable[Row], Sequence[float]]:
    """Whether it lives, its series, its slots."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            lives = False
        except BlockingIOError:
            lives = True
        return lives, list(_named(path.with_suffix(".names"))), array("d", file.read())  # none yet, if it is just begun


def _sum(boards: Iterable[tuple[bool, Iterable[Row], Sequence[float]]]) -> list[Reading]:
    """In order of their names and labels."""
    sums: dict[tuple[Family, Labels], list[float]] = {}
    for lives, rows, slots in boards:
        for family, labels, slot in rows:
            if slot + family.width > len(slots) or not (lives or family.kind != "gauge"):
                continue
            values = sums.setdefault((family, labels), [0.0] * family.width)
            for i in range(family.width):
                values[i] += slots[slot + i]
    readings = [Reading(family, labels, values) for (family, labels), values in sums.items()]
    return sorted(readings, key=lambda reading: (reading.family.name, reading.labels))


BOARD = Board()
"""This process's."""


def counter(name: str, text: str, labels: Labels = ()) -> Metric[Series]:
    """What only grows; its name ends in ``_total``."""
    return Metric(BOARD, Family("counter", name, text, labels), Series)


def gauge(name: str, text: str, labels: Labels = ()) -> Metric[Series]:
    """What is now. Workers' are added."""
    return Metric(BOARD, Family("gauge", name, text, labels), Series)


def histogram(name: str, text: str, labels: Labels, bounds: tuple[float, ...]) -> Metric[Distribution]:
    return Metric(BOARD, Family("histogram", name, text, labels, bounds), Distribution)
