"""Share links in SQLite and in PostgreSQL: who sees them, what a token is worth, and clocks that are wrong."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.metadata.databases import PostgreSQL
from wkdvid.core.access import Action, Protected, TokenAuthorizer
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.entries import DatasetKey
from wkdvid.core.links import LinkAuthorizer, Links, is_link
from wkdvid.core.repositories import ORGANIZATION, Repository
from wkdvid.errors import TooLarge
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.links import COUNTER, MOST, SqlLinks
from wkdvid.metadata.schema import audit, share_links, share_links_state
from wkdvid.metadata.shared_state import SharedState

SECRET = "a secret of more than thirty-two bytes"
BRAIN = DatasetKey("lab", "brain")


@contextlib.contextmanager
def worker(url: str, host: Path, secret: str = SECRET) -> Iterator[Links]:
    """Of a host, with connections and knowledge of its own."""
    engine = open_engine(url)
    try:
        yield Links(SqlLinks(SharedState(engine, SharedCounter(host / COUNTER), share_links_state)), secret)
    finally:
        engine.dispose()


@pytest.fixture
def one(url: str, tmp_path: Path) -> Iterator[Links]:
    with worker(url, tmp_path) as links:
        yield links


@pytest.fixture
def other(url: str, tmp_path: Path) -> Iterator[Links]:
    with worker(url, tmp_path) as links:
        yield links


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the clock of the host is ahead."""
    ahead = [0.0]
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead[0])
    return ahead


async def test_every_worker_sees_at_once_what_one_has_acknowledged(one: Links, other: Links) -> None:
    link = await one.make(BRAIN, "em", 7, "ada@lab.org")
    token = one.token(link)
    assert not other.store.current
    assert await other.look_for(token) == link == other.find(token)
    assert await other.all() == [link]
    await other.store.remove(link, "ada@lab.org")
    assert not one.store.current
    assert await one.look_for(token) is None
    assert await one.get(link.id) is None


async def test_other_hosts_see_it_when_it_is_asked_for(postgresql: PostgreSQL, tmp_path: Path) -> None:
    url = postgresql.new_database()
    migrate(url)
    with worker(url, tmp_path / "here") as here, worker(url, tmp_path / "there") as there:
        assert await there.all() == []
        link = await here.make(BRAIN, None, 7, "")
        assert await there.look_for(here.token(link)) == link
        await here.store.remove(link, "")
        await there.store.look_again()  # as a worker of each host does twice a second
        assert await there.look_for(here.token(link)) is None


async def test_a_token_that_is_made_up_is_worth_nothing(one: Links, other: Links, url: str, tmp_path: Path) -> None:
    token = one.token(await one.make(BRAIN, None, 7, ""))
    last = "0" if token[-1] != "0" else "1"
    for made_up in (token[:-1] + last, token.upper(), token + "\n", token[:-1], "", "link-", token.replace("-", "_")):
        assert await other.look_for(made_up) is None
    with worker(url, tmp_path, secret=f"another {SECRET}") as stranger:
        assert await stranger.look_for(token) is None
    assert [is_link(text) for text in (token, token + "0", f" {token}", "link-é", "x")] == [True, *[False] * 4]


async def test_a_link_ends_when_it_expires_whatever_the_clock_does(one: Links, clock: list[float]) -> None:
    link = await one.make(BRAIN, None, 1, "")
    token = one.token(link)
    assert one.find(token) == link
    clock[0] = 86_401.0
    assert one.find(token) is None
    assert await one.look_for(token) is None
    assert await one.all() == []
    clock[0] = -86_401.0
    late = await one.make(BRAIN, None, 0.5, "")  # by a clock that is a day behind: it has expired by now
    assert one.find(one.token(late)) is None
    assert one.find(token) == link  # the clock was wrong when it was ahead


async def test_links_go_with_their_dataset(one: Links, other: Links) -> None:
    gone, stays = await one.make(BRAIN, None, 7, ""), await one.make(DatasetKey("lab", "brain2"), None, 7, "")
    await other.store.remove_all(BRAIN)
    assert await one.all() == [stays]
    assert await one.look_for(one.token(gone)) is None


async def test_a_dataset_has_so_many_links(one: Links, url: str) -> None:
    await one.make(BRAIN, None, 7, "")
    engine = open_engine(url)
    row = {"dataset": str(BRAIN), "layer": None, "made": 0.0, "by": ""}
    with engine.begin() as connection:
        old = [{**row, "id": f"old{i}", "expires": 1.0} for i in range(5)]
        live = [{**row, "id": f"{i:016}", "expires": time.time() + 99} for i in range(MOST - 2)]
        connection.execute(sa.insert(share_links), old + live)
    await one.make(BRAIN, None, 7, "")  # long expired ones do not count, and go
    with pytest.raises(TooLarge, match=f"has {MOST} links"):
        await one.make(BRAIN, None, 7, "")
    await one.make(DatasetKey("lab", "brain2"), None, 7, "ada@lab.org")
    with engine.begin() as connection:
        assert connection.execute(sa.select(share_links.c.id).where(share_links.c.id.startswith("old"))).all() == []
        emails = connection.execute(sa.select(audit.c.email).where(audit.c.action == "make link")).scalars().all()
        assert emails == ["", "", "ada@lab.org"]
    engine.dispose()


async def test_a_link_reads_its_dataset_and_does_nothing_else(one: Links, other: Links) -> None:
    """Nor does it read what anybody may, nor does its maker count for more than they may now."""
    makers = {"ada@lab.org"}

    async def may_share(email: str, dataset: Protected) -> bool:
        return email in makers and dataset.key == ("repos", "root")

    repository = Repository(root="root")  # anything that has a key
    link = await one.make(DatasetKey(ORGANIZATION, "root"), None, 7, "ada@lab.org")
    token = one.token(link)
    for asked in (None, may_share):
        decides = LinkAuthorizer(TokenAuthorizer("admin"), other, asked)
        assert await decides.ask(token, Action.READ, repository)
        assert decides.decide(token, Action.READ, repository) is (True if asked is None else None)
        assert not await decides.ask(token, Action.READ, Repository(root="root2"))
        assert decides.decide(token, Action.READ, Repository(root="root2")) is False
        assert decides.decide(None, Action.READ, Repository(root="root2"))  # which is public
        for action, dataset in ((Action.READ, None), (Action.WRITE, repository), (Action.ADMINISTRATE, None)):
            assert decides.decide(token, action, dataset) is await decides.ask(token, action, dataset) is False
        assert (
            decides.decide("admin", Action.ADMINISTRATE, None) is await decides.ask("admin", Action.WRITE, None) is True
        )
    makers.clear()
    assert not await decides.ask(token, Action.READ, repository)
