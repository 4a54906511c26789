"""What pixels slices become."""

from __future__ import annotations

import numpy as np
import pytest
from neuroglancer.segment_colors import hex_string_from_segment_id

from wkdvid.core.geometry import Box
from wkdvid.core.pictures import Tone, paint, segment_colors
from wkdvid.core.volume import Array, LayerInfo, LevelInfo


def info(array: Array) -> LayerInfo:
    size = (array.shape[1], array.shape[2], 1)
    level = LevelInfo(
        mag=(1, 1, 1), extent=Box.at((0, 0, 0), size), chunk_shape=size, chunk_origin=(0, 0, 0), encoding="raw"
    )
    return LayerInfo(
        name="layer",
        category="color",
        dtype=array.dtype,
        num_channels=len(array),
        voxel_size_nm=(1, 1, 1),
        levels=(level,),
        format="test",
    )


def test_segments_have_the_colours_that_neuroglancer_gives_them() -> None:
    ids = np.random.default_rng(1).integers(1, 2**63, 500, dtype=np.uint64) >> np.arange(500, dtype=np.uint64) % 60 + 1
    ids = ids[ids > 0]
    named = [hex_string_from_segment_id(0, segment) for segment in ids]
    expected = np.array([[int(name[i : i + 2], 16) for i in (1, 3, 5)] for name in named])
    assert len(ids) > 400
    assert np.abs(segment_colors(ids) - expected).max() <= 1  # it rounds halves to even
    np.testing.assert_array_equal(segment_colors(np.zeros((2, 3), np.uint32)), np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    ("values", "tone", "pixels"),
    [
        (np.array([0, 50, 150, 255], np.uint8), Tone(50, 150), [0, 0, 255, 255]),
        (np.array([0, 50, 150, 255], np.uint8), Tone(50, 150, inverted=True), [255, 255, 0, 0]),
        (np.array([0, 100, 200, 300], np.uint16), Tone(), [0, 0, 128, 255]),
        (np.array([-1.7e308, 0, 1.7e308, np.nan]), Tone(), [0, 128, 255, 128]),
        (np.array([0, 5e-324, 0, 0]), Tone(0, 0), [0, 0, 0, 0]),
        (np.array([7, 7, 7, 7], np.int64), Tone(), [0, 0, 0, 0]),
    ],
)
def test_values_go_from_black_to_white(values: Array, tone: Tone, pixels: list[int]) -> None:
    array = values.reshape(1, 2, 2)
    assert paint(array, info(array), tone).T.ravel().tolist() == pixels
