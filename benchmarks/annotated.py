"""A million annotations in one dataset: inserted, found in boxes, listed; on SQLite and PostgreSQL.

Beside boxes stands the same query without the index of cells. Memory is that of this process, beyond what it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from benchmarks.load import WrongAnswer
from benchmarks.table import Figure
from wkdvid.core.annotations import Annotation, Selection
from wkdvid.core.geometry import Box
from wkdvid.metadata.clio.annotations import Annotations, Puts
from wkdvid.metadata.engine import migrate, open_engine, reading
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import typed_annotations as table

NAME = "annotations"
COUNT = 1_000_000
EXTENT = 40_000
"""Side of the cube that they are spread in, voxels."""
BOXES = 30
SIDES = (500, 4_000)
"""Of the boxes, voxels."""
DATASET = "lab/brain"
MB = 10**6


class Crowd:
    """Two points to each line of some hundred voxels; the same each time it is gone through."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[Annotation]:
        rng = random.Random(5)
        for number in range(self._count):
            pos = [rng.randrange(EXTENT) for _ in range(3)]
            fields = {"prop": {"comment": "a remark", "n": number}, "tags": ["synapse"]}
            kind = "lineseg" if number % 3 == 0 else "point"
            if kind == "lineseg":
                pos += [at + rng.randrange(-200, 200) for at in pos]
            yield Annotation(email="a@t.com", kind=kind, pos=tuple(pos), fields=fields)


@contextlib.contextmanager
def databases() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, postgresql() as url:
        yield {"SQLite": f"sqlite:///{Path(folder) / 'bench.db'}", "PostgreSQL": url}


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """URL of an empty database on a server of our own, which listens on a socket in a folder. It refuses to be root."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        data = f"{folder}/db"
        run = partial(subprocess.run, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)
        run([programs / "initdb", "--pgdata", data, "--auth", "trust", "--username", "bench"])
        options = f"-k {folder} -c listen_addresses=''"
        run([programs / "pg_ctl", "start", "--wait", "-D", data, "-l", f"{folder}/log", "-o", options])
        try:
            yield f"postgresql://bench@/postgres?host={folder}"
        finally:
            run([programs / "pg_ctl", "stop", "--mode", "immediate", "-D", data])


def figures(name: str, url: str, count: int = COUNT) -> Iterator[Figure]:
    """
    Raises:
        WrongAnswer: a box does not have what the plain filter finds.
    """
    migrate(url)
    engine = open_engine(url)
    store, what = Annotations(Queries(engine)), f"{count:,} {NAME}, {name}"
    before, begin = _peak_mb(), time.perf_counter()
    asyncio.run(store.put(DATASET, Puts(Crowd(count)), "a@t.com"))
    yield Figure(case=f"{what}: inserted", value=count / (time.perf_counter() - begin), unit="/s")
    for side in SIDES:
        boxed, plain = _boxes(store, engine, side)
        yield Figure(case=f"{what}: box of {side}^3, p50", value=boxed, unit="ms")
        yield Figure(case=f"{what}: box of {side}^3, plain filter", value=plain, unit="ms")
    begin = time.perf_counter()
    if asyncio.run(_listed(store, None)) < count * 0.99:  # some are in one place
        raise WrongAnswer("the listing is not whole")
    yield Figure(case=f"{what}: listed", value=count / (time.perf_counter() - begin), unit="/s")
    yield Figure(case=f"{what}: memory for all that", value=_peak_mb() - before, unit="MB")
    engine.dispose()


def _boxes(store: Annotations, engine: sa.Engine, side: int) -> tuple[float, float]:
    """Median milliseconds with the index, and of the first few without."""
    rng = random.Random(side)
    starts = [
        (rng.randrange(EXTENT - side), rng.randrange(EXTENT - side), rng.randrange(EXTENT - side)) for _ in range(BOXES)
    ]
    boxes = [Box.at(start, (side, side, side)) for start in starts]
    times, plain_times, found = [], [], []
    for box in boxes:
        begin = time.perf_counter()
        found.append(asyncio.run(_listed(store, box)))
        times.append(1000 * (time.perf_counter() - begin))
    for box, count in zip(boxes[:3], found, strict=False):
        begin = time.perf_counter()
        if _filtered(engine, box) != count:
            raise WrongAnswer(f"box {box}: not what the plain filter finds")
        plain_times.append(1000 * (time.perf_counter() - begin))
    return median(times), median(plain_times)


async def _listed(store: Annotations, box: Box | None) -> int:
    return sum([len(page) async for page in store.pages(Selection(dataset=DATASET, emails=None, box=box))])


def _filtered(engine: sa.Engine, box: Box) -> int:
    corners: Sequence[sa.ColumnElement[bool]] = [
        condition
        for axis, low, high in zip("xyz", box.start, box.stop, strict=True)
        for condition in (table.c[f"{axis}0"] < high, table.c[f"{axis}1"] >= low)
    ]
    with reading(engine) as connection:
        return len(connection.execute(sa.select(table).where(table.c.dataset == DATASET, *corners)).all())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
