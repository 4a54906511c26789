"""A source of which some chunks fail, buckets of it at random, and what may come of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from tests.webknossos.acceptance import Taken
from wkdvid.core.geometry import Vec3
from wkdvid.testing.faulty import Fault

CLIENTS = 64
SIDE = 384
MIB = 1 << 20
GROWTH = 96 * MIB
"""What the allocator may keep; the caches are full before."""
UNKNOWN: Vec3 = (3, 3, 3)
GREY = np.random.default_rng(8).integers(1, 255, (SIDE, SIDE, SIDE), np.uint8)
LEVELS = {(1, 1, 1): GREY, (2, 2, 2): np.asfortranarray(GREY[::2, ::2, ::2])}


def failing(share: float) -> Fault:
    """Chunks, chosen anew each second, so that trying again at once does not help."""

    def fault(path: str) -> int | None:
        chosen = random.Random(f"{int(time.monotonic())} {path}").random() < share
        return 500 if chosen and path.count("_") == 2 else None

    return fault


def buckets(chosen: random.Random) -> list[dict[str, Any]]:
    mags = [*LEVELS, UNKNOWN]
    wanted = []
    for _ in range(chosen.choice((1, 1, 4, 16, 32))):
        (mag,) = chosen.choices(mags, (10, 10, 1))
        index = [chosen.randrange(-1, SIDE // mag[0] // 32 + 1) for _ in range(3)]
        position = [32 * m * i for m, i in zip(mag, index, strict=True)]
        wanted.append({"position": position, "mag": mag, "cubeSize": 32, "fourBit": chosen.random() < 0.2})
    return wanted


@cache
def expected(position: Vec3, mag: Vec3, four_bit: bool) -> Taken:
    voxels = LEVELS.get(mag)
    start = [p // m for p, m in zip(position, mag, strict=True)]
    if voxels is None or min(start) < 0 or max(start) >= voxels.shape[0]:
        return "empty"
    x, y, z = (slice(a, a + 32) for a in start)
    part = voxels[x, y, z]
    return (part & 0xF0 if four_bit else part).tobytes("F")


def count(found: Counter[str], wanted: Sequence[dict[str, Any]], taken: Sequence[Taken]) -> None:
    for bucket, one in zip(wanted, taken, strict=True):
        should = expected(tuple(bucket["position"]), bucket["mag"], bucket["fourBit"])
        assert one == should or (one == "failed" and should != "empty"), (bucket, one if one == "empty" else "voxels")
        found[one if isinstance(one, str) else "voxels"] += 1
