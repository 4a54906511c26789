"""Values by keys in SQL, over SQLite and PostgreSQL: what nodes see of each other's, races, what is refused."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.databases import new_database, running_postgresql
from tests.metadata.instances import PARENTS, Values, new_instance
from wkdvid.core.stored_values import KEY_BYTES, Read
from wkdvid.errors import DatabaseUnavailable, InvalidRequest, UnsupportedRequest
from wkdvid.metadata.engine import migrate, open_engine, transaction
from wkdvid.metadata.schema import nodes
from wkdvid.metadata.values import SqlValueStore

KEYS = ["a", "a\x00", "a/b", "b", "ÿ", "\U0001f9e0", "~"]
"""In the order of their bytes but for the last: text would be sorted otherwise by some databases."""
WRITERS = 100


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_database(request, tmp_path_factory.mktemp("db"))


@pytest.fixture(scope="module")
def engine(url: str) -> Iterator[sa.Engine]:
    opened = open_engine(url)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[SqlValueStore]:
    opened = SqlValueStore(open_engine(url))
    yield opened
    opened.close()


@pytest.fixture
def values(engine: sa.Engine, store: SqlValueStore) -> Values:
    return new_instance(engine, store)


def lock(engine: sa.Engine, name: str) -> None:
    with transaction(engine) as connection:
        connection.execute(sa.update(nodes).where(nodes.c.uuid.endswith(name)).values(locked=True))


writes = st.tuples(
    st.sampled_from(list(PARENTS)),
    st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=4), max_size=3),
)


class Model:
    """What the store is compared with: a dictionary for each node."""

    def __init__(self) -> None:
        self.own: dict[str, dict[str, bytes | None]] = {node: {} for node in PARENTS}

    def seen(self, node: str | None) -> dict[str, bytes]:
        seen: dict[str, bytes | None] = {}
        while node is not None:
            seen = self.own[node] | seen
            node = PARENTS[node]
        return {key: value for key, value in seen.items() if value is not None}


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(writes, max_size=8), bounds=st.tuples(st.sampled_from(KEYS), st.none() | st.sampled_from(KEYS)))
def test_a_node_sees_its_own_values_else_its_nearest_ancestors(
    engine: sa.Engine,
    store: SqlValueStore,
    steps: list[tuple[str, dict[str, bytes | None]]],
    bounds: tuple[str, str | None],
) -> None:
    model, values = Model(), new_instance(engine, store)

    async def run() -> None:
        for node, written in steps:
            await values(node).put(written)
            model.own[node] |= written
        for node in PARENTS:
            seen, place = model.seen(node), values(node)
            ordered = sorted(seen, key=str.encode)
            assert await place.keys("", None) == ordered
            assert [item async for item in place.items(KEYS)] == [(key, seen.get(key)) for key in KEYS]
            assert [await place.get(key) for key in KEYS] == [seen.get(key) for key in KEYS]
            first, last = bounds
            inside = [k for k in ordered if first.encode() <= k.encode() <= (last or "\U0010ffff").encode()]
            assert await place.keys(first, last) == inside
            assert await place.keys(first, last, 2) == inside[:2]

    asyncio.run(run())


async def test_what_is_not_versioned_is_one_state_that_committed_nodes_write_too(
    engine: sa.Engine, store: SqlValueStore
) -> None:
    values = new_instance(engine, store, versioned=False)
    await values("leaf").put({"k": b"1"})
    with transaction(engine) as connection:
        connection.execute(sa.update(nodes).values(locked=True))
    await values("side").put({"k": b"2"})
    assert [await values(node).get("k") for node in PARENTS] == [b"2"] * len(PARENTS)


async def test_a_committed_node_is_never_written_to(engine: sa.Engine, values: Values) -> None:
    await values("root").put({"k": b"old"})
    lock(engine, "root")
    for write in (values("root").put({"k": b"new"}), values("root").change(lambda read: {"k": None})):
        with pytest.raises(UnsupportedRequest, match="locked node"):
            await write
    assert await values("root").get("k") == b"old"


async def test_many_values_are_stored_together_or_not_at_all(values: Values) -> None:
    with pytest.raises(InvalidRequest, match=f"a key has 1 to {KEY_BYTES} bytes, this one has {KEY_BYTES + 1}"):
        await values("root").put({"good": b"1", "x" * (KEY_BYTES + 1): b"2"})
    with pytest.raises(InvalidRequest, match="this one has 0"):
        await values("root").put({"good": b"1", "": b"2"})
    assert await values("root").keys("", None) == []
    longest = secrets.token_hex(KEY_BYTES // 2)
    await values("root").put({longest: b"1"})
    assert await values("root").keys("", None) == [longest]


async def test_of_many_writers_each_sees_its_own_whole(values: Values) -> None:
    """Any order is right, but no value is made of two, and what was acknowledged last stays."""
    bodies = [bytes([number]) * 5000 for number in range(WRITERS)]
    acknowledged: list[bytes] = []

    async def write(body: bytes) -> None:
        await values("root").put({"k": body, "l": body})
        acknowledged.append(body)

    await asyncio.gather(*map(write, bodies))
    assert sorted(acknowledged) == bodies
    found = [value async for _, value in values("root").items(["k", "l"])]
    assert found[0] == found[1]
    assert found[0] in bodies
    await write(b"last")
    assert await values("root").get("k") == b"last"


async def test_no_change_is_lost_between_others(values: Values) -> None:
    def count(read: Read) -> dict[str, bytes | None]:
        return {"n": str(int(read(["n"]).get("n", b"0")) + 1).encode()}

    await asyncio.gather(*(values("root").change(count) for _ in range(WRITERS)))
    assert await values("root").get("n") == str(WRITERS).encode()


async def test_another_worker_sees_each_acknowledged_write_at_once(
    url: str, engine: sa.Engine, store: SqlValueStore
) -> None:
    values = new_instance(engine, store)
    other = SqlValueStore(open_engine(url))
    place, theirs = values("leaf"), values("leaf", other)
    for number in range(50):
        await place.put({"k": b"%d" % number})
        assert await theirs.get("k") == b"%d" % number
    other.close()


async def test_a_commit_waits_for_writes_and_writes_for_a_commit(engine: sa.Engine, values: Values) -> None:
    """Whatever was acknowledged is seen, and nothing is written after the commit."""
    written: list[str] = []

    async def write(number: int) -> None:
        try:
            await values("root").put({f"{number:03}": b""})
            written.append(f"{number:03}")
        except UnsupportedRequest:
            pass

    await asyncio.gather(*map(write, range(20)), asyncio.to_thread(lock, engine, "root"), *map(write, range(20, 60)))
    seen = await values("root").keys("", None)
    assert sorted(written) == seen
    with pytest.raises(UnsupportedRequest):
        await values("root").put({"late": b""})


async def test_values_are_read_few_at_a_time(values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkdvid.metadata.values.HELD_BYTES", 1000)
    monkeypatch.setattr("wkdvid.metadata.values.AT_A_TIME", 7)
    bodies: dict[str, bytes | None] = {f"{number:03}": bytes(number * 50) for number in range(40)}
    await values("root").put(bodies)
    wanted = [*bodies, "absent"]
    assert [item async for item in values("leaf").items(wanted)] == [(key, bodies.get(key)) for key in wanted]


async def test_a_database_that_is_gone_is_said_and_not_shown_as_empty() -> None:
    with running_postgresql() as server:
        url = server.new_database()
        migrate(url)
        made = open_engine(url)
        values = SqlValueStore(open_engine(url))
        place = new_instance(made, values)("root")
        await place.put({"k": b"1"})
        assert await place.get("k") == b"1"
        server.stop()
        for asked in (place.get("k"), place.keys("", None), place.put({"k": b"2"})):
            with pytest.raises(DatabaseUnavailable):
                await asked
        server.start()
        assert await place.get("k") == b"1"
        values.close()
        made.dispose()
