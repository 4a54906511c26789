"""Writers that meet: of one block, of blocks that share coarser ones, and a commit among them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.written.test_volumes import B, check_labels, most_frequent, noise
from tests.written.workers import Worker, workers
from wkdvid.core.geometry import Box
from wkdvid.errors import DatabaseUnavailable, UnsupportedRequest


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Worker]]:
    with workers(tmp_path, 2) as made:
        yield made


async def test_two_writers_of_a_block_never_mix(pair: list[Worker]) -> None:
    root = await pair[0].make("labelmap", max_scale=1)
    boxes = [((0, 0, 0), (2 * B, B, B)), ((B, 0, 0), (2 * B, B, B)), ((0, 0, 0), (3 * B, B, B))]
    for round_ in range(6):
        writes = [
            pair[i % 2].write(root, start, np.full(size, 10 * round_ + i + 1, np.uint64))
            for i, (start, size) in enumerate(boxes)
        ]
        await asyncio.gather(*writes)
        found = await pair[1].read(root, (0, 0, 0), (4 * B, 2 * B, 2 * B))
        for x in range(3):
            assert len(np.unique(found[x * B : (x + 1) * B, :B, :B])) == 1
        assert np.array_equal(await pair[0].read(root, (0, 0, 0), (2 * B, B, B), 1), most_frequent(found))


async def test_the_index_is_that_of_the_last_writer(pair: list[Worker]) -> None:
    root = await pair[0].make("labelmap", indexed=True)
    rng = np.random.default_rng(4)
    for _ in range(6):
        starts = [(B * (i % 3), 8 * (i % 2), 0) for i in range(8)]
        arrays = [rng.integers(0, 5, (2 * B, B, B), np.uint64) for _ in starts]
        await asyncio.gather(*(pair[i % 2].write(root, at, arrays[i]) for i, at in enumerate(starts)))
        found = await pair[1].read(root, (0, 0, 0), (4 * B, 2 * B, B))
        await check_labels(pair[0], root, found)


async def test_a_child_counts_what_it_overwrites(pair: list[Worker]) -> None:
    root = await pair[0].make("labelmap", indexed=True)
    before = np.random.default_rng(4).integers(0, 9, (2 * B, 2 * B, B), np.uint64) << np.uint64(60)
    await pair[0].write(root, (0, 0, 0), before)
    await pair[0].commit(root)
    child, after = await pair[1].child(root), before.copy()
    after[:B, :B] = 0
    after[B + 3 : B + 7] = 2**64 - 1
    await pair[1].write(child, (0, 0, 0), after)
    await check_labels(pair[0], child, after)
    await check_labels(pair[1], root, before)
    assert (await pair[0].index(child)).max_label == 2**64 - 1
    assert (await pair[1].index(root)).max_label == 8 << 60


async def test_writers_of_parts_of_a_block_lose_nothing(pair: list[Worker]) -> None:
    root = await pair[0].make()
    voxels = noise((B, B, B))
    await asyncio.gather(*(pair[x % 2].write(root, (x, 0, 0), voxels[x : x + 1]) for x in range(B)))
    assert np.array_equal(await pair[0].read(root, (0, 0, 0), (B, B, B)), voxels)


async def test_writers_of_neighbours_agree_in_every_scale(pair: list[Worker]) -> None:
    root = await pair[0].make("labelmap", max_scale=3)
    labels = np.random.default_rng(3).integers(0, 3, (4 * B, 4 * B, 4 * B), np.uint64)
    blocks = [(x, y, z) for x in range(0, 4 * B, B) for y in range(0, 4 * B, B) for z in range(0, 4 * B, B)]
    await asyncio.gather(
        *(
            pair[i % 2].write(root, (x, y, z), labels[x : x + B, y : y + B, z : z + B])
            for i, (x, y, z) in enumerate(blocks)
        )
    )
    for scale in range(4):
        side = 4 * B // 2**scale
        assert np.array_equal(await pair[0].read(root, (0, 0, 0), (side, side, side), scale), labels)
        labels = most_frequent(labels)


async def test_a_commit_waits_for_writes_and_none_follows_it(pair: list[Worker]) -> None:
    root = await pair[0].make("labelmap", max_scale=1)
    at = await pair[1].at(root, "v")
    shown: list[np.ndarray] = []
    refused = 0

    async def write(i: int) -> None:
        nonlocal refused
        array = np.full((1, B, B, B), i + 1, np.uint64)
        try:
            await pair[1].volumes.write(*at, Box.at((i % 4 * B, 0, 0), (B, B, B)), array)
        except UnsupportedRequest:
            refused += 1

    async def commit() -> None:
        await asyncio.sleep(0.05)
        await pair[0].commit(root)
        shown.append(await pair[0].read(root, (0, 0, 0), (4 * B, B, B)))

    async def keep_writing() -> None:
        for i in range(60):
            await asyncio.gather(write(i), write(i + 1))

    await asyncio.gather(commit(), keep_writing())
    after = await pair[1].read(root, (0, 0, 0), (4 * B, B, B))
    assert np.array_equal(shown[0], after)
    assert 0 < refused < 120
    halves = np.pad(after, [(0, 0), (0, B), (0, B)])
    assert np.array_equal(await pair[0].read(root, (0, 0, 0), (2 * B, B, B), 1), most_frequent(halves))


async def test_nothing_is_written_while_nobody_knows_whether_the_node_is_committed(pair: list[Worker]) -> None:
    root = await pair[0].make()
    await pair[0].write(root, (0, 0, 0), noise((B, B, B)))
    at = await pair[1].at(root, "v")
    await pair[0].commit(root)
    for worker in pair:
        worker.engine.dispose()
    database = pair[0].folder / "wkdvid.db"
    database.rename(database.with_suffix(".away"))
    with pytest.raises(DatabaseUnavailable, match="may be old"):
        await pair[1].volumes.write(*at, Box((0, 0, 0), (B, B, B)), np.ones((1, B, B, B), np.uint8))
    assert np.array_equal(await pair[1].read(root, (0, 0, 0), (B, B, B)), noise((B, B, B)))


async def test_a_client_that_goes_away_leaves_its_write_whole(pair: list[Worker]) -> None:
    root = await pair[0].make("labelmap", max_scale=2)
    labels = noise((4 * B, 4 * B, 4 * B), "uint64") % 5
    for wait_ms in range(0, 40, 4):
        writing = asyncio.create_task(pair[0].write(root, (0, 0, 0), labels + wait_ms))
        await asyncio.sleep(wait_ms / 1000)
        writing.cancel()
        await asyncio.wait([writing])
        found = await pair[1].read(root, (0, 0, 0), (4 * B, 4 * B, 4 * B))
        coarse = await pair[1].read(root, (0, 0, 0), (2 * B, 2 * B, 2 * B), 1)
        assert np.array_equal(coarse, most_frequent(found))
        assert pair[0].journal.paths() == []
