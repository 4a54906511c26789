"""Chunks of exported scales: of every volume each voxel is in exactly one, whatever its place and size."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkdvid.core.geometry import ONE, Box, Vec3, divide_up, volume_of
from wkdvid.core.pyramid import Scale
from wkdvid.export.grid import SIDE, VOXELS, chunk_shape
from wkdvid.export.precomputed import ExportedScale

PLACES = st.tuples(*[st.integers(-200, 200)] * 3)
SIZES = st.tuples(*[st.integers(1, 150)] * 3)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1000, 1000, 1000), (64, 64, 64)),
        ((1000, 1000, 40), (64, 64, 40)),
        ((1000, 1000, 1), (512, 512, 1)),
        ((1000, 1000, 5), (256, 128, 5)),
        ((1, 1, 5000), (1, 1, 8192)),
        ((3, 4, 5), (3, 4, 5)),
    ],
)
def test_thin_volumes_have_longer_chunks(size: Vec3, shape: Vec3) -> None:
    assert chunk_shape(size) == shape


@given(SIZES)
def test_chunks_have_no_more_voxels_than_others(size: Vec3) -> None:
    shape = chunk_shape(size)
    assert volume_of(shape) <= VOXELS
    assert all(side >= min(SIDE, n) for side, n in zip(shape, size, strict=True))


@settings(max_examples=50)
@given(PLACES, SIZES, st.tuples(*[st.integers(20, 70)] * 3))
def test_each_voxel_is_in_one_chunk(start: Vec3, size: Vec3, shape: Vec3) -> None:
    extent = Box.at(start, size)
    of = ExportedScale(Scale(ONE, 0, ONE, extent, 1), shape, "raw", None)
    covered = 0
    for index in product(*map(range, divide_up(size, shape))):
        x, y, z = (a + i * n for a, i, n in zip(start, index, shape, strict=True))
        box = Box.at((x, y, z), shape).intersect(extent)
        assert box is not None
        assert of.index(box) == index
        covered += box.voxels
    assert covered == extent.voxels


@given(PLACES, SIZES, PLACES, SIZES)
def test_no_other_box_is_a_chunk(start: Vec3, size: Vec3, other: Vec3, sides: Vec3) -> None:
    of = ExportedScale(Scale(ONE, 0, ONE, Box.at(start, size), 1), (64, 64, 64), "raw", None)
    box = Box.at(other, sides)
    index = of.index(box)
    on_grid = all((a - b) % 64 == 0 and 0 <= a - b < n for a, b, n in zip(other, start, size, strict=True))
    cut = all(n == min(64, whole - (a - b)) for n, a, b, whole in zip(sides, other, start, size, strict=True))
    assert (index is not None) == (on_grid and cut)
