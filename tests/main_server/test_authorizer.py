"""What the main server says is asked once, kept for two minutes, and honoured for one more when it is silent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.main_server.datastores import KEY, calls, datastore
from wkdvid.core.access import Action
from wkdvid.core.entries import DatasetKey
from wkdvid.core.services import Services
from wkdvid.errors import NotFound, NotShown
from wkdvid.main_server import authorizer as authorizer_module
from wkdvid.main_server import client as client_module
from wkdvid.main_server import dataset_ids as dataset_ids_module
from wkdvid.main_server.authorizer import GRACE_S, KEPT_S, PAUSE_S
from wkdvid.main_server.client import MainServerUnavailable
from wkdvid.testing.webknossos import Generation, MainServer
from wkdvid.testing.webknossos.requests import json_reply

BRAIN = DatasetKey("lab", "brain")
UNLISTED = DatasetKey("elsewhere", "brain")


@pytest.fixture
def main() -> Iterator[MainServer]:
    with MainServer(key=KEY) as server:
        server.state.organizations = frozenset({"lab"})
        server.add_user("alice", reads=["lab/brain"])
        server.add_user("boss", is_admin=True)
        yield server


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed_s = 0.0
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + self.passed_s)
        monkeypatch.setattr(authorizer_module, "time", clock)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(client_module, "PAUSES_S", (0.01, 0.02))
    return Clock(monkeypatch)


def at_once(services: Services, token: str | None) -> bool | None:
    return services.authorizer.decide(token, Action.READ, services.catalog.find(BRAIN))


async def may(services: Services, token: str | None) -> bool:
    return await services.authorizer.ask(token, Action.READ, services.catalog.find(BRAIN))


async def test_a_grant_is_kept_and_then_asked_for_again(main: MainServer, data: Path, clock: Clock) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        assert at_once(services, "alice") is None
        assert await may(services, "alice")
        assert at_once(services, "alice") is True
        assert not await may(services, "mallory")
        assert at_once(services, "mallory") is False
        main.state.users.clear()
        clock.passed_s = KEPT_S - 1
        assert at_once(services, "alice") is True
        clock.passed_s = KEPT_S + 1
        assert at_once(services, "alice") is at_once(services, "mallory") is None
        assert not await may(services, "alice")


@pytest.mark.parametrize("fault", ["down", "page", "status"])
async def test_the_last_grant_counts_for_a_minute_while_there_is_no_answer(
    main: MainServer, data: Path, clock: Clock, fault: str
) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        assert await may(services, "alice")
        assert not await may(services, "mallory")
        setattr(main.faults, fault, 503 if fault == "status" else True)
        clock.passed_s = KEPT_S + 1
        assert await may(services, "alice")
        assert at_once(services, "alice") is True
        with pytest.raises(MainServerUnavailable):
            await may(services, "mallory")
        with pytest.raises(MainServerUnavailable):
            await may(services, "carol")
        clock.passed_s = KEPT_S + GRACE_S + 1
        with pytest.raises(MainServerUnavailable):
            await may(services, "alice")
        setattr(main.faults, fault, None if fault == "status" else False)
        clock.passed_s += PAUSE_S + 1
        assert await may(services, "alice")


async def test_a_silent_main_server_is_not_asked_for_each_request(main: MainServer, data: Path, clock: Clock) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        main.faults.down = True
        before = len(main.requests)
        for _ in range(9):
            with pytest.raises(MainServerUnavailable):
                await may(services, "alice")
        assert len(main.requests) <= before + 3
        main.faults.down = False
        for _ in range(9):  # these do not put it off
            clock.passed_s += PAUSE_S / 20
            with pytest.raises(MainServerUnavailable):
                await may(services, "alice")
        clock.passed_s += PAUSE_S
        assert await may(services, "alice")


async def test_many_who_ask_the_same_are_one_question(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        before = calls(main, "validateUserAccess")
        assert await asyncio.gather(*(may(services, "alice") for _ in range(64))) == [True] * 64
        assert calls(main, "validateUserAccess") == before + 1
        ids = await asyncio.gather(*(services.find_by_id(main.dataset_id("lab/brain")) for _ in range(64)))
        assert {dataset.key for dataset in ids if dataset} == {BRAIN}
        assert len([r for r in main.requests if "/datasources/" in r.path]) <= 1


async def test_the_id_of_a_dataset_is_known_while_the_main_server_is_silent(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        ident = main.dataset_id("lab/brain")
        assert await services.find_by_id(ident)
        await services.registrar.reload(None)  # what was asked for does not count any more
        main.faults.down = True
        assert await services.find_by_id(ident) is services.catalog.find(BRAIN)
        assert services.main_server.known_name(ident) == BRAIN
        with pytest.raises(MainServerUnavailable):
            await services.find_by_id("0" * 24)
        main.faults.down = False
        main.state.rows.clear()
        await services.registrar.reload(None)
        assert await services.find_by_id(ident) is None


async def test_who_goes_away_does_not_end_the_question(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        main.faults.delay_s = 0.3
        first, second = (asyncio.create_task(may(services, "alice")) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        assert await second


async def test_the_oldest_servers_are_asked_by_name(
    main: MainServer, data: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_ids_module, "UNKNOWN_S", 0.01)
    main.state.generation = Generation.CONNECT
    async with datastore(main, data) as services:
        await services.main_server.report()
        assert await may(services, "alice")
        assert not await may(services, "mallory")
        for token, granted in (("boss", True), ("alice", False)):
            assert await services.authorizer.ask(token, Action.ADMINISTRATE, None) is granted
        asked = calls(main, "validateUserAccess")
        main.state.generation = Generation.ROOTED
        clock.passed_s = KEPT_S + 1
        await asyncio.sleep(0.02)
        assert await may(services, "alice")
        assert calls(main, "validateUserAccess") == asked + 2  # once in the old way


async def test_what_the_main_server_does_not_know_is_for_administrators(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        assert (await services.dataset(UNLISTED, "boss")).key == UNLISTED
        for token in ("alice", None):
            with pytest.raises(NotShown):
                await services.dataset(UNLISTED, token)
        assert [d.key for d in await services.visible("alice")] == [BRAIN]
        assert [d.key for d in await services.visible("boss")] == [BRAIN, UNLISTED]


async def test_only_an_administrator_learns_what_is_not_there(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        with pytest.raises(NotFound) as told:
            await services.dataset(DatasetKey("lab", "x"), "boss")
        assert not isinstance(told.value, NotShown)
        with pytest.raises(NotShown):
            await services.dataset(DatasetKey("lab", "x"), "alice")


async def test_without_a_token_reading_is_asked_for_and_administration_is_not(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        await services.main_server.report()
        assert not await services.authorizer.ask(None, Action.ADMINISTRATE, None)
        assert calls(main, "validateUserAccess") == 0
        main.state.public.add("lab/brain")
        assert await may(services, None)
        assert "token" not in main.requests[-1].query


async def test_what_is_no_token_is_not_asked_for(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        await services.catalog.catch_up()
        for bad in ("x" * 1001, "\udcff", "x\x00", "x\n"):
            assert at_once(services, bad) is False
        assert at_once(services, "x" * 1000) is None


async def test_another_server_says_nothing_of_access(
    main: MainServer, data: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its 404 is no refusal."""
    monkeypatch.setattr(main, "reply", lambda request: json_reply({"detail": "Not Found"}, 404))
    async with datastore(main, data) as services:
        await services.catalog.catch_up()
        for _ in range(3):
            with pytest.raises(MainServerUnavailable, match="does not say who may read"):
                await may(services, "alice")
            clock.passed_s += PAUSE_S + 1
    assert caplog.text.count("does not say who may read") == 1


