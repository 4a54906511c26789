"""Surfaces of voxels are closed and fit each other; files of triangles are what other readers take them for."""

from __future__ import annotations

import DracoPy
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.mesh_files import closed, enclosed, in_order, read_stl
from wkdvid.codecs.surface import CELLS, draco, legacy_fragment, stl_header, stl_triangles, surfaces

SIDES = st.tuples(*[st.integers(1, 6)] * 3)


def surface_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    return np.concatenate([np.zeros((0, 3, 3), np.float32), *surfaces(np.pad(mask, 1))]) - 1


@given(SIDES.flatmap(lambda shape: arrays(bool, shape)))
def test_a_surface_is_closed(mask: npt.NDArray[np.bool_]) -> None:
    found = surface_of(mask)
    assert closed(found)
    assert bool(len(found)) == bool(mask.any())
    if mask.any():
        there = np.argwhere(mask)
        np.testing.assert_array_equal(found.min(axis=(0, 1)), there.min(axis=0) - 0.5)
        np.testing.assert_array_equal(found.max(axis=(0, 1)), there.max(axis=0) + 0.5)
        assert enclosed(found) > 0  # counterclockwise from outside


@given(arrays(bool, (5, 5, 5)), st.integers(1, 3), st.integers(0, 2))
def test_boxes_that_share_a_plane_fit_each_other(mask: npt.NDArray[np.bool_], at: int, axis: int) -> None:
    turned = mask.swapaxes(0, axis)
    moved = np.array([at, 0, 0], np.float32)
    parts = [*surfaces(turned[: at + 1]), *(part + moved for part in surfaces(turned[at:]))]
    whole = list(surfaces(turned))
    none = np.zeros((0, 3, 3))
    np.testing.assert_array_equal(in_order(np.concatenate([none, *parts])), in_order(np.concatenate([none, *whole])))


def test_large_boxes_are_meshed_piece_by_piece() -> None:
    x, y, z = np.indices((2 * CELLS + 9, CELLS + 5, 20))
    mask = (x - CELLS) ** 2 + (y - CELLS) ** 2 + (3 * (z - 10)) ** 2 < (0.9 * CELLS) ** 2
    pieces = list(surfaces(np.pad(mask, 1)))
    assert len(pieces) == 4
    assert closed(np.concatenate(pieces))
    assert enclosed(np.concatenate(pieces)) == pytest.approx(mask.sum(), rel=0.05)


def test_thin_boxes_have_no_surface() -> None:
    for shape in ((1, 5, 5), (5, 1, 5), (5, 5, 1), (1, 1, 1)):
        assert list(surfaces(np.random.default_rng(1).random(shape) < 0.5)) == []


def test_stl_has_normals() -> None:
    triangles = np.array([[[0, 0, 0], [2, 0, 0], [0, 2, 0]], [[1, 1, 1], [1, 1, 1], [3, 1, 1]]], np.float32)
    data = stl_header(2) + stl_triangles(triangles)
    np.testing.assert_array_equal(read_stl(data), triangles)
    assert np.frombuffer(data, "<f4", 3, 84).tolist() == [0, 0, 1]
    assert np.frombuffer(data, "<f4", 3, 134).tolist() == [0, 0, 0]


def test_draco_keeps_sixteen_bits() -> None:
    rng = np.random.default_rng(5)
    vertices, faces = rng.uniform(-5e5, 1e6, (300, 3)).astype("<f4"), rng.permutation(300).reshape(100, 3)
    data = draco(vertices, faces.astype("<u4"))
    assert data == draco(vertices, faces.astype("<u4"))
    mesh = DracoPy.decode(data)
    error = np.abs(in_order(mesh.points[mesh.faces]) - in_order(vertices[faces])).max()
    assert error <= 1.5e6 / 2**17 + 0.1


def test_draco_of_nothing() -> None:
    none = np.zeros((0, 3), np.float32)
    assert draco(none, none.astype("<u4")) == b""
    assert draco(np.zeros((3, 3), "<f4"), np.array([[1, 1, 1]], "<u4")) == b""


@given(st.binary(max_size=200))
def test_what_is_no_legacy_fragment(data: bytes) -> None:
    try:
        vertices, faces = legacy_fragment(data)
    except ValueError:
        return
    assert len(data) == 4 + 12 * (len(vertices) + len(faces))
    assert not faces.size or faces.max() < len(vertices)
