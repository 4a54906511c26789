from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkdvid.client import InvalidSelection
from wkdvid.client.slicing import piece_shape, pieces, select, size_of

SHAPE = (3, 7, 5, 6)


@st.composite
def keys(draw: st.DrawFn) -> tuple[Any, ...]:
    """Coordinates inside ``SHAPE``, for some of its axes."""
    parts: list[Any] = []
    for n in SHAPE[: draw(st.integers(0, 4))]:
        start, step = draw(st.integers(0, n - 1)), draw(st.sampled_from((None, 1, 2, 9)))
        stop = draw(st.integers(start + 1, n))
        parts.append(draw(st.sampled_from((start, slice(start, stop, step), slice(None, stop), slice(None)))))
    return (*parts, ...) if draw(st.booleans()) else tuple(parts)


@given(keys())
def test_what_is_selected_is_what_numpy_selects(key: tuple[Any, ...]) -> None:
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    found = select(key, "cxyz", SHAPE)
    box = array[tuple(slice(a, b) for a, b in zip(found.start, found.stop, strict=True))]
    assert np.array_equal(box[found.index], array[key])
    assert (box.shape, found.shape) == (found.size, array[key].shape)
    assert found.size[0] == SHAPE[0]
    assert found.is_dense == (box.size == array[key].size)


def test_boxes_without_an_end_need_one() -> None:
    with pytest.raises(InvalidSelection, match="no voxels yet"):
        select(..., "cxyz", (1, None, None, None))
    found = select((slice(None), slice(2, 5), 3, slice(-4, 4)), "cxyz", (4, None, None, None))
    assert (found.start, found.stop, found.shape, found.is_dense) == ((0, 2, 3, -4), (4, 5, 4, 4), (4, 3, 8), True)
    assert not select((slice(1, 4),), "cxyz", (4, 2, 2, 2)).is_dense
    assert not select((slice(None), slice(0, 2, 2)), "cxyz", (4, 2, 2, 2)).is_dense


boxes = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(1, 30), st.integers(1, 16), st.integers(-9, 9)), min_size=1, max_size=3
)


@given(boxes)
def test_pieces_are_the_box(axes: list[tuple[int, int, int, int]]) -> None:
    start, size, shape, origin = (tuple(values) for values in zip(*axes, strict=True))
    stop = tuple(a + n for a, n in zip(start, size, strict=True))
    count = np.zeros(size, int)
    for piece in pieces(start, stop, shape, origin):
        count[piece.index] += 1
        assert size_of(piece.start, piece.stop) == count[piece.index].shape
        for a, b, step, o in zip(piece.start, piece.stop, shape, origin, strict=True):
            assert (a - o) // step == (b - 1 - o) // step
    assert (count == 1).all()


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(1, 5000)), min_size=3, max_size=3), st.integers(1, 2**20))
def test_a_piece_is_whole_blocks_and_not_too_large(axes: list[tuple[int, int]], most: int) -> None:
    block, size = (tuple(values) for values in zip(*axes, strict=True))
    shape = piece_shape(block, size, most)
    assert all(n % b == 0 for n, b in zip(shape, block, strict=True))
    assert np.prod(shape) <= most or shape == block
    assert all(n < 2 * s or n == b for n, s, b in zip(shape, size, block, strict=True))
