"""Which scales are offered, and what computed voxels are, against slow and independent references."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.pyramid import downsample, halved_scales, mag_scales, plan_scale
from wkdvid.core.volume import LevelInfo


def level(mag: Vec3, size: Vec3 = (1000, 1000, 1000), start: Vec3 = (0, 0, 0)) -> LevelInfo:
    extent = Box.at(start, tuple(-(-s // m) for s, m in zip(size, mag, strict=True)))  # type: ignore[arg-type]
    return LevelInfo(mag=mag, extent=extent, chunk_shape=(64, 64, 64), chunk_origin=(0, 0, 0), encoding="raw")


ANISOTROPIC = [level((1, 1, 1)), level((2, 2, 1)), level((4, 4, 1)), level((8, 8, 2))]


@pytest.mark.parametrize(
    ("mag", "source", "factors"),
    [
        ((1, 1, 1), 0, (1, 1, 1)),
        ((4, 4, 1), 2, (1, 1, 1)),
        ((2, 2, 2), 1, (1, 1, 2)),
        ((4, 4, 4), 2, (1, 1, 4)),
        ((8, 8, 8), 3, (1, 1, 4)),
        ((16, 16, 16), 3, (2, 2, 8)),
    ],
)
def test_the_coarsest_fitting_level_is_the_source(mag: Vec3, source: int, factors: Vec3) -> None:
    scale = plan_scale(ANISOTROPIC, mag)
    assert scale is not None
    assert (scale.level, scale.factors) == (source, factors)


@pytest.mark.parametrize("mag", [(3, 3, 3), (1, 1, 32), (64, 64, 1), (0, 1, 1)])
def test_what_halving_does_not_reach_is_not_offered(mag: Vec3) -> None:
    assert plan_scale([level((1, 1, 1)), level((2, 2, 1))], mag) is None


def test_webknossos_gets_the_stored_mags_and_goes_on_halving() -> None:
    mags = [scale.mag for scale in mag_scales(ANISOTROPIC)]
    assert mags == [(1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 8, 2), (16, 16, 4), (32, 32, 8), (64, 64, 16)]


def test_dvid_gets_whole_halvings() -> None:
    mags = [scale.mag for scale in halved_scales(ANISOTROPIC, 1)]
    assert mags == [(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8), (16, 16, 16)]


def test_dvid_gets_what_is_stored_however_small() -> None:
    levels = [level(mag, (60, 50, 40)) for mag in ((1, 1, 1), (2, 2, 2), (4, 4, 4))]
    assert [scale.mag for scale in halved_scales(levels, 1)] == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]


def test_a_small_labelmap_still_has_two_scales() -> None:
    assert len(halved_scales([level((1, 1, 1), (30, 30, 30))], 2)) == 2
    assert len(halved_scales([level((1, 1, 1), (30, 30, 30))], 1)) == 1


def test_a_layer_that_starts_coarser_is_halved_from_there() -> None:
    assert [scale.mag for scale in halved_scales([level((4, 4, 4))], 1)][:2] == [(4, 4, 4), (8, 8, 8)]


def majority(values: list[int]) -> int:
    """DVID's rule, by counting."""
    counts = Counter(value for value in values if value)
    return min((-n, value) for value, n in counts.items())[1] if counts else 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(2, 2, 2), (1, 1, 2), (2, 1, 1), (2, 2, 1)]))
def test_labels_by_halves(seed: int, factors: Vec3) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (1, 6, 4, 8)).astype(np.uint64) * np.uint64(2**40 + 7)
    labels = np.asfortranarray(labels)
    made = downsample(labels, (0, 0, 0), factors, Box((0, 0, 0), (6, 4, 8)), "segmentation")
    fx, fy, fz = factors
    for x, y, z in np.ndindex(made.shape[1:]):
        block = labels[0, x * fx : (x + 1) * fx, y * fy : (y + 1) * fy, z * fz : (z + 1) * fz]
        assert made[0, x, y, z] == majority(block.ravel().tolist())
    assert made.flags.f_contiguous
    assert made.dtype == np.uint64


def test_labels_twice_are_labels_by_four() -> None:
    labels = np.asfortranarray(np.random.default_rng(3).integers(0, 3, (1, 8, 8, 8)).astype(np.uint32))
    extent = Box((0, 0, 0), (8, 8, 8))
    once = downsample(labels, (0, 0, 0), (2, 2, 2), extent, "segmentation")
    assert np.array_equal(
        downsample(once, (0, 0, 0), (2, 2, 2), extent, "segmentation"),
        downsample(labels, (0, 0, 0), (4, 4, 4), extent, "segmentation"),
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([(2, 2, 2), (4, 4, 4), (1, 1, 4), (2, 4, 8)]),
    st.tuples(*[st.integers(1, 21)] * 3),
    st.sampled_from(["uint8", "uint16", "int16", "int32", "float32"]),
)
def test_images_are_means_of_what_is_inside(seed: int, factors: Vec3, size: Vec3, dtype: str) -> None:
    array = np.random.default_rng(seed).integers(0, 100, size).astype(dtype)
    whole = [-(-s // f) * f for s, f in zip(size, factors, strict=True)]
    padded = np.zeros((1, *whole), dtype, order="F")
    padded[0, : size[0], : size[1], : size[2]] = array
    made = downsample(padded, (0, 0, 0), factors, Box((0, 0, 0), size), "color")[0]
    reference = ts.downsample(ts.array(array.astype(np.float64)), list(factors), "mean").read().result()
    assert np.abs(made - reference).max() <= (0.5 if array.dtype.kind in "iu" else 1e-4)


def test_images_with_an_offset() -> None:
    """The grid is that of the dataset: voxel i of mag 2 covers 2i and 2i + 1, wherever the volume begins."""
    array = np.zeros((1, 4, 2, 2), np.uint8, order="F")
    array[0, 1:] = 90
    made = downsample(array, (2, 0, 0), (2, 2, 2), Box((3, 0, 0), (6, 2, 2)), "color")
    assert made[0, :, 0, 0].tolist() == [90, 90]