async def test_a_missing_row_is_no_refusal(main: MainServer, data: Path, clock: Clock) -> None:
    async with datastore(main, data, DATASTORE_KEY=KEY) as services:
        await services.main_server.report()
        assert await may(services, "alice")
        main.state.key = "another"
        clock.passed_s = KEPT_S + 1
        assert await may(services, "alice")
        for _ in range(2):
            with pytest.raises(MainServerUnavailable, match="knows no datastore 'wkdvid' with this key"):
                await may(services, "boss")
            clock.passed_s += PAUSE_S + 1


async def test_what_understands_nothing_is_no_main_server(main: MainServer, data: Path, clock: Clock) -> None:
    """Such as an nginx that is spoken to without TLS."""
    main.faults.status = 400
    async with datastore(main, data) as services:
        await services.catalog.catch_up()
        for action, dataset in ((Action.ADMINISTRATE, None), (Action.READ, services.catalog.find(BRAIN))):
            with pytest.raises(MainServerUnavailable, match="does not say who may read"):
                await asyncio.wait_for(services.authorizer.ask("alice", action, dataset), 20)
            clock.passed_s += PAUSE_S + 1


async def test_a_listing_is_not_cut_short_when_nobody_can_be_asked(main: MainServer, data: Path, clock: Clock) -> None:
    async with datastore(main, data) as services:
        await services.catalog.catch_up()
        main.faults.down = True
        with pytest.raises(MainServerUnavailable):
            await services.visible("alice")


async def test_neither_key_nor_token_is_logged(main: MainServer, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with datastore(main, data) as services:
        for fault in ({"down": True}, {"status": 500}, {"page": True}, {"status": 302}):
            vars(main.faults).update({"down": False, "status": None, "page": False, **fault})
            with pytest.raises(MainServerUnavailable) as told:
                await services.authorizer.ask("alice", Action.ADMINISTRATE, None)
            assert KEY not in str(told.value)
    assert "main server" in caplog.text
    assert KEY not in caplog.text
    assert "alice" not in caplog.text
