"""Random batches of buckets, taken apart as the browser does, while some chunks of the source fail."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from tests.webknossos.acceptance import Rejected, Taken, take, take_as_of_2019
from wkdvid.core.geometry import Box, Vec3, divide_down, divide_up, mag_text
from wkdvid.testing.faulty import LOGIN_PAGE, FileServer, Instead, none, on

SIZE: Vec3 = (200, 140, 90)
OFFSET: Vec3 = (-64, 64, 0)
MAGS: tuple[Vec3, ...] = ((1, 1, 1), (2, 2, 1))
UNKNOWN: tuple[Vec3, ...] = ((3, 3, 3), (5, 1, 1), (1, 3, 2))
"""Neither stored nor those times powers of two."""
CHUNK = 64
TYPES: Mapping[str, tuple[str, int]] = {"grey": ("u1", 1), "deep": ("u2", 1), "rgb": ("u1", 3), "cells": ("u8", 1)}
"""Type of a sample, and samples a voxel."""


@dataclass(frozen=True)
class Level:
    box: Box
    voxels: Voxels
    """(x, y, z, c)."""

    def read(self, box: Box) -> Voxels:
        """(c, x, y, z), zeros outside."""
        out = np.zeros((*box.size, self.voxels.shape[3]), self.voxels.dtype)
        inside = box.intersect(self.box)
        if inside is not None:
            here, there = (
                tuple(slice(a - o, b - o) for a, b, o in zip(inside.start, inside.stop, origin, strict=True))
                for origin in (box.start, self.box.start)
            )
            out[here] = self.voxels[there]
        return out.transpose(3, 0, 1, 2)


def made_up(name: str, mag: Vec3) -> Level:
    """Random voxels, none of them 0 but in a block in the middle."""
    dtype, channels = TYPES[name]
    start, stop = divide_down(OFFSET, mag), divide_up(tuple(a + b for a, b in zip(OFFSET, SIZE, strict=True)), mag)  # type: ignore[arg-type]
    box = Box(start, stop)
    voxels = np.random.default_rng(sum(mag)).integers(1, np.iinfo(dtype).max, (*box.size, channels), dtype)
    voxels[64:96, :64, :64] = 0
    return Level(box, voxels)


LEVELS = {name: {mag: made_up(name, mag) for mag in MAGS} for name in TYPES}


def chunk_name(name: str, mag: Vec3, index: Vec3) -> str:
    """The file of a chunk; chunks begin at the volume's corner."""
    box = LEVELS[name][mag].box
    starts = [o + i * CHUNK for o, i in zip(box.start, index, strict=True)]
    spans = [f"{a}-{min(a + CHUNK, b)}" for a, b in zip(starts, box.stop, strict=True)]
    return f"{name}/{mag_text(mag) if len(set(mag)) > 1 else '1-1-1'}/{'_'.join(spans)}"


