"""What is reported to main servers of each generation, and what becomes of it when one is down, slow or another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.main_server.datastores import KEY, calls, comes_true, datastore
from wkdvid.core.services import Services
from wkdvid.main_server import client as client_module
from wkdvid.main_server import reporter as reporter_module
from wkdvid.main_server.client import MainServerUnavailable
from wkdvid.main_server.reporter import MainServerRefused
from wkdvid.testing.webknossos import Generation, MainServer


@pytest.fixture
def main() -> Iterator[MainServer]:
    with MainServer(key=KEY) as server:
        server.state.organizations = frozenset({"lab"})
        yield server


@contextlib.asynccontextmanager
async def watching(services: Services) -> AsyncIterator[None]:
    task = asyncio.create_task(services.main_server.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(reporter_module, "POLL_S", 0.02)
    monkeypatch.setattr(reporter_module, "PAUSES_S", (0.05, 0.2))
    monkeypatch.setattr(client_module, "PAUSES_S", (0.01, 0.02))
    yield
    assert KEY not in caplog.text


async def test_the_main_server_is_told_its_own_way_where_there_is_one(main: MainServer, data: Path) -> None:
    addresses = {
        "WKDVID_SERVER__PUBLIC_URL": "https://em.example.org",
        "WKDVID_SERVER__INTERNAL_URL": "http://wkdvid:8000/",
    }
    async with datastore(main, data, **addresses) as services:
        await services.main_server.report()
    (told,) = [request.json()["url"] for request in main.requests if request.path.endswith("/status")]
    assert told == "http://wkdvid:8000"
    assert main.reported["lab/brain"]["dataLayers"][0]["mags"][0]["path"].startswith("https://em.example.org/")


@pytest.mark.parametrize("generation", Generation)
async def test_the_form_that_the_main_server_understands_is_found_and_remembered(
    main: MainServer, data: Path, generation: Generation
) -> None:
    main.state.generation = generation
    async with datastore(main, data) as services:
        await services.main_server.report()
        tries = calls(main, "datasources")
        await services.main_server.report()
    assert tries == [Generation.ROOTED, Generation.PLAIN, Generation.CONNECT].index(generation) + 1
    assert calls(main, "datasources") == tries + 1
    source = main.reported["lab/brain"]
    em, cells = source["dataLayers"]
    if generation is Generation.CONNECT:
        assert source["scale"] == [4, 4, 40]
        assert em["wkwResolutions"][0] == {"resolution": [1, 1, 1], "cubeLength": 1024}
        assert cells["largestSegmentId"] == 2**53 - 1
    else:
        assert source["scale"] == {"factor": [4, 4, 40], "unit": "nanometer"}
        assert em["mags"][0]["path"].startswith("http://127.0.0.1:8000/data/v15/zarr/")


async def test_a_newer_main_server_after_an_update_is_understood_again(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services:
        for generation in (Generation.CONNECT, Generation.ROOTED, Generation.PLAIN):
            main.state.generation = generation
            main.state.rows.clear()
            await services.main_server.report()
            assert set(main.reported) == {"lab/brain"}


async def test_where_the_main_server_reaches_us_is_the_public_url(main: MainServer, data: Path) -> None:
    async with datastore(main, data, WKDVID_SERVER__PUBLICURL="https://em.example.org/") as services:
        await services.main_server.report()
    assert main.state.datastore_url == "https://em.example.org"
    path = main.reported["lab/brain"]["dataLayers"][0]["mags"][0]["path"]
    assert path.startswith("https://em.example.org/data/v15/zarr/")


async def test_a_main_server_that_is_down_at_the_start_is_told_once_it_is_there(
    main: MainServer, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main.faults.down = True
    async with datastore(main, data) as services, watching(services):
        assert await comes_true(lambda: len(main.requests) > 9)
        assert caplog.text.count("the main server of webKnossos breaks off its answers") == 1
        main.faults.down = False
        assert await comes_true(lambda: "lab/brain" in main.reported)
        assert await comes_true(lambda: caplog.text.count("the main server of webKnossos answers again") == 1)


async def test_a_missing_row_is_said_clearly_and_once(
    main: MainServer, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main.state.key = "another"
    async with datastore(main, data, DATASTORE_KEY=KEY) as services, watching(services):
        assert await comes_true(lambda: calls(main, "status") > 3)
        assert caplog.text.count("knows no datastore 'wkdvid' with this key: see its row in webknossos.dataStores") == 1
        with pytest.raises(MainServerUnavailable, match="knows no datastore"):
            await services.main_server.report()
        main.state.key = KEY
        assert await comes_true(lambda: "lab/brain" in main.reported)
        assert await comes_true(lambda: "the main server of webKnossos answers again" in caplog.text)


async def test_what_the_main_server_leaves_out_is_named_once(
    main: MainServer, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with datastore(main, data) as services:
        for _ in range(2):
            await services.main_server.report()
    assert caplog.text.count("does not show elsewhere/brain: is there an organization 'elsewhere'?") == 1
    assert "does not show lab/brain" not in caplog.text


@pytest.mark.parametrize(
    ("fault", "text"),
    [({"status": 500}, "status 500"), ({"status": 302}, "redirects"), ({"delay_s": 60.0}, "does not answer in time")],
)
async def test_what_is_no_answer_is_unavailable(
    main: MainServer, data: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], text: str
) -> None:
    if "delay_s" in fault:
        monkeypatch.setattr(reporter_module, "REPORT_S", 0.3)
    async with datastore(main, data) as services:
        for name, value in fault.items():
            setattr(main.faults, name, value)
        with pytest.raises(MainServerUnavailable, match=text):
            await services.main_server.report()


async def test_a_page_is_no_answer(main: MainServer, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    main.faults.page = True
    async with datastore(main, data) as services:
        with pytest.raises(MainServerRefused, match="answers with a page"):
            await services.main_server.report()
    assert "is webknossos.url what it should be?" in caplog.text


async def test_nothing_is_reported_again_while_nothing_changes(main: MainServer, data: Path) -> None:
    async with datastore(main, data) as services, watching(services):
        assert await comes_true(lambda: "lab/brain" in main.reported)
        await services.catalog.renew(None)
        assert await comes_true(lambda: services.catalog.current)
        await services.catalog.settle(10)
        told = [calls(main, "status")]
        while len(told) < 20 and told[-1] not in told[:-1]:  # what changed last is reported yet
            await asyncio.sleep(0.3)
            told.append(calls(main, "status"))
        assert told[-1] == told[-2] <= 3  # what was pending for a moment may have been reported as such
