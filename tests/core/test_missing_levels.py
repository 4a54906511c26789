"""Which levels a layer lacks, and that making one from another gives what is computed from the source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkdvid.core.geometry import Box, Float3, Vec3, multiply
from wkdvid.core.jobs import Stage
from wkdvid.core.missing_levels import CHUNK, TASK_BYTES, TASK_SOURCE_VOXELS, missing_levels, next_factors
from wkdvid.core.pyramid import downsample, mag_scales, plan_scale
from wkdvid.core.volume import Array, Category, LayerInfo, LevelInfo

SIZES = st.tuples(*[st.integers(1, 5000)] * 3)
STARTS = st.tuples(*[st.integers(-300, 300)] * 3)


def info(
    mags: list[Vec3],
    box: Box,
    voxel_size: Float3 = (1.0, 1.0, 1.0),
    category: Category = "color",
    dtype: str = "uint8",
) -> LayerInfo:
    levels = tuple(
        LevelInfo(
            mag=mag, extent=box.scaled_down(mag), chunk_shape=(64, 64, 64), chunk_origin=(0, 0, 0), encoding="raw"
        )
        for mag in mags
    )
    return LayerInfo(
        name="x",
        category=category,
        dtype=np.dtype(dtype),
        num_channels=1,
        voxel_size_nm=voxel_size,
        levels=levels,
        format="zarr",
    )


def made_mags(stored: list[Vec3], size: Vec3, voxel_size: Float3 = (1.0, 1.0, 1.0)) -> list[Vec3]:
    return [one.level.mag for one in missing_levels(info(stored, Box((0, 0, 0), size), voxel_size))]


@pytest.mark.parametrize(
    ("stored", "size", "voxel_size", "made"),
    [
        ([(1, 1, 1)], (64, 64, 64), (4, 4, 4), []),
        ([(1, 1, 1)], (65, 1, 1), (4, 4, 4), [(2, 2, 2)]),
        ([(1, 1, 1)], (500, 500, 500), (4, 4, 4), [(2, 2, 2), (4, 4, 4), (8, 8, 8)]),
        ([(1, 1, 1), (2, 2, 2)], (500, 500, 500), (4, 4, 4), [(4, 4, 4), (8, 8, 8)]),
        ([(1, 1, 1), (8, 8, 8)], (1000, 1000, 1000), (4, 4, 4), [(2, 2, 2), (4, 4, 4), (16, 16, 16)]),
        ([(1, 1, 1), (3, 3, 3)], (300, 300, 300), (4, 4, 4), [(2, 2, 2), (6, 6, 6)]),
        ([(1, 1, 1)], (1000, 1000, 99), (4, 4, 40), [(2, 2, 1), (4, 4, 1), (8, 8, 1), (16, 16, 2)]),
        ([(1, 1, 1)], (400, 400, 99), (11.24, 11.24, 28), [(2, 2, 1), (4, 4, 2), (8, 8, 4)]),
        ([(1, 1, 1), (2, 2, 1)], (300, 300, 99), (4, 4, 40), [(4, 4, 1), (8, 8, 1), (16, 16, 2)]),
        ([(1, 1, 1), (2, 2, 2)], (300, 300, 99), (4, 4, 40), [(4, 4, 2), (8, 8, 2)]),
        ([(1, 1, 1), (4, 4, 1)], (300, 300, 99), (4, 4, 4), [(4, 4, 2), (4, 4, 4), (8, 8, 8)]),
        ([(1, 1, 1), (2, 2, 1)], (600, 600, 1), (2.1, 2.1, 1), [(4, 4, 2), (8, 8, 4), (16, 16, 8)]),
        ([(1, 1, 1)], (200, 150, 1), (4, 4, 40), [(2, 2, 1), (4, 4, 1)]),
    ],
)
def test_voxels_become_isotropic_and_then_fewer(
    stored: list[Vec3], size: Vec3, voxel_size: Float3, made: list[Vec3]
) -> None:
    assert made_mags(stored, size, voxel_size) == made


@pytest.mark.parametrize("voxel_size", [(1, 1, 1), (4, 4, 5), (4, 4, 6), (1, 2, 3), (30, 8, 8), (1, 1, 1000)])
def test_steps_never_make_voxels_less_isotropic(voxel_size: Float3) -> None:
    mag: Vec3 = (1, 1, 1)
    last = max(voxel_size) / min(voxel_size)
    for _ in range(12):
        factors = next_factors(mag, voxel_size, (9, 9, 9))
        assert max(factors) == 2
        mag = multiply(mag, factors)
        sides = [m * size for m, size in zip(mag, voxel_size, strict=True)]
        assert max(sides) / min(sides) <= max(last, 2**0.5) + 1e-9
        last = max(sides) / min(sides)


@settings(max_examples=60, deadline=None)
@given(SIZES, STARTS, st.sampled_from(["uint8", "uint64"]), st.sampled_from(["color", "segmentation"]))
def test_tasks_cover_each_level_once_in_whole_chunks(size: Vec3, start: Vec3, dtype: str, category: Category) -> None:
    layer = info([(1, 1, 1)], Box.at(start, size), category=category, dtype=dtype)
    for one in missing_levels(layer):
        stage = Stage("", one.level.extent, one.level.chunk_origin, one.task_shape)
        boxes = [stage.box(i) for i in range(stage.count)]
        assert sum(box.voxels for box in boxes) == one.level.extent.voxels
        assert all(one.level.extent.contains(box) for box in boxes)
        assert len({box.start for box in boxes}) == len(boxes)
        side = one.task_shape[0]
        assert (side / CHUNK).is_integer()
        assert all(origin % CHUNK == 0 for origin in one.level.chunk_origin)
        assert side == CHUNK or side**3 * layer.voxel_bytes <= TASK_BYTES
        factors = one.scale.factors
        assert side == CHUNK or side**3 * factors[0] * factors[1] * factors[2] <= TASK_SOURCE_VOXELS


@settings(max_examples=60, deadline=None)
@given(SIZES, STARTS, st.sampled_from(["color", "segmentation"]))
def test_what_was_offered_of_isotropic_voxels_is_what_is_made(size: Vec3, start: Vec3, category: Category) -> None:
    layer = info([(1, 1, 1)], Box.at(start, size), category=category)
    made = {one.level.mag: one.level for one in missing_levels(layer)}
    for scale in mag_scales(layer.levels)[1:]:
        assert made[scale.mag].extent == scale.extent


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.tuples(*[st.integers(60, 140)] * 3),
    STARTS,
    st.sampled_from([(1.0, 1.0, 1.0), (1.0, 1.0, 2.5)]),
)
def test_labels_made_level_by_level_are_those_computed_at_once(
    seed: int, size: Vec3, start: Vec3, voxel_size: Float3
) -> None:
    labels = np.asfortranarray(np.random.default_rng(seed).integers(0, 4, (1, *size)).astype(np.uint32))
    layer = info([(1, 1, 1)], Box.at(start, size), voxel_size, "segmentation", "uint32")
    known = [(layer.levels[0], labels)]
    for one in missing_levels(layer):
        level, voxels = known[one.scale.level]
        made = computed(voxels, level.extent, one.scale.factors, one.level.extent)
        at_once = plan_scale(layer.levels, one.level.mag)
        assert at_once is not None
        assert np.array_equal(made, computed(labels, layer.levels[0].extent, at_once.factors, at_once.extent))
        known.append((one.level, made))


def computed(voxels: Array, extent: Box, factors: Vec3, wanted: Box) -> Array:
    """One level of labels from another, with zeros around what there is."""
    whole = wanted.scaled_up(factors)
    padded = np.zeros((1, *whole.size), voxels.dtype, order="F")
    place = tuple(slice(a - o, b - o) for a, b, o in zip(extent.start, extent.stop, whole.start, strict=True))
    padded[(slice(None), *place)] = voxels
    return downsample(padded, whole.start, factors, extent, "segmentation")
