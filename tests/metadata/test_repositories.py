"""Repositories in SQLite and in PostgreSQL: what is allowed, who sees it, and who wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.metadata.databases import PostgreSQL
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.geometry import Box
from wkdvid.core.repositories import DataInstance, Repository
from wkdvid.errors import DatabaseUnavailable, InvalidRequest, RequestError, UnsupportedRequest
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.repositories import COUNTER, SqlRepositories, new_uuid
from wkdvid.metadata.schema import repositories_state
from wkdvid.metadata.shared_state import SharedState

WORKERS = 4


@pytest.fixture
def workers(url: str, tmp_path: Path) -> Iterator[Sequence[SqlRepositories]]:
    """Of one host, each with connections and knowledge of its own."""
    engines = [open_engine(url) for _ in range(WORKERS)]
    counters = [SharedCounter(tmp_path / COUNTER) for _ in engines]
    yield [
        SqlRepositories(SharedState(engine, counter, repositories_state))
        for engine, counter in zip(engines, counters, strict=True)
    ]
    for engine in engines:
        engine.dispose()


def instance(name: str = "em", **options: Any) -> DataInstance:
    return DataInstance(name=name, typename="uint8blk", data_uuid=new_uuid(), **options)


async def seen(worker: SqlRepositories, root: str) -> Repository:
    await worker.catch_up()
    return worker.by_root[root]


async def test_every_worker_sees_what_one_has_acknowledged(workers: Sequence[SqlRepositories]) -> None:
    one, *others = workers
    root = await one.create(None, "first", "what it is")
    em, extent = instance(tags={"a": "b"}, settings={"block": 64}), Box((-64, 0, 0), (64, 64, 64))
    await others[0].add_instance(root, em, extent)
    await others[1].annotate(root, "a note", ["a line", "another"])
    await others[2].append_log(root, ["of the repository"])
    assert not any(worker.current for worker in workers)
    for worker in workers:
        repository = await seen(worker, root)
        assert (repository.alias, repository.description) == ("first", "what it is")
        assert repository.nodes[root].note == "a note"
        assert [line.partition("  ")[2] for line in repository.nodes[root].log] == ["a line", "another"]
        assert repository.log[-1].endswith("Z  of the repository")
        found = repository.instances["em"]
        assert (found.tags, found.settings, found.data_uuid) == ({"a": "b"}, {"block": 64}, em.data_uuid)
        assert repository.extent(root, found) == extent


async def test_versions(workers: Sequence[SqlRepositories]) -> None:
    one, two, *_ = workers
    root = await one.create("abcde", "", "")
    with pytest.raises(UnsupportedRequest, match="can't branch an unlocked node"):
        await two.add_child(root, uuid=None, branch=None, note="")
    await one.commit(root, "done", ["the end"])
    for refused in (two.commit(root, None, []), two.annotate(root, "x", [])):
        with pytest.raises(UnsupportedRequest, match="Cannot do post on locked node abcde"):
            await refused
    child = await two.add_child(root, uuid=None, branch=None, note="next")
    for branch in (None, "", "side"):
        if branch == "side":
            await two.add_child(root, uuid="side-1", branch="side", note="")
        with pytest.raises(InvalidRequest, match="branch already exists with given name"):
            await one.add_child(root, uuid=None, branch=branch, note="")
    with pytest.raises(InvalidRequest, match="UUID already exists in datastore"):
        await one.add_child(root, uuid=child, branch="other", note="")
    await one.add_child(root, uuid="v1.0", branch="tag-v1.0", note="", locked=True)
    repository = await seen(one, root)
    assert [node.uuid for node in repository.lineage(child)] == [child, root]
    assert repository.nodes["v1.0"].locked
    assert repository.nodes[root].note == "done"
    assert (repository.head(""), repository.head("side")) == (repository.nodes[child], repository.nodes["side-1"])
    assert [node.uuid for _, node in one.with_uuid_prefix("side")] == ["side-1"]


async def test_a_node_sees_the_extent_of_its_nearest_ancestor(workers: Sequence[SqlRepositories]) -> None:
    one, two, *_ = workers
    root = await one.create(None, "", "")
    data, shared = instance(), instance("shared", versioned=False)
    for made in (data, shared):
        await one.add_instance(root, made)
    version = (await seen(one, root)).nodes[root].version
    await one.set_extent(data.data_uuid, version, Box((0, 0, 0), (8, 8, 8)), grow=True)
    await one.commit(root, None, [])
    child = await one.add_child(root, uuid=None, branch=None, note="")
    later = (await seen(two, root)).nodes[child].version
    for made in (data, shared):
        await two.set_extent(made.data_uuid, later, Box((4, -4, 4), (12, 4, 6)), grow=True)
    with pytest.raises(UnsupportedRequest, match='"extents" of locked node'):
        await two.set_extent(data.data_uuid, version, Box((0, 0, 0), (9, 9, 9)), grow=False)
    repository = await seen(one, root)
    em, all_nodes = repository.instances["em"], repository.instances["shared"]
    assert repository.extent(root, em) == Box((0, 0, 0), (8, 8, 8))
    assert repository.extent(child, em) == Box((0, -4, 0), (12, 8, 8))
    assert repository.extent(root, all_nodes) == repository.extent(child, all_nodes) == Box((4, -4, 4), (12, 4, 6))


async def test_what_is_written_takes_the_place_of_what_was_said(workers: Sequence[SqlRepositories]) -> None:
    one, two, *_ = workers
    root = await one.create(None, "", "")
    data, said = instance(), Box((0, 0, 0), (100, 100, 100))
    await one.add_instance(root, data, said)
    repository = await seen(two, root)
    assert repository.extent(root, repository.instances["em"]) == said
    for n in (1, 2):
        box = Box((n, n, n), (n + 1, n + 1, n + 1))
        await two.set_extent(data.data_uuid, repository.nodes[root].version, box, grow=True)
    repository = await seen(one, root)
    assert repository.extent(root, repository.instances["em"]) == Box((1, 1, 1), (3, 3, 3))


async def winners(changes: Sequence[Coroutine[Any, Any, Any]]) -> int:
    """How many of changes that begin together are carried out; the others are refused."""
    results = await asyncio.gather(*changes, return_exceptions=True)
    refusals = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(refusal, RequestError) for refusal in refusals), refusals
    return len(results) - len(refusals)


async def test_of_those_who_take_the_same_one_wins(workers: Sequence[SqlRepositories]) -> None:
    assert await winners([worker.create("root", "", "") for worker in workers]) == 1
    assert await winners([worker.add_instance("root", instance()) for worker in workers]) == 1
    assert await winners([worker.commit("root", None, []) for worker in workers]) == 1
    kinds: Sequence[Callable[[SqlRepositories, int], Any]] = (
        lambda worker, n: worker.add_child("root", uuid=None, branch=None, note=""),
        lambda worker, n: worker.add_child("root", uuid=None, branch="side", note=""),
        lambda worker, n: worker.add_child("root", uuid="tag", branch=f"tag-{n}", note="", locked=True),
    )
    for kind in kinds:
        assert await winners([kind(worker, n) for n, worker in enumerate(workers)]) == 1
    repository = await seen(workers[0], "root")
    assert (len(repository.nodes), len(repository.instances)) == (4, 1)


async def test_extents_that_grow_together_lose_nothing(workers: Sequence[SqlRepositories]) -> None:
    root = await workers[0].create(None, "", "")
    data = instance()
    await workers[0].add_instance(root, data)
    version = (await seen(workers[0], root)).nodes[root].version
    boxes = [Box((n, n, n), (n + 1, n + 1, n + 1)) for n in range(len(workers))]
    growing = (
        worker.set_extent(data.data_uuid, version, box, grow=True) for worker, box in zip(workers, boxes, strict=True)
    )
    await asyncio.gather(*growing)
    repository = await seen(workers[-1], root)
    assert repository.extent(root, repository.instances["em"]) == Box((0, 0, 0), (WORKERS,) * 3)


async def test_a_database_that_is_down(postgresql: PostgreSQL, tmp_path: Path) -> None:
    """Changes are refused, what is known stays, and it goes on when the database is back."""
    url = postgresql.new_database()
    migrate(url)
    engine = open_engine(url)
    worker = SqlRepositories(SharedState(engine, SharedCounter(tmp_path / COUNTER), repositories_state))
    root = await worker.create(None, "known", "")
    await worker.catch_up()
    postgresql.stop()
    try:
        for asking in (worker.describe(root, "lost", None), worker.look_again()):
            with pytest.raises(DatabaseUnavailable):
                await asking
        await worker.catch_up()
        assert worker.by_root[root].alias == "known"
    finally:
        postgresql.start()
    await worker.look_again()
    await worker.describe(root, "changed", None)
    assert (await seen(worker, root)).alias == "changed"
    engine.dispose()
