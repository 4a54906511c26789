"""The pages of the API in a browser: they draw, by themselves, under their Content-Security-Policy, and log nothing."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.clients.visit import Visit
from tests.servers import Server, running
from tests.volumes import write_precomputed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pages")
    write_precomputed(folder / "grey", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    datasets = {"precomputed": {"lab": {"brain": {"layers": {"grey": {"source": "grey"}}}}}}
    with running(folder, datasets) as started:
        yield started


def check_quiet(visit: Visit, server: Server) -> None:
    assert visit.hosts == {urlsplit(server.base).netloc}
    assert visit.refused == []
    assert visit.complaints == []


def test_docs_show_every_operation(browser: Browser, server: Server) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    with Visit(browser) as visit:
        visit.page.goto(server.base + "/docs", wait_until="networkidle")
        expect(visit.page.locator(".opblock")).to_have_count(sum(map(len, paths.values())))
        check_quiet(visit, server)


def test_clios_operations_are_read_by_their_tag(browser: Browser, server: Server) -> None:
    operations = [one for path in server.get("/openapi.json").json()["paths"].values() for one in path.values()]
    with Visit(browser) as visit:
        visit.page.goto(server.base + "/redoc", wait_until="networkidle")
        visit.page.locator("#operations-tag-clio").click()
        expect(visit.page.locator(".opblock")).to_have_count(sum(one["tags"] == ["clio"] for one in operations))
        block = visit.page.locator("#operations-clio-get_v2_datasets")
        block.locator(".opblock-summary-control").click()
        expect(block).to_contain_text("templates")
        expect(block.get_by_role("button", name="Try it out")).to_have_count(0)
        check_quiet(visit, server)


def test_an_operation_can_be_tried(browser: Browser, server: Server) -> None:
    with Visit(browser) as visit:
        visit.page.goto(server.base + "/docs")
        block = visit.page.locator("#operations-webKnossos-get_data_health")
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        expect(block.locator(".live-responses-table")).to_contain_text("Ok")
        check_quiet(visit, server)
