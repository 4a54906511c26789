"""Written volumes against a model: an array for each node, which a child begins with a copy of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.volumes import Voxels
from tests.written.workers import Worker, files, workers
from wkdvid.core.geometry import Box, Vec3
from wkdvid.errors import InvalidRequest, UnsupportedRequest

B = 16
LOW, HIGH = -32, 48
"""Of the model, in voxels."""
SIDE = HIGH - LOW


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with workers(tmp_path) as (one,):
        yield one


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 1) -> Voxels:
    if dtype == "float32":
        return np.random.default_rng(seed).normal(size=shape).astype(dtype)
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "float32"])
async def test_what_was_written_is_read(worker: Worker, dtype: str) -> None:
    root = await worker.make(f"{dtype}blk")
    voxels = noise((2 * B, B, 3 * B), dtype)
    await worker.write(root, (-B, B, -2 * B), voxels)
    assert np.array_equal(await worker.read(root, (-B, B, -2 * B), voxels.shape), voxels)
    around = await worker.read(root, (-B - 3, B - 3, -2 * B - 3), (2 * B + 6, B + 6, 3 * B + 6))
    assert np.array_equal(around, np.pad(voxels, 3))
    layer = await worker.layer(root)
    found = await layer.volume.read(0, Box.at((-B, B, -2 * B), (2 * B, B, 3 * B)))
    assert found.flags.f_contiguous
    assert not layer.lasting


async def test_channels_are_interleaved(worker: Worker) -> None:
    root = await worker.make("rgba8blk")
    voxels = noise((B, B, B, 4))
    await worker.write(root, (0, 0, 0), voxels)
    assert np.array_equal(await worker.read(root, (0, 0, 0), (B, B, B)), voxels)


async def test_zeros_replace_what_an_ancestor_has(worker: Worker) -> None:
    root = await worker.make()
    await worker.write(root, (0, 0, 0), noise((B, B, B)))
    await worker.commit(root)
    child = await worker.child(root)
    await worker.write(child, (0, 0, 0), np.zeros((B, B, B), np.uint8))
    assert not (await worker.read(child, (0, 0, 0), (B, B, B))).any()
    assert (await worker.read(root, (0, 0, 0), (B, B, B))).all()


async def test_a_version_costs_only_what_is_written_to_it(worker: Worker, tmp_path: Path) -> None:
    root = await worker.make()
    await worker.write(root, (0, 0, 0), noise((4 * B, 4 * B, B)))
    assert len(files(tmp_path)) == 16
    await worker.commit(root)
    child = await worker.child(root)
    await worker.write(child, (B, 0, 0), noise((B, B, B), seed=2))
    await worker.commit(child)
    grandchild = await worker.child(child)
    assert len(files(tmp_path)) == 17
    read = await worker.read(grandchild, (0, 0, 0), (4 * B, 4 * B, B))
    expected = noise((4 * B, 4 * B, B))
    expected[B : 2 * B, :B] = noise((B, B, B), seed=2)
    assert np.array_equal(read, expected)
    assert len(files(tmp_path)) == 17


async def test_an_unversioned_instance_has_one_state(worker: Worker) -> None:
    root = await worker.make(versioned=False)
    await worker.commit(root)
    child = await worker.child(root)
    await worker.write(child, (0, 0, 0), noise((B, B, B)))
    await worker.write(root, (B, 0, 0), noise((B, B, B), seed=2))
    for uuid in (root, child):
        assert np.array_equal(await worker.read(uuid, (0, 0, 0), (B, B, B)), noise((B, B, B)))
        assert np.array_equal(await worker.read(uuid, (B, 0, 0), (B, B, B)), noise((B, B, B), seed=2))
    assert not (await worker.layer(root)).lasting


async def test_extents_grow_with_what_is_written(worker: Worker) -> None:
    root = await worker.make()
    await worker.write(root, (B, 0, 0), noise((B, B, B)))
    await worker.write(root, (-B, 3 * B, 0), noise((B, B, B)))
    repository, _, instance = await worker.at(root, "v")
    assert repository.extent(root, instance) == Box((-B, 0, 0), (2 * B, 4 * B, B))
    generation = worker.repositories.generation
    await worker.write(root, (0, B, 0), noise((B, B, B)))
    await worker.repositories.catch_up()
    assert worker.repositories.generation == generation


async def test_what_is_written_first_takes_the_place_of_the_extent_that_was_said(worker: Worker) -> None:
    root = await worker.make(said=Box((0, 0, 0), (4 * B, 4 * B, 4 * B)))
    await worker.write(root, (B, B, B), noise((B, B, B)))
    repository, _, instance = await worker.at(root, "v")
    assert repository.extent(root, instance) == Box((B, B, B), (2 * B, 2 * B, 2 * B))
    await worker.write(root, (4 * B, 0, 0), noise((B, B, B)))
    repository, _, instance = await worker.at(root, "v")
    assert repository.extent(root, instance) == Box((B, 0, 0), (5 * B, 2 * B, 2 * B))


@pytest.mark.parametrize("start", [(-(2**31), 0, 0), (2**31 - B, -(2**31), 2**31 - B)])
async def test_the_whole_range_of_coordinates(worker: Worker, start: Vec3) -> None:
    root = await worker.make("labelmap", max_scale=2)
    voxels = noise((B, B, B), "uint64")
    await worker.write(root, start, voxels)
    assert np.array_equal(await worker.read(root, start, (B, B, B)), voxels)
    assert (await worker.read(root, tuple(n // 4 for n in start), (4, 4, 4), scale=2)).all()  # type: ignore[arg-type]


async def test_beyond_the_range_of_coordinates(worker: Worker) -> None:
    root = await worker.make()
    with pytest.raises(InvalidRequest, match="coordinates go from"):
        await worker.write(root, (2**31 - B, 0, 0), noise((2 * B, B, B)))
    assert not (await worker.read(root, (2**31 - 4, 0, 0), (B, 4, 4))).any()


async def test_nothing_is_written_to_a_committed_node(worker: Worker) -> None:
    root = await worker.make()
    at = await worker.at(root, "v")
    await worker.commit(root)
    with pytest.raises(UnsupportedRequest, match="locked node"):
        await worker.volumes.write(*at, Box((0, 0, 0), (B, B, B)), np.ones((1, B, B, B), np.uint8))
    assert not (await worker.read(root, (0, 0, 0), (B, B, B))).any()
    assert (await worker.layer(root)).lasting


# ---- against the model --------------------------------------------------------------------------------------------

corners = st.tuples(*[st.integers(LOW, HIGH - 1)] * 3)
sizes = st.tuples(*[st.integers(1, 40)] * 3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 9), corners, sizes),
        st.tuples(st.just("read"), st.integers(0, 9), corners, sizes),
        st.tuples(st.just("branch"), st.integers(0, 9), corners, sizes),
    ),
    min_size=1,
    max_size=12,
)


class Model:
    """What every node is to show."""

    def __init__(self, root: str) -> None:
        self.arrays: dict[str, Voxels] = {root: np.zeros((SIDE, SIDE, SIDE), np.uint64)}
        self.open = [root]

    def part(self, uuid: str, box: Box) -> Voxels:
        x, y, z = (slice(a - LOW, b - LOW) for a, b in zip(box.start, box.stop, strict=True))
        part: Voxels = self.arrays[uuid][x, y, z]
        return part


async def replay(folder: Path, script: list[tuple[str, int, Vec3, Vec3]]) -> None:
    bounds = Box((LOW, LOW, LOW), (HIGH, HIGH, HIGH))
    with workers(folder, 2) as pair:
        root = await pair[0].make("labelmap", max_scale=2, indexed=True)
        model = Model(root)
        for count, (what, which, corner, size) in enumerate(script):
            box = Box.at(corner, size).intersect(bounds)
            assert box is not None
            one, other = pair[count % 2], pair[(count + 1) % 2]
            uuids = list(model.arrays)
            if what == "read":
                uuid = uuids[which % len(uuids)]
                assert np.array_equal(await one.read(uuid, box.start, box.size), model.part(uuid, box))
            elif what == "write":
                uuid = model.open[which % len(model.open)]
                voxels = np.random.default_rng(count).integers(0, 4, box.size, np.uint64)
                await one.write(uuid, box.start, voxels)
                model.part(uuid, box)[:] = voxels
                assert np.array_equal(await other.read(uuid, box.start, box.size), voxels)
            else:
                uuid = uuids[which % len(uuids)]
                if uuid in model.open:
                    await one.commit(uuid)
                    model.open.remove(uuid)
                child = await other.child(uuid, f"b{count}")
                model.arrays[child] = model.arrays[uuid].copy()
                model.open.append(child)
        for uuid, array in model.arrays.items():
            await check_scales(pair[0], uuid, array)
            await check_labels(pair[1], uuid, array, LOW)


async def check_scales(worker: Worker, uuid: str, array: Voxels) -> None:
    """Every scale of all that a node shows."""
    for scale in range(3):
        start, side = LOW // 2**scale, SIDE // 2**scale
        assert np.array_equal(await worker.read(uuid, (start, start, start), (side, side, side), scale), array)
        array = most_frequent(array)


async def check_labels(worker: Worker, uuid: str, array: Voxels, start: int = 0) -> None:
    """What the index says of all that a node shows.

    Args:
        array: (x, y, z), in whole blocks.
        start: Of it, in voxels.
    """
    index = await worker.index(uuid)
    labels, sizes = await index.listing(0, 1 << 20)
    wanted, counts = np.unique(array[array > 0], return_counts=True)
    assert np.array_equal(labels, wanted)
    assert np.array_equal(sizes, counts)
    for label in wanted.tolist():
        entries = await index.entries(label)
        whole = np.zeros([n // B for n in array.shape], np.uint32)
        whole[tuple((entries.blocks - start // B).T)] = entries.counts
        x, y, z = whole.shape
        assert np.array_equal(whole, (array == label).reshape(x, B, y, B, z, B).sum(axis=(1, 3, 5)))
    assert not len(wanted) or int(wanted[-1]) <= (index.max_label or 0)


def most_frequent(labels: Voxels) -> Voxels:
    """Of 2 x 2 x 2 the most frequent label that is not 0, the smallest on a tie, 0 if all are 0; by counting each."""
    x, y, z = (n // 2 for n in labels.shape)
    eights = labels.reshape(x, 2, y, 2, z, 2).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8)
    best, most = np.zeros(len(eights), labels.dtype), np.zeros(len(eights), int)
    for label in np.unique(labels):
        count = (eights == label).sum(1)
        better = (count > most) & (label != 0)
        best[better], most[better] = label, count[better]
    return best.reshape(x, y, z)


@settings(max_examples=8)
@given(script=steps)
def test_nodes_show_what_the_model_does(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int, Vec3, Vec3]]
) -> None:
    asyncio.run(replay(tmp_path_factory.mktemp("model"), script))
