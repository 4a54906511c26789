"""The index of written labels in SQL, over SQLite and PostgreSQL: what nodes see, in pages, races, what is too much."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.databases import new_database
from wkdvid.core import label_index
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.geometry import Vec3
from wkdvid.core.label_index import LabelIndex, pages
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.written_labels import Counts
from wkdvid.core.written_volumes import VoxelSettings
from wkdvid.errors import DatabaseUnavailable, TooLarge
from wkdvid.metadata import label_blocks
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.label_blocks import SqlWrittenLabels
from wkdvid.metadata.repositories import COUNTER, SqlRepositories
from wkdvid.metadata.schema import repositories_state
from wkdvid.metadata.shared_state import SharedState

Voxels: TypeAlias = dict[int, int]
"""Voxels of each label of a block."""

LABELS = [1, 2, 2**63 - 1, 2**63, 2**64 - 1]
FAR = 2**31 // 8
"""Of blocks: the smallest have 8 voxels a side."""
BLOCKS: list[Vec3] = [(0, 0, 0), (1, 0, 0), (-1, 2, -3), (-FAR, FAR - 1, 0), (0, -FAR, FAR - 1)]
PARENTS = {"root": None, "child": "root", "side": "root", "leaf": "child"}
SETTINGS = VoxelSettings(dtype="uint64", num_channels=1, block=64, voxel_size=(8, 8, 8), compression="", indexed=True)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_database(request, tmp_path_factory.mktemp("db"))


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[SqlWrittenLabels]:
    opened = SqlWrittenLabels(open_engine(url))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def state(url: str, store: SqlWrittenLabels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedState]:
    engine, counter = open_engine(url), SharedCounter(tmp_path_factory.mktemp("state") / COUNTER)
    yield SharedState(engine, counter, repositories_state)
    engine.dispose()


class Tree:
    """A labelmap in a repository of its own, of the nodes of ``PARENTS``."""

    def __init__(self, state: SharedState, store: SqlWrittenLabels) -> None:
        self.store = store
        self.repositories = SqlRepositories(state)
        self.name = secrets.token_hex(16)
        self.uuids: dict[str, str] = {}

    async def grow(self, *, versioned: bool = True) -> Tree:
        data = {"typename": "labelmap", "versioned": versioned, "settings": asdict(SETTINGS)}
        for node, parent in PARENTS.items():
            if parent is None:
                self.uuids[node] = await self.repositories.create(None, "", "")
                made = DataInstance(name="seg", data_uuid=self.name, **data)  # type: ignore[arg-type]
                await self.repositories.add_instance(self.uuids[node], made)
            else:
                at = self.uuids[parent]
                self.uuids[node] = await self.repositories.add_child(at, uuid=None, branch=node, note="", locked=True)
            if parent is None:
                await self.repositories.commit(self.uuids[node], None, [])
        await self.repositories.catch_up()
        return self

    def at(self, node: str) -> tuple[Repository, Node, DataInstance]:
        found = self.repositories.with_uuid(self.uuids[node])
        assert found is not None
        return (*found, found[0].instances["seg"])

    def index(self, node: str) -> LabelIndex:
        return self.store.at(*self.at(node))

    async def put(self, node: str, blocks: Mapping[Vec3, Voxels]) -> None:
        await self.store.put(*self.at(node), {index: counted(voxels) for index, voxels in blocks.items()})


def counted(voxels: Voxels) -> Counts:
    return np.array(sorted(voxels), np.uint64), np.array([voxels[label] for label in sorted(voxels)], np.uint32)


async def tree(state: SharedState, store: SqlWrittenLabels, *, versioned: bool = True) -> Tree:
    return await Tree(state, store).grow(versioned=versioned)


async def told(index: LabelIndex) -> dict[int, dict[Vec3, int]]:
    """All that an index knows, by label; every question is asked, and the answers agree."""
    found = {}
    async for labels, sizes in pages(index, 0, 1 << 64):
        assert (await index.sizes(labels)).tolist() == sizes.tolist()
        for label, size in zip(labels.tolist(), sizes.tolist(), strict=True):
            entries = await index.entries(label)
            assert entries.voxels == size
            blocks = [(x, y, z) for x, y, z in entries.blocks.tolist()]
            assert blocks == sorted(blocks, key=lambda block: block[::-1])
            found[label] = dict(zip(blocks, entries.counts.tolist(), strict=True))
    assert list(found) == sorted(found)
    return found


blocks = st.dictionaries(st.sampled_from(LABELS), st.integers(1, 128**3), max_size=4)
writes = st.tuples(st.sampled_from(list(PARENTS)), st.dictionaries(st.sampled_from(BLOCKS), blocks, max_size=3))


def by_label(own: Mapping[str, Mapping[Vec3, Voxels]], node: str | None) -> dict[int, dict[Vec3, int]]:
    """What a node is to see."""
    seen: dict[Vec3, Voxels] = {}
    while node is not None:
        seen = {**own[node], **seen}
        node = PARENTS[node]
    found: defaultdict[int, dict[Vec3, int]] = defaultdict(dict)
    for index, voxels in seen.items():
        for label, count in voxels.items():
            found[label][index] = count
    return found


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(writes, max_size=8))
def test_a_node_sees_its_own_blocks_else_its_nearest_ancestors(
    state: SharedState, store: SqlWrittenLabels, steps: list[tuple[str, dict[Vec3, Voxels]]]
) -> None:
    own: dict[str, dict[Vec3, Voxels]] = {node: {} for node in PARENTS}

    async def run() -> None:
        made = await tree(state, store)
        for node, written in sorted(steps, key=lambda step: list(PARENTS).index(step[0])):
            await made.put(node, written)
            own[node] |= written
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(label_blocks, "READ_TOGETHER", 2)
            patch.setattr(label_blocks, "AT_A_TIME", 2)
            patch.setattr(label_index, "PAGE", 2)
            for node in PARENTS:
                assert await told(made.index(node)) == by_label(own, node)

    asyncio.run(run())


async def test_sizes_in_any_order(state: SharedState, store: SqlWrittenLabels) -> None:
    index = (await tree(state, store)).index("leaf")
    assert (await index.sizes([7, 0, 7])).tolist() == [0, 0, 0]
    made = await tree(state, store)
    await made.put("root", {(0, 0, 0): {7: 5, 2**63: 1}, (3, 0, 0): {7: 2}})
    assert (await made.index("leaf").sizes([2**63, 0, 7, 8, 7])).tolist() == [1, 0, 7, 0, 7]
    assert (await made.index("leaf").sizes([])).tolist() == []
    labels, voxels = await made.index("leaf").listing(8, 5)
    assert (labels.tolist(), voxels.tolist()) == ([2**63], [1])
    assert (await made.index("leaf").listing(1 << 64, 5))[0].tolist() == []


async def test_what_is_not_versioned_is_one_state(state: SharedState, store: SqlWrittenLabels) -> None:
    made = await tree(state, store, versioned=False)
    await made.put("leaf", {(0, 0, 0): {1: 10, 2: 10}})
    await made.put("side", {(0, 0, 0): {2: 20}})
    for node in PARENTS:
        assert await told(made.index(node)) == {2: {(0, 0, 0): 20}}


async def test_two_instances_have_nothing_in_common(state: SharedState, store: SqlWrittenLabels) -> None:
    one, other = await tree(state, store), await tree(state, store)
    await one.put("root", {(0, 0, 0): {1: 10}})
    await other.put("root", {(0, 0, 0): {}})
    assert await told(one.index("root")) == {1: {(0, 0, 0): 10}}
    assert await told(other.index("root")) == {}


async def test_writers_of_different_blocks_lose_nothing(url: str, state: SharedState, store: SqlWrittenLabels) -> None:
    made = await tree(state, store)
    await made.put("root", {(x, 0, 0): {1: 1, 2: 1} for x in range(40)})
    other = SqlWrittenLabels(open_engine(url))
    try:
        await asyncio.gather(
            *(
                through.put(*made.at("leaf"), {(x, 0, 0): counted({2: 2 + x, 3: 5})})
                for x, through in enumerate([store, other] * 20)
            )
        )
    finally:
        other.close()
    found = await told(made.index("leaf"))
    assert found == {2: {(x, 0, 0): 2 + x for x in range(40)}, 3: {(x, 0, 0): 5 for x in range(40)}}


async def test_many_labels_are_stored_in_several_transactions(
    state: SharedState, store: SqlWrittenLabels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_blocks, "TOGETHER", 5)
    made = await tree(state, store)
    await made.put("root", {(x, 0, 0): dict.fromkeys(range(1, 2 + x), 1) for x in range(9)})
    assert (await made.index("root").sizes(range(1, 11))).tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


async def test_a_label_in_too_many_blocks(
    state: SharedState, store: SqlWrittenLabels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_blocks, "MAX_ENTRIES", 3)
    made = await tree(state, store)
    await made.put("root", {(x, 0, 0): {1: 1, **({2: 1} if x else {})} for x in range(4)})
    assert len(await made.index("root").entries(2)) == 3
    with pytest.raises(TooLarge, match="label 1 is in more than 3 blocks"):
        await made.index("root").entries(1)


async def test_the_largest_label_never_shrinks(state: SharedState, store: SqlWrittenLabels) -> None:
    made = await tree(state, store)
    _, node, instance = made.at("child")
    for label in (2**63 + 1, 7, 2**64 - 1, 2**63):
        await made.repositories.raise_max_label(instance.data_uuid, node.version, label)
    await made.repositories.raise_max_label(instance.data_uuid, made.at("root")[1].version, 7)
    generation = made.repositories.generation
    await made.repositories.catch_up()
    assert made.repositories.generation > generation
    assert {node: made.index(node).max_label for node in PARENTS} == {
        "root": 7,
        "child": 2**64 - 1,
        "side": 7,
        "leaf": 2**64 - 1,
    }


async def test_a_database_that_cannot_be_used(state: SharedState, store: SqlWrittenLabels, tmp_path: Path) -> None:
    made = await tree(state, store)
    broken = SqlWrittenLabels(open_engine(f"sqlite:///{tmp_path}/empty.db"))
    try:
        with pytest.raises(DatabaseUnavailable):
            await broken.put(*made.at("root"), {(0, 0, 0): counted({1: 1})})
        with pytest.raises(DatabaseUnavailable):
            await broken.at(*made.at("root")).sizes([1])
    finally:
        broken.close()
