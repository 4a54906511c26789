"""Regions of interest, against sets of blocks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.volumes import Voxels
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.regions import Spans, contains, extent_of, mask, partition, sorted_spans, spans_of
from wkdvid.errors import TooLarge
from wkdvid.frontends.dvid.raw import _masked

GOLDEN = Path(os.environ["WKDVID_TEST_DATA"]) / "dvid_golden" / "golden.json"
FAR = 2**31 - 1

coordinates = st.integers(-5, 5)
blocks = st.tuples(*[st.integers(1, 4)] * 3)


@st.composite
def regions(draw: st.DrawFn) -> Spans:
    """Also spans that touch and overlap, and none at all."""
    rows = draw(st.lists(st.tuples(coordinates, coordinates, coordinates, st.integers(0, 4)), max_size=12))
    spans = np.array([(z, y, x, x + length) for z, y, x, length in rows], np.int32).reshape(-1, 4)
    return sorted_spans(spans)


def blocks_of(spans: Spans) -> set[Vec3]:
    return {(x, y, z) for z, y, x0, x1 in spans.tolist() for x in range(x0, x1 + 1)}


def inside(spans: Spans, block: Vec3, point: tuple[int, ...]) -> bool:
    x, y, z = (n // side for n, side in zip(point, block, strict=True))
    return (x, y, z) in blocks_of(spans)


@given(spans=regions(), block=blocks, start=st.tuples(*[st.integers(-20, 20)] * 3), size=blocks)
def test_a_mask_says_of_each_voxel_whether_its_block_is_inside(
    spans: Spans, block: Vec3, start: Vec3, size: Vec3
) -> None:
    box = Box.at(start, (size[0] * 3, size[1], size[2]))
    found = mask(spans, block, box)
    assert found.shape == box.size
    assert found.flags.f_contiguous
    points = list(product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True))))
    assert found.reshape(-1).tolist() == [inside(spans, block, point) for point in points]
    assert contains(spans, block, np.array(points)).tolist() == found.reshape(-1).tolist()


@given(spans=regions(), batch=st.integers(1, 5), optimized=st.booleans())
def test_a_partition_covers_each_block_once(spans: Spans, batch: int, optimized: bool) -> None:
    parts = partition(spans, batch, optimized=optimized, most=10_000)
    held = [
        (x, y, z)
        for box, _ in parts
        for x, y, z in product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True)))
    ]
    assert len(held) == len(set(held))
    assert blocks_of(spans) <= set(held)
    for box, count in parts:
        lists = [span for span in spans.tolist() if box.start[2] <= span[0] < box.stop[2]]
        lists = [span for span in lists if box.start[1] <= span[1] < box.stop[1]]
        assert count == sum(box.start[0] <= x < box.stop[0] for _, _, x0, x1 in lists for x in range(x0, x1 + 1)) > 0
        assert max(box.size) <= batch
        assert optimized or box.size == (batch, batch, batch)


def test_a_partition_is_bounded_before_it_is_made() -> None:
    everything = sorted_spans(np.array([[0, 0, -FAR, FAR]], np.int32))
    for optimized in (False, True):
        with pytest.raises(TooLarge, match="use a larger batchsize"):
            partition(everything, 1, optimized=optimized, most=1000)
    corners = sorted_spans(np.array([[-FAR, -FAR, -FAR, -FAR], [FAR, FAR, FAR, FAR]], np.int32))
    assert len(partition(corners, 1, optimized=False, most=1000)) == 2
    assert extent_of(corners) == Box((-FAR,) * 3, (FAR + 1,) * 3)


def test_spans_are_kept_as_bytes() -> None:
    spans = sorted_spans(np.array([[1, 0, 5, 6], [0, 0, 3, 3], [1, 0, 5, 6]], np.int32))
    assert spans_of(spans.tobytes()).tolist() == [[0, 0, 3, 3], [1, 0, 5, 6]]
    assert extent_of(spans_of(b"")).voxels == 0


@pytest.mark.parametrize("name", ["raw-roi", "seg-raw-roi"])
def test_voxels_outside_are_zero_as_in_a_dvid(name: str, medulla: Mapping[str, Voxels]) -> None:
    entries = {entry["id"]: entry for entry in json.loads(GOLDEN.read_text())["entries"]}
    spans = sorted_spans(np.array(json.loads(entries["setup-roi"]["body"]["text"]), np.int32))
    voxels = medulla["grayscale"] if name == "raw-roi" else medulla["bodies"].astype(np.uint64)
    box = Box((0, 0, 0), (128, 128, 64))
    array = np.asfortranarray(voxels[None, :128, :128, :64])
    found = _masked(array, spans, 64, box)
    assert hashlib.sha256(found.T.tobytes()).hexdigest() == entries[name]["expect"]["sha256"]
