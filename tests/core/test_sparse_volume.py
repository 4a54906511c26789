"""The voxels of a label, found through its index: against the whole array, at every scale, within any bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.label_indexes import made_index
from tests.volumes import Voxels, write_precomputed
from wkdvid.codecs.sparse_volume import Runs
from wkdvid.core import sparse_volume
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.label_index import LabelIndex, candidates
from wkdvid.core.layers import Layer, arrange_layers
from wkdvid.core.limits import Limits
from wkdvid.core.reading import Reader
from wkdvid.core.sparse_volume import EVERYWHERE, SparseVolume, within
from wkdvid.errors import TooLarge
from wkdvid.testing.volume_suite import make_backends

SIZE = (200, 90, 150)
START = (-70, 30, -1)
SMALL = Limits(working_bytes=2 * 2 * 64**3 * 8)
"""Two blocks at a time."""


def bodies() -> Voxels:
    """A tube along x, thick cells, and specks."""
    random = np.random.default_rng(6)
    coarse = random.integers(0, 4, [-(-n // 9) for n in SIZE]).astype(np.uint32)
    voxels = np.kron(coarse, np.ones((9, 9, 9), np.uint32))[: SIZE[0], : SIZE[1], : SIZE[2]]
    voxels[:, 20:70, 60:64] = 9
    voxels[random.random(SIZE) < 0.001] = 5
    return voxels


class Shown:
    """One layer with its index, and all its voxels at each scale."""

    def __init__(self, layer: Layer, index: LabelIndex, reader: Reader, scales: list[tuple[Vec3, Voxels]]) -> None:
        self.layer = layer
        self.index = index
        self.reader = reader
        self.scales = scales
        """(start, array (x, y, z)) of each."""

    def wanted(self, label: int, scale: int, bounds: Box) -> set[Vec3]:
        start, voxels = self.scales[scale]
        found = np.argwhere(voxels == label) + np.array(start)
        inside = (found >= np.array(bounds.start)).all(axis=1) & (found < np.array(bounds.stop)).all(axis=1)
        return {(x, y, z) for x, y, z in found[inside].tolist()}

    async def runs(self, label: int, scale: int, bounds: Box, *, exact: bool = True) -> list[Runs]:
        volume = await SparseVolume.find(self.index, self.layer, scale, label, bounds, exact=exact)
        volume.check(self.reader)
        return [part async for part in volume.runs(self.reader)]


@pytest.fixture
async def shown(tmp_path: Path) -> Shown:
    return await show(tmp_path, bodies(), START)


async def show(tmp_path: Path, voxels: Voxels, start: Vec3) -> Shown:
    write_precomputed(tmp_path / "seg", [((1, 1, 1), voxels)], offsets=[start], kind="segmentation")
    options = {"layers": {"seg": {"source": str(tmp_path / "seg")}}}
    backends = make_backends([tmp_path])
    entries, _ = backends.parse({"precomputed": {"lab": {"data": options}}})
    layer = arrange_layers(entries[0], await backends.open_layers(entries[0]))["seg"]
    reader = Reader(SMALL, ThreadPoolExecutor(2))
    scales = [(scale.extent.start, (await reader.read(layer, scale, scale.extent))[0]) for scale in layer.halvings]
    return Shown(layer, made_index(tmp_path / "index", voxels, start), reader, scales)


def voxels_of(runs: Runs) -> list[Vec3]:
    return [(x + i, y, z) for x, y, z, length in runs.tolist() for i in range(length)]


def by_zyx(voxels: list[Vec3]) -> list[Vec3]:
    return sorted(voxels, key=lambda voxel: voxel[::-1])


@pytest.mark.parametrize("scale", [0, 1, 2])
@pytest.mark.parametrize("label", [1, 5, 9, 4])
async def test_all_voxels_in_order_and_joined(shown: Shown, label: int, scale: int) -> None:
    wanted = shown.wanted(label, scale, EVERYWHERE)
    parts = await shown.runs(label, scale, EVERYWHERE)
    assert len(parts) == (1 if wanted else 0)
    for part in parts:
        found = voxels_of(part)
        assert set(found) == wanted
        assert found == by_zyx(found)
        assert len(part) == sum((x - 1, y, z) not in wanted for x, y, z in wanted)


COORDINATE = st.integers(-150, 250)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    label=st.sampled_from([1, 2, 5, 9]),
    scale=st.integers(0, 2),
    low=st.tuples(*[COORDINATE] * 3),
    size=st.tuples(*[st.integers(0, 200)] * 3),
)
async def test_any_bounds(shown: Shown, label: int, scale: int, low: Vec3, size: Vec3) -> None:
    bounds = Box.at(low, size)
    found = [voxel for part in await shown.runs(label, scale, bounds) for voxel in voxels_of(part)]
    assert len(found) == len(set(found))
    assert set(found) == shown.wanted(label, scale, bounds)
    whole = bounds.scaled_down((64, 64, 64)).scaled_up((64, 64, 64)) if bounds.voxels else bounds
    loose = [voxel for part in await shown.runs(label, scale, bounds, exact=False) for voxel in voxels_of(part)]
    assert set(loose) == shown.wanted(label, scale, whole)


@pytest.mark.parametrize("part_runs", [1, 700])
@pytest.mark.parametrize("label", [1, 9])
async def test_a_label_of_many_runs_comes_in_parts_and_is_joined_across_them(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, part_runs: int, label: int
) -> None:
    whole = await shown.runs(label, 0, EVERYWHERE)
    monkeypatch.setattr(sparse_volume, "PART_RUNS", part_runs)
    parts = await shown.runs(label, 0, EVERYWHERE)
    assert len(parts) > 1
    assert min(map(len, parts)) > 0
    assert sorted(map(tuple, np.concatenate(parts).tolist())) == sorted(map(tuple, np.concatenate(whole).tolist()))
    for part in parts:
        assert voxels_of(part) == by_zyx(voxels_of(part))


async def test_of_many_runs_only_those_are_kept_that_may_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slab whose runs all end where its blocks do; none of them goes on in a block that comes later."""
    slab = np.zeros((64, 128, 256), np.uint8)
    slab[60:] = 1
    shown = await show(tmp_path, slab, (0, 0, 0))
    monkeypatch.setattr(sparse_volume, "PART_RUNS", 64 * 64 + 1)
    parts = await shown.runs(1, 0, EVERYWHERE)
    assert {len(part) for part in parts} <= {64 * 64, 2 * 64 * 64}
    assert {voxel for part in parts for voxel in voxels_of(part)} == shown.wanted(1, 0, EVERYWHERE)


