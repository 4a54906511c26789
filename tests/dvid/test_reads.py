"""Boxes, slices and scales of every type against the arrays."""

from __future__ import annotations

import itertools
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.dvid.shelf import Shelf, cut, vector, wire_bytes
from tests.volumes import Voxels
from wkdvid.core.geometry import Vec3

TYPES = {
    "ramp": "uint8blk",
    "em16": "uint16blk",
    "em32": "uint32blk",
    "em64": "uint64blk",
    "field": "float32blk",
    "rgb": "rgba8blk",
    "labels": "labelmap",
    "cells": "labelmap",
}
offsets = st.tuples(st.integers(-40, 110), st.integers(-40, 90), st.integers(-40, 80))
sizes = st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40))


def as_sent(name: str, array: Voxels) -> Voxels:
    """A whole volume."""
    if name == "rgb":
        return np.concatenate([array, np.full((*array.shape[:3], 1), 255, np.uint8)], axis=3)
    return array.astype(np.uint64) if TYPES[name] == "labelmap" else array


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=25, deadline=None)
@given(offset=offsets, size=sizes)
def test_a_box_is_the_array_with_zeros_outside(shelf: Shelf, name: str, offset: Vec3, size: Vec3) -> None:
    expected = wire_bytes(cut(as_sent(name, shelf.arrays[name]), offset, size))
    assert shelf.body(f"{name}/raw/0_1_2/{vector(size)}/{vector(offset)}") == expected


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["ramp", "em16"]),
    plane=st.sampled_from([("xy", (0, 1)), ("xz", (0, 2)), ("1_2", (1, 2))]),
    offset=offsets,
    size=st.tuples(st.integers(1, 90), st.integers(1, 60)),
)
def test_a_slice_is_the_array_with_zeros_outside(
    shelf: Shelf, name: str, plane: tuple[str, tuple[int, int]], offset: Vec3, size: tuple[int, int]
) -> None:
    text, axes = plane
    box = [1, 1, 1]
    box[axes[0]], box[axes[1]] = size
    expected = cut(shelf.arrays[name], offset, (box[0], box[1], box[2])).reshape(size).T
    image = Image.open(BytesIO(shelf.body(f"{name}/raw/{text}/{size[0]}_{size[1]}/{vector(offset)}")))
    np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("name", TYPES)
