"""Stored and computed resolutions of anisotropic, moved, odd-sized volumes: both protocols, against plain numpy."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Box, Vec3, divide_down, multiply

STORED: tuple[Vec3, ...] = ((1, 1, 1), (2, 2, 1), (4, 4, 2))
WHOLE = Box((5, -9, 7), (300, 58, 40))
"""Odd sizes, odd and negative corners."""
TYPES: Mapping[str, tuple[type[np.generic], int]] = {
    "em8": (np.uint8, 1),
    "em16": (np.uint16, 1),
    "em64": (np.uint64, 1),
    "field": (np.float32, 1),
    "rgb": (np.uint8, 3),
    "cells": (np.uint64, 1),
}
SOURCES: Mapping[Vec3, Vec3] = {
    **{mag: mag for mag in STORED},
    (2, 2, 2): (2, 2, 1),
    (4, 4, 4): (4, 4, 2),
    (8, 8, 4): (4, 4, 2),
    (8, 8, 8): (4, 4, 2),
    (2, 1, 1): (1, 1, 1),
    (1, 4, 2): (1, 1, 1),
    (16, 8, 32): (4, 4, 2),
}
"""The stored mag that the voxels of a mag come from. The last ones are not listed, and answered all the same."""


@dataclass(frozen=True)
class Level:
    """Voxels (x, y, z, c) of one stored mag; each level has its own, so that it shows which one was read."""

    box: Box
    voxels: Voxels

    def at(self, point: Vec3) -> Voxels | None:
        """The channels of one voxel, or None outside."""
        if not self.box.contains(Box.at(point, (1, 1, 1))):
            return None
        channels: Voxels = self.voxels[tuple(a - b for a, b in zip(point, self.box.start, strict=True))]
        return channels


def made_up(name: str, mag: Vec3) -> Level:
    """Random voxels; few labels, all above 2^53, with zeros in between."""
    dtype, channels = TYPES[name]
    random = np.random.default_rng([sum(map(ord, name)), *mag])
    box = WHOLE.scaled_down(mag)
    shape = (*box.size, channels)
    if name == "cells":
        labels = np.array([0, 2**53 + 1, 2**53 + 2, 2**64 - 1], np.uint64)
        return Level(box, random.choice(labels, shape, p=[0.4, 0.2, 0.2, 0.2]))
    if dtype is np.float32:
        return Level(box, random.normal(size=shape).astype(np.float32))
    top = np.iinfo(np.dtype(dtype).name).max
    return Level(box, random.integers(top // 2, top, shape, np.dtype(dtype), endpoint=True))


LEVELS = {name: {mag: made_up(name, mag) for mag in STORED} for name in TYPES}


def expected(name: str, mag: Vec3, point: Vec3) -> list[Any]:
    """The channels of one voxel of any mag, by the rules that are documented for computed ones."""
    source = LEVELS[name][SOURCES[mag]]
    factors = divide_down(mag, SOURCES[mag])
    if name == "cells":
        return [most_frequent_by_halves(source, point, factors)]
    start = multiply(point, factors)
    inside = [
        channels
        for offset in itertools.product(*map(range, factors))
        if (channels := source.at((start[0] + offset[0], start[1] + offset[1], start[2] + offset[2]))) is not None
    ]
    return [mean(column) for column in zip(*inside, strict=True)] if inside else [0] * TYPES[name][1]


def mean(values: tuple[Any, ...]) -> Any:
    if isinstance(values[0], np.floating):
        return np.float32(np.mean(values, dtype=np.float64))
    return (sum(map(int, values)) * 2 + len(values)) // (2 * len(values))


def most_frequent_by_halves(source: Level, point: Vec3, factors: Vec3) -> int:
    if factors == (1, 1, 1):
        found = source.at(point)
        return 0 if found is None else int(found[0])
    steps = [2 if factor > 1 else 1 for factor in factors]
    rest = (factors[0] // steps[0], factors[1] // steps[1], factors[2] // steps[2])
    finer = (
        (point[0] * steps[0] + a, point[1] * steps[1] + b, point[2] * steps[2] + c)
        for a, b, c in itertools.product(*map(range, steps))
    )
    counts = Counter(most_frequent_by_halves(source, each, rest) for each in finer)
    del counts[0]
    return min(counts, key=lambda label: (-counts[label], label), default=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("scales")
    for name, levels in LEVELS.items():
        write_precomputed(
            folder / name,
            [(mag, level.voxels) for mag, level in levels.items()],
            voxel_size_nm=(4, 4, 8),
            offsets=[level.box.start for level in levels.values()],
            kind="segmentation" if name == "cells" else "image",
        )
    layers = {name: {"source": name} for name in LEVELS}
    with running(folder, {"precomputed": {"lab": {"scales": {"uuid": "5ca1e5", "layers": layers}}}}) as running_server:
        yield running_server


def corners(mag: Vec3) -> list[Box]:
    """Small boxes at two opposite corners, half outside, and one in the middle."""
    whole, size = WHOLE.scaled_down(mag), (6, 5, 4)
    last, middle = whole.stop, divide_down(multiply(whole.size, (1, 1, 1)), (2, 2, 2))
    first = whole.start
    starts = [(a[0] - 3, a[1] - 2, a[2] - 2) for a in (first, last)]
    starts.append((first[0] + middle[0], first[1] + middle[1], first[2] + middle[2]))
    return [Box.at(start, size) for start in starts]


def voxels_of(name: str, box: Box, body: bytes, channels: int) -> Voxels:
    """A body of either protocol, x fastest, as (x, y, z, c)."""
    dtype = np.dtype(TYPES[name][0])
    return np.frombuffer(body, dtype).reshape((channels, *box.size), order="F").transpose(1, 2, 3, 0)


def check(name: str, mag: Vec3, box: Box, found: Voxels) -> None:
    for offset in np.ndindex(box.size):
        point = (box.start[0] + offset[0], box.start[1] + offset[1], box.start[2] + offset[2])
        wanted = expected(name, mag, point)
        if name == "field":
            np.testing.assert_allclose(found[offset], wanted, rtol=1e-6)
        else:
            assert found[offset].tolist() == wanted, (mag, point)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("mag", SOURCES)
def test_webknossos_gives_every_mag(server: Server, name: str, mag: Vec3) -> None:
    for box in corners(mag):
        position = dict(zip("xyz", multiply(box.start, mag), strict=True))
        size = dict(zip(("width", "height", "depth"), box.size, strict=True))
        query = {**position, **size, "mag": "-".join(map(str, mag))}
        answer = server.get(f"/data/datasets/lab/scales/layers/{name}/data", params=query)
        check(name, mag, box, voxels_of(name, box, answer.content, TYPES[name][1]))


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_dvid_halves_on_every_axis(server: Server, name: str, k: int) -> None:
    mag = (2**k, 2**k, 2**k)
    for box in corners(mag):
        size, offset = ("_".join(map(str, vector)) for vector in (box.size, box.start))
        instance, query = (name, {"scale": str(k)}) if name == "cells" else (f"{name}_{k}" if k else name, {})
        answer = server.get(f"/api/node/5ca1e5/{instance}/raw/0_1_2/{size}/{offset}", params=query)
        assert answer.status_code == 200, answer.text
        found = voxels_of(name, box, answer.content, 4 if name == "rgb" else 1)
        check(name, mag, box, found[..., :3] if name == "rgb" else found)


@pytest.mark.parametrize("name", TYPES)
def test_both_protocols_give_the_same(server: Server, name: str) -> None:
    """A bucket of the webKnossos kind and DVID's voxels of the same place, computed ones."""
    wanted = {"position": [32 * 2, 0, 32], "mag": [2, 2, 2], "cubeSize": 32}
    bucket = server.buckets(f"lab/scales/layers/{name}", wanted).content
    instance = (
        f"{name}/raw/0_1_2/32_32_32/32_0_16?scale=1" if name == "cells" else f"{name}_1/raw/0_1_2/32_32_32/32_0_16"
    )
    body = server.get(f"/api/node/5ca1e5/{instance}").content
    box = Box.at((32, 0, 16), (32, 32, 32))
    channels = TYPES[name][1]
    over_dvid = voxels_of(name, box, body, 4 if name == "rgb" else channels)[..., :channels]
    np.testing.assert_array_equal(voxels_of(name, box, bucket, channels), over_dvid)
    assert over_dvid.any()