async def test_masks_of_whole_blocks(shown: Shown) -> None:
    bounds = Box((-60, 40, 10), (100, 80, 100))
    volume = await SparseVolume.find(shown.index, shown.layer, 0, 9, bounds)
    found: list[Vec3] = []
    async for batch in volume.masks(shown.reader):
        for box, mask in batch:
            whole, origin = volume.whole(box, mask)
            assert whole.shape == (64, 64, 64)
            assert all(n % 64 == 0 for n in origin)
            found += [(x, y, z) for x, y, z in (np.argwhere(whole) + np.array(origin)).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == shown.wanted(9, 0, bounds)


async def test_what_is_read_is_bounded(shown: Shown) -> None:
    volume = await SparseVolume.find(shown.index, shown.layer, 0, 9, EVERYWHERE)
    voxels = shown.layer.halvings[0].extent.voxels
    volume.check(Reader(Limits(request_voxels=voxels), ThreadPoolExecutor(1)))
    with pytest.raises(TooLarge, match=r"limits\.request_voxels"):
        volume.check(Reader(Limits(request_voxels=len(volume.blocks) * 1000), ThreadPoolExecutor(1)))
    coarse = await SparseVolume.find(shown.index, shown.layer, 2, 9, EVERYWHERE)
    coarse.check(Reader(Limits(request_voxels=2 * voxels), ThreadPoolExecutor(1)))
    with pytest.raises(TooLarge, match="4-4-4"):
        coarse.check(Reader(Limits(request_voxels=voxels // 2), ThreadPoolExecutor(1)))


async def test_blocks_of_lower_scales(shown: Shown) -> None:
    entries = await shown.index.entries(9)
    low = candidates(entries, 1)
    assert low.tolist() == sorted(low.tolist(), key=lambda block: block[::-1])
    assert {tuple(block) for block in low.tolist()} == {tuple(block) for block in (entries.blocks >> 1).tolist()}
    assert len(within(entries.blocks, 64, Box((5, 5, 5), (5, 9, 9)))) == 0
    assert within(entries.blocks, 64, Box((-1, 63, 63), (0, 64, 64))).tolist() == [[-1, 0, 0]]