FAILING: Mapping[tuple[Vec3, Vec3], Instead] = {
    (MAGS[0], (1, 1, 0)): 500,
    (MAGS[0], (2, 0, 1)): 403,
    (MAGS[0], (3, 2, 1)): LOGIN_PAGE,
    (MAGS[1], (0, 0, 0)): 503,
}
"""Chunks, by mag and index, and what their place answers."""
ABSENT: tuple[tuple[Vec3, Vec3], ...] = ((MAGS[0], (0, 1, 1)), (MAGS[1], (1, 1, 0)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("acceptance")
    for name, levels in LEVELS.items():
        stored = [(mag, level.voxels) for mag, level in levels.items()]
        kind = "segmentation" if name == "cells" else "image"
        write_precomputed(folder / name, stored, offsets=[level.box.start for level in levels.values()], kind=kind)
        for mag, index in ABSENT:
            (folder / chunk_name(name, mag, index)).unlink()
    faults = {chunk_name(name, *place): instead for name in TYPES for place, instead in FAILING.items()}
    layers = {name: {"source": name} for name in TYPES}
    with FileServer(folder) as far:
        far.fault = faults.get
        layers = {name: {"source": f"{far.url}{name}"} for name in TYPES}
        environ = {"WKDVID_SOURCES__HTTP_HOSTS": far.host}
        with running(folder / "data", {"precomputed": {"lab": {"ds": {"layers": layers}}}}, environ=environ) as started:
            yield started
    assert "Traceback" not in (folder / "data" / "server.log").read_text()


def expected(name: str, bucket: Mapping[str, Any], *, packs: bool) -> Taken:
    """What a browser has to hold in the end; by the arrays and the list of faults alone."""
    mag: Vec3 = bucket["mag"]
    level = LEVELS[name].get(mag)
    if level is None:
        return "empty"
    box = Box.at(divide_down(bucket["position"], mag), (32, 32, 32))
    voxels = level.read(box)
    for place in (*FAILING, *ABSENT):
        chunk = place[0] == mag and _chunk(level, place[1]).intersect(box)
        if chunk and place in FAILING:
            return "failed"
        if chunk:
            _, x, y, z = (slice(None), *(slice(a - o, b - o) for a, b, o in zip(*_corners(chunk, box), strict=True)))
            voxels[:, x, y, z] = 0
    if not voxels.any():
        return "empty"
    return (voxels & 0xF0 if packs and bucket["fourBit"] else voxels).tobytes("F")


def _corners(box: Box, within: Box) -> tuple[Vec3, Vec3, Vec3]:
    return box.start, box.stop, within.start


def _chunk(level: Level, index: Vec3) -> Box:
    starts = [o + i * CHUNK for o, i in zip(level.box.start, index, strict=True)]
    found = Box.at((starts[0], starts[1], starts[2]), (CHUNK, CHUNK, CHUNK)).intersect(level.box)
    assert found is not None
    return found


def on_grid(mag: Vec3, index: Vec3) -> Vec3:
    """As the browser asks: buckets begin at the origin."""
    return (32 * mag[0] * index[0], 32 * mag[1] * index[1], 32 * mag[2] * index[2])


MAG = st.sampled_from((*MAGS, *MAGS, *MAGS, *UNKNOWN))
INDEX = st.tuples(st.integers(-4, 6), st.integers(-1, 8), st.integers(-1, 4))
ANYWHERE = st.tuples(*[st.one_of(st.integers(-200, 400), st.integers(-(2**31), 2**31 - 1))] * 3)
BUCKET = st.builds(
    lambda mag, index, position, four_bit: {
        "position": on_grid(mag, index) if position is None else position,
        "mag": mag,
        "cubeSize": 32,
        "fourBit": four_bit,
    },
    MAG,
    INDEX,
    st.one_of(st.none(), st.none(), ANYWHERE),
    st.booleans(),
)
EVERYWHERE = [
    {"position": on_grid(mag, (x, y, z)), "mag": mag, "cubeSize": 32, "fourBit": x % 2 == 0}
    for mag in MAGS
    for x in range(-3, 5)
    for y in range(1, 7)
    for z in range(4)
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(list(TYPES)),
    different=st.lists(BUCKET, min_size=1, max_size=24),
    count=st.integers(1, 512),
    seed=st.integers(0, 2**32),
)
@example(name="grey", different=EVERYWHERE, count=512, seed=1)
@example(name="rgb", different=EVERYWHERE, count=512, seed=2)
@example(name="cells", different=EVERYWHERE, count=512, seed=3)
def test_the_browser_takes_every_answer_for_what_it_is(
    server: Server, name: str, different: list[dict[str, Any]], count: int, seed: int
) -> None:
    """Each bucket is data, empty or failed as it is; duplicates are answered each; the batch is never rejected."""
    wanted = random.Random(seed).choices(different, k=min(count, 8 * len(different)))
    answer = server.buckets(f"lab/ds/layers/{name}", *wanted)
    packs = TYPES[name][0] == "u1"
    check(name, wanted, answer, packs=packs)


def check(name: str, wanted: list[dict[str, Any]], answer: requests.Response, *, packs: bool) -> None:
    assert answer.status_code == 200, answer.text
    dtype, channels = TYPES[name]
    voxel_bytes = np.dtype(dtype).itemsize * channels
    taken = take(wanted, answer.headers, answer.content, voxel_bytes, packs=packs)
    should = {str(bucket): expected(name, bucket, packs=packs) for bucket in wanted}
    for bucket, found in zip(wanted, taken, strict=True):
        assert found == should[str(bucket)], bucket
    old = take_as_of_2019(wanted, answer.headers, answer.content, voxel_bytes, packs=packs)
    assert old == ["empty" if found == "failed" else found for found in taken]
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert set(exposed) == {"Failure-Bucket-Indices", "Empty-Bucket-Indices", "MISSING-BUCKETS"}


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"Empty-Bucket-Indices": "[]", "Failure-Bucket-Indices": "[]"}, 32768),
        ({"Empty-Bucket-Indices": "[0]", "Failure-Bucket-Indices": "[1]"}, 32768),
        ({"Empty-Bucket-Indices": "[0,1]", "Failure-Bucket-Indices": "[]"}, 0),
        ({"Empty-Bucket-Indices": "[1, 0]", "Failure-Bucket-Indices": "[]"}, 0),
    ],
)
def test_the_browser_rejects_what_does_not_fit(headers: dict[str, str], length: int) -> None:
    """That the tests above can fail."""
    with pytest.raises(Rejected):
        take([{}, {}], headers, bytes(length), 1, packs=True)


def test_histograms_and_places_of_a_failing_source_are_failures(tmp_path: Path) -> None:
    """Nothing is made of what could be read; and nothing is kept."""
    volume = np.zeros((64, 64, 128), np.uint8)
    volume[:, :, 64:] = 7
    write_precomputed(tmp_path / "v", [((1, 1, 1), volume)])
    with FileServer(tmp_path) as far:
        layers = {"v": {"source": f"{far.url}v"}}
        environ = {"WKDVID_SOURCES__HTTP_HOSTS": far.host}
        with running(
            tmp_path / "data", {"precomputed": {"lab": {"ds": {"layers": layers}}}}, environ=environ
        ) as server:
            layer = "/data/datasets/lab/ds/layers/v"
            for instead, status in ((503, 503), (LOGIN_PAGE, 502)):
                far.fault = on("*_64-128", instead)
                for what in ("histogram", "findData"):
                    answer = server.get(f"{layer}/{what}")
                    assert (answer.status_code, answer.json().keys()) == (status, {"messages", "code", "requestId"})
            server.post("/data/triggers/reload/lab/ds")
            far.fault = on("*_0-64", 503)
            assert server.get(f"{layer}/findData").json()["position"][2] == 64, "one place with data suffices"
            assert server.get(f"{layer}/histogram").status_code == 503
            far.fault = none
            (found,) = server.get(f"{layer}/histogram").json()
            assert found["elementCounts"][7] == found["numberOfElements"] > 0
