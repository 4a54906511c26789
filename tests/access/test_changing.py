"""Who may change something, and from which pages: by a token, or because nobody needs one."""

from __future__ import annotations

import pytest

from tests.access.routes import ALICE, AT_ONCE, BUCKET, CHANGING, DOCUMENT, LAYERS, TOKEN, ask
from tests.servers import Server

FOREIGN = [
    ({"Host": "evil.example"}, 403),
    ({"Host": "localhost.evil.example:8000"}, 403),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({}, 200),
]


@pytest.mark.parametrize(("headers", "status"), FOREIGN)
def test_no_foreign_page_registers_sources_on_somebodys_localhost(
    open_server: Server, headers: dict[str, str], status: int
) -> None:
    assert open_server.post("/data/datasets", json=DOCUMENT, headers=headers).status_code == status
    assert (
        open_server.post("/data/datasets/org/open/layers/image/data", json=[BUCKET], headers=headers).status_code == 200
    )


def test_own_origin_may_register(open_server: Server) -> None:
    body = {"precomputed": {"org": {"own": LAYERS}}}
    assert open_server.post("/data/datasets", json=body, headers={"Origin": open_server.base}).status_code == 200


def test_the_needed_token_vouches_for_a_page(guarded: Server) -> None:
    """Nobody can make it up, so it may come from anywhere."""
    headers = {"Origin": "https://notebook.example", "Authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/data/triggers/reload/org/open", headers=headers).status_code == 200
    assert guarded.post("/data/triggers/reload/org/open", headers={**headers, "Authorization": ""}).status_code == 403


@pytest.mark.parametrize(("method", "uri"), CHANGING)
@pytest.mark.parametrize(
    ("mode", "headers"), [("guarded", {}), ("guarded", {"X-Auth-Token": "wrong"}), ("shared", ALICE)]
)
def test_changes_need_the_token(
    request: pytest.FixtureRequest, mode: str, method: str, uri: str, headers: dict[str, str]
) -> None:
    server: Server = request.getfixturevalue(mode)
    before = (server.data_dir / "datasets.json").read_bytes()
    answer = ask(server, method, uri, "open", headers)
    assert answer.status_code in {400, 401, 403}
    assert TOKEN not in answer.text
    assert (server.data_dir / "datasets.json").read_bytes() == before


@pytest.mark.parametrize(("method", "uri"), AT_ONCE)
def test_a_token_that_is_not_needed_does_not_vouch_for_a_page(open_server: Server, method: str, uri: str) -> None:
    """Any page could make one up."""
    before = (open_server.data_dir / "datasets.json").read_bytes()
    for foreign in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        made_up = {**foreign, "X-Auth-Token": "x", "Authorization": "Bearer x"}
        assert ask(open_server, method, uri, "open", foreign).status_code == 403
        assert ask(open_server, method, uri, "open", made_up).status_code == 403
        assert ask(open_server, method, uri, "open", foreign, token="x", admintoken="x").status_code == 403
    assert (open_server.data_dir / "datasets.json").read_bytes() == before
