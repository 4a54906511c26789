"""The catalog in PostgreSQL, as two hosts have it: stores with counters of their own, over one database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.metadata.databases import PostgreSQL
from wkdvid.core.catalog_store import EVERYTHING, SharedCounter
from wkdvid.core.entries import DatasetKey, Document, remove_entry
from wkdvid.errors import ConfigError, DatabaseUnavailable, InvalidRequest
from wkdvid.metadata.catalog import SqlCatalogStore, open_catalog
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.schema import catalog_state

MANY = 20


@pytest.fixture
def engine(postgresql: PostgreSQL) -> Iterator[sa.Engine]:
    url = postgresql.new_database()
    migrate(url)
    opened = open_engine(url)
    yield opened
    opened.dispose()


@pytest.fixture
def hosts(engine: sa.Engine, tmp_path: Path) -> tuple[SqlCatalogStore, SqlCatalogStore]:
    one, two = (SharedCounter(tmp_path / name / "counter") for name in ("one", "two"))
    return SqlCatalogStore(engine, one, catalog_state), SqlCatalogStore(engine, two, catalog_state)


def putting(name: str, **options: object) -> Callable[[Document], None]:
    def put(document: Document) -> None:
        document.setdefault("zarr", {}).setdefault("org", {})[name] = options

    return put


async def test_a_change_is_read_by_both(hosts: tuple[SqlCatalogStore, SqlCatalogStore]) -> None:
    one, two = hosts
    changed = await one.update(putting("b", layers={"z": 1, "a": {"y": 2, "b": 3}}), [])
    await one.update(putting("a"), [])
    assert (changed.generation, one.generation(), two.generation()) == (1, 2, 0)
    await two.refresh()
    assert two.generation() == 2
    read = await two.load()
    # the order in which they came, and that of the members
    assert json.dumps(read.document) == '{"zarr": {"org": {"b": {"layers": {"z": 1, "a": {"y": 2, "b": 3}}}, "a": {}}}}'
    await two.update(putting("b", new=True), [])
    assert list((await one.load()).document["zarr"]["org"].items()) == [("b", {"new": True}), ("a", {})]


async def test_writers_of_all_hosts_lose_nothing(hosts: tuple[SqlCatalogStore, SqlCatalogStore]) -> None:
    writing = [hosts[n % 2].update(putting(f"d{n}"), []) for n in range(MANY)]
    snapshots = await asyncio.gather(*writing)
    assert sorted(snapshot.generation for snapshot in snapshots) == list(range(1, MANY + 1))
    assert (await hosts[0].load()).document["zarr"]["org"].keys() == {f"d{n}" for n in range(MANY)}
    await asyncio.gather(*(store.refresh() for store in hosts for _ in range(MANY)))
    assert [store.generation() for store in hosts] == [MANY, MANY]


async def test_a_change_that_is_refused_changes_nothing(hosts: tuple[SqlCatalogStore, SqlCatalogStore]) -> None:
    one, _ = hosts
    await one.update(putting("a"), [])

    def refuse(document: Document) -> None:
        document.clear()
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await one.update(refuse, ["org/a"])
    read = await one.load()
    assert (read.document, read.generation, read.renewed) == ({"zarr": {"org": {"a": {}}}}, 1, {EVERYTHING: 0})


async def test_what_is_renewed_goes_with_its_dataset(hosts: tuple[SqlCatalogStore, SqlCatalogStore]) -> None:
    one, two = hosts
    for name in ("a", "b"):
        await one.update(putting(name), [f"org/{name}"])
    assert (await two.load()).renewed == {EVERYTHING: 0, "org/a": 1, "org/b": 2}
    await two.update(lambda document: None, [EVERYTHING])

    def remove(document: Document) -> None:
        assert remove_entry(document, DatasetKey("org", "a"))

    assert (await one.update(remove, [])).renewed == {EVERYTHING: 3, "org/b": 2}
    await two.update(putting("a"), [])
    assert (await one.load()).renewed == {EVERYTHING: 3, "org/b": 2}


async def test_what_was_written_by_hand_spoils_nothing_else(
    hosts: tuple[SqlCatalogStore, SqlCatalogStore], engine: sa.Engine
) -> None:
    one, two = hosts
    for name in ("a", "b"):
        await one.update(putting(name), [])
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE catalog SET entry = '{oops' WHERE dataset = 'a'"))
    assert (await two.update(putting("c"), [])).document == {"zarr": {"org": {"a": "{oops", "b": {}, "c": {}}}}


def test_a_file_is_taken_over_once(hosts: tuple[SqlCatalogStore, SqlCatalogStore], tmp_path: Path) -> None:
    path = tmp_path / "datasets.json"
    one, two = hosts
    assert one.fill(path) == 0  # there is none yet
    path.write_text(json.dumps({"zarr": {}}))
    assert one.fill(path) == 0
    path.write_text(json.dumps({"zarr": {"org": {"b": {}, "a": 5}, "odd": 3}, "n5": {"org": {"a": {}}}}))
    assert one.fill(path) == 2
    path.write_text("no JSON, and not read")
    assert two.fill(path) == 0
    read = asyncio.run(two.load())
    assert (read.document, read.generation, two.generation()) == ({"zarr": {"org": {"b": {}, "a": 5}}}, 1, 1)
    asyncio.run(one.update(lambda document: document.clear(), []))
    assert one.fill(path) == 0, "a catalog that was emptied stays empty"


def test_a_counter_that_is_ahead_of_its_database_begins_anew(
    hosts: tuple[SqlCatalogStore, SqlCatalogStore], tmp_path: Path
) -> None:
    """The data directory has been used with another database, or this one comes from a backup."""
    SharedCounter(tmp_path / "one" / "counter").set(1000)
    hosts[0].fill(tmp_path / "none.json")
    assert hosts[0].generation() == 0


async def test_a_database_that_hangs_is_not_waited_for(
    hosts: tuple[SqlCatalogStore, SqlCatalogStore], engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = hosts
    monkeypatch.setattr("wkdvid.metadata.shared_state.ANSWER_S", 0.2)
    with engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE catalog_state IN ACCESS EXCLUSIVE MODE"))
        for asking in (one.refresh(), one.load()):
            with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.2 s"):
                await asking
    monkeypatch.undo()
    await one.refresh()
    assert (await one.load()).document == {}


async def test_a_database_that_does_not_answer_is_asked_once_for_all(tmp_path: Path) -> None:
    store = open_catalog(f"postgresql://user:secret@/db?host={tmp_path}", tmp_path)
    refused = await asyncio.gather(*(store.refresh() for _ in range(MANY)), return_exceptions=True)
    assert {type(error) for error in refused} == {DatabaseUnavailable}
    assert "secret" not in str(refused)
    for asking in (store.load(), store.update(putting("a"), [])):
        with pytest.raises(DatabaseUnavailable, match="the database cannot be used"):
            await asking
    assert store.generation() == 0


async def test_keys_of_accounts_stay_out_of_the_database(
    hosts: tuple[SqlCatalogStore, SqlCatalogStore], tmp_path: Path
) -> None:
    """Those that somebody has put there by hand hold up no other change."""
    one, _ = hosts
    path = tmp_path / "datasets.json"
    document = {"zarr": {"org": {"a": {"layers": {"em": {"credentials": {"private_key": "hush"}}}}}}}
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=r"datasets\.json: org/a: credentials: several servers") as refused:
        one.fill(path)
    assert "hush" not in str(refused.value)
    with pytest.raises(InvalidRequest, match="org/a: credentials: several servers share this catalog"):
        await one.update(putting("a", credentials={"private_key": "hush"}), [])
    await one.update(putting("a", credentials="$KEY"), [])
    with one._engine.begin() as connection:
        connection.execute(sa.text("""UPDATE catalog SET entry = '{"credentials": {}}'"""))
    await one.update(putting("b"), [])
    assert (await one.load()).document["zarr"]["org"] == {"a": {"credentials": {}}, "b": {}}