def test_types(shelf: Shelf, name: str) -> None:
    info = shelf.get(f"{name}/info").json()
    assert info["Base"]["TypeName"] == TYPES[name]
    assert info["Extended"]["BlockSize"] == [64, 64, 64]
    size = shelf.arrays[name].shape[:3]
    assert info["Extended"]["MaxPoint"] == [n - 1 for n in size]
    assert info["Extended"]["MaxIndex"] == [(n - 1) // 64 for n in size]


def test_offsets_may_be_negative(shelf: Shelf) -> None:
    info = shelf.get("moved/info").json()["Extended"]
    assert (info["MinPoint"], info["MaxPoint"]) == ([-20, 10, -100], [19, 49, -61])
    assert (info["MinIndex"], info["MaxIndex"]) == ([-1, 0, -2], [0, 0, -1])
    assert shelf.body("moved/raw/0_1_2/40_40_40/-20_10_-100") == wire_bytes(shelf.moved)
    records = shelf.records("moved/specificblocks?blocks=-1,0,-2&compression=uncompressed")
    block = cut(shelf.moved, (-64 + 20, -10, -128 + 100), (64, 64, 64))
    assert records == {(-1, 0, -2): wire_bytes(block)}


def test_an_image_is_halved_under_its_names(shelf: Shelf) -> None:
    assert shelf.get("ramp_1/info").json()["Extended"]["MaxPoint"] == [49, 39, 34]
    assert shelf.get("ramp_1/metadata").json()["Axes"][0]["Resolution"] == 16
    ramp = shelf.arrays["ramp"].astype(int)
    total = np.sum([ramp[x::2, y::2, z::2] for x, y, z in itertools.product((0, 1), repeat=3)], axis=0)
    assert shelf.body("ramp_1/raw/0_1_2/50_40_35/0_0_0") == wire_bytes(((total + 4) // 8).astype(np.uint8))
    assert shelf.error("ramp_2/info") == "invalid data instance name"


def halved(labels: Voxels) -> Voxels:
    """The rule of DVID's lower scales, voxel by voxel: the most frequent that is not 0, the smallest on a tie."""
    out = np.zeros([-(-n // 2) for n in labels.shape], np.uint64)
    for x, y, z in np.ndindex(out.shape):
        found = Counter(labels[2 * x : 2 * x + 2, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2].ravel().tolist())
        del found[0]
        out[x, y, z] = min(found, key=lambda label: (-found[label], label), default=0)
    return out


def test_labels_are_halved_as_dvid_does(shelf: Shelf) -> None:
    once = halved(shelf.arrays["cells"])
    assert shelf.get("cells/info").json()["Extended"]["MaxDownresLevel"] == 1
    assert shelf.body("cells/raw/0_1_2/40_40_30/-2_-3_0?scale=1") == wire_bytes(cut(once, (-2, -3, 0), (40, 40, 30)))
    block = shelf.records("cells/specificblocks?blocks=0,0,0&scale=1&compression=uncompressed")[0, 0, 0]
    assert block == wire_bytes(cut(once, (0, 0, 0), (64, 64, 64)))
    assert shelf.get("cells/label/7_8_9?scale=1").json() == {"Label": int(once[7, 8, 9])}
    assert shelf.error("cells/raw/0_1_2/1_1_1/0_0_0?scale=2") == "scale 2 is not there; scales are 0 to 1"


def test_a_small_labelmap_has_a_second_scale(shelf: Shelf) -> None:
    """Neuroglancer does not show a labelmap whose MaxDownresLevel is 0."""
    assert shelf.get("labels/info").json()["Extended"]["MaxDownresLevel"] == 1


def test_slices_of_labels_and_wide_voxels_carry_every_bit(shelf: Shelf) -> None:
    image = shelf.body("labels/raw/xy/64_64/0_0_40")
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert image[24:26] == bytes([16, 6])  # bits a sample, RGBA
    four = Image.open(BytesIO(shelf.body("em32/raw/xy/20_20/0_0_3")))
    assert four.mode == "RGBA"
    assert np.asarray(four).tobytes() == wire_bytes(shelf.arrays["em32"][:, :, 3:4])


def test_isotropic_is_raw_where_voxels_are_cubes(shelf: Shelf) -> None:
    for box in ("0_1_2/4_3_2/10_20_30", "xz/40_30/1_2_3"):
        assert shelf.body(f"ramp/isotropic/{box}") == shelf.body(f"ramp/raw/{box}")


def test_what_is_not_offered_is_refused_though_raw_is_in_the_cache(shelf: Shelf) -> None:
    for path in ("raw/0_1_2/4_4_4/0_0_0", "raw/xz/8_8/0_0_0"):
        assert shelf.body(f"ramp/{path}")
        assert shelf.error(f"ramp/{path}?roi=x") == 'Can\'t get ROI with name "x": invalid data instance name'


def test_an_isotropic_slice_is_not_the_plain_one_of_the_cache(shelf: Shelf) -> None:
    flat = "/api/node/ffff0001/flat"
    plain = shelf.server.get(f"{flat}/raw/xz/8_8/0_0_0").content
    assert plain != shelf.server.get(f"{flat}/isotropic/xz/8_8/0_0_0").content
    assert plain == shelf.server.get(f"{flat}/raw/xz/8_8/0_0_0").content


def test_labels_at_many_points(shelf: Shelf) -> None:
    cells, random = shelf.arrays["cells"], np.random.default_rng(1)
    points = random.integers(-10, 80, (300, 3)).tolist()
    expected = [int(cut(cells, (x, y, z), (1, 1, 1))[0, 0, 0]) for x, y, z in points]
    assert shelf.get("cells/labels", json=points).json() == expected
    assert shelf.get("cells/mapping", json=[5, 2**64 - 1]).json() == [5, 2**64 - 1]
