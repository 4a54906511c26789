"""A share link reads what it is for, on every route and in every mode, and nothing else."""

from __future__ import annotations

import pytest

from tests.access.links import check_link, linked
from tests.access.routes import CHANGING, KEYS, LISTING, SECRET, UNVERSIONED, ask
from tests.servers import Server
from wkdvid.core.entries import default_uuid

LINKED_MODES = ("guarded", "shared", "open_server")


@pytest.mark.parametrize("mode", ["guarded", "shared"])
def test_a_link_reads_its_dataset_on_every_route_and_nothing_else(request: pytest.FixtureRequest, mode: str) -> None:
    check_link(request.getfixturevalue(mode), SECRET, UNVERSIONED)


@pytest.mark.parametrize("mode", LINKED_MODES)
def test_a_link_lists_its_dataset_alone(request: pytest.FixtureRequest, mode: str) -> None:
    server: Server = request.getfixturevalue(mode)
    header = {"X-Auth-Token": linked(server, SECRET)}
    for method, uri in LISTING:
        if "/assets/" not in uri and method != "HEAD":
            answer = ask(server, method, uri, "open", header)
            assert default_uuid(KEYS["open"])[:24] not in answer.text
            if answer.headers.get("Content-Type", "").startswith("text/html"):  # whose address may hold a token
                assert answer.headers["Referrer-Policy"] == "no-referrer", uri


@pytest.mark.parametrize("mode", LINKED_MODES)
def test_a_link_changes_nothing(request: pytest.FixtureRequest, mode: str) -> None:
    """Not even where anybody may change everything."""
    server: Server = request.getfixturevalue(mode)
    header = {"X-Auth-Token": linked(server, SECRET)}
    before = (server.data_dir / "datasets.json").read_bytes()
    for method, uri in CHANGING:
        if not uri.startswith("/data/v"):
            assert ask(server, method, uri, "hidden", header).status_code in {400, 401, 403, 404}, uri
    assert (server.data_dir / "datasets.json").read_bytes() == before
