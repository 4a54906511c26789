"""Buckets of a source that fails now and then, for many clients: how long the slowest requests take."""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks.cases import BUCKET, buckets
from benchmarks.load import Ask, Load, run_wrk
from benchmarks.servers import Server
from benchmarks.volumes import Volume

NAME = "p99 of buckets, 64 clients, 1 % of chunks failing"
CLIENTS = 64
SHARE = 0.01
SIZES = (1, 1, 4, 16, 32)
"""Buckets of 32^3 in a POST."""
REQUESTS = 512


def fails(path: str) -> int | None:
    """Chosen anew each second, so that trying again at once does not help."""
    chosen = random.Random(f"{int(time.monotonic())} {path}").random() < SHARE
    return 500 if chosen and path.count("_") == 2 else None


def asks(volume: Volume) -> list[Ask]:
    """Batches of buckets at random places."""
    chosen = random.Random(0)
    grid = volume.grid((BUCKET, BUCKET, BUCKET))
    return [buckets("grey", chosen.choices(grid, k=chosen.choice(SIZES))) for _ in range(REQUESTS)]


def measure(volume: Volume, server: Server, seconds: float, core: int, work: Path) -> Load:
    """
    Raises:
        WrongAnswer: a status from 400 on.
    """
    run_wrk(server.base, asks(volume), 1, core, work, CLIENTS)
    return run_wrk(server.base, asks(volume), seconds, core, work, CLIENTS)
