"""Mode ``clio`` on every front end: one set of roles and tokens for DVID, webKnossos, listings, inspection and clio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import requests

from tests.access.links import check_link, check_no_link_was_told
from tests.access.routes import BUCKET, CHANGING, KEYS, LAYERS, LISTING, READING, UNVERSIONED, ask, told
from tests.clio.accounts import DATASET, OWNER, SECRET, Clio
from tests.clio.test_routes import ROUTES, path_of
from tests.servers import running
from tests.volumes import write_precomputed
from wkdvid.core.entries import default_uuid
from wkdvid.core.repositories import ORGANIZATION
from wkdvid.frontends.clio.calls import Access
from wkdvid.identity.own import COOKIE
from wkdvid.testing.webknossos import MainServer

READER, WRITER, KEEPER, NOBODY = "reader@t.com", "writer@t.com", "keeper@t.com", "nobody@t.com"
DATASETS = {
    "precomputed": {
        "org": {
            "open": {**LAYERS, "public": True},
            "hidden": {**LAYERS, "public": False},
            "cortex-2": {**LAYERS, "clio_name": "cortex"},
            "shown": LAYERS,
        }
    }
}
USERS = {
    READER: {"datasets": {"hidden": ["clio_read"], "cortex": ["clio_read"]}},
    WRITER: {"datasets": {"org/hidden": ["clio_write"]}},
    KEEPER: {"global_roles": ["admin"]},
}
ALICE = {"X-Auth-Token": "alice"}


@pytest.fixture(scope="module")
def main() -> Iterator[MainServer]:
    with MainServer() as server:
        server.add_user("alice", organization="org", reads=["org/shown"])
        yield server
    check_no_link_was_told(server)


@pytest.fixture(scope="module")
def clio(main: MainServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    folder = tmp_path_factory.mktemp("data")
    write_precomputed(folder / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))])
    environ = {**main.environ, "WKDVID_ACCESS__MODE": "clio", "OWNER": OWNER, "FLYEM_SECRET": SECRET}
    with running(folder, DATASETS, environ=environ) as server:
        found = Clio(server)
        found.told(OWNER, "POST", "/v2/users", USERS)
        found.ask(OWNER, "POST", "/data/triggers/checkInboxBlocking").raise_for_status()  # reports
        yield found


@pytest.mark.parametrize(("method", "uri"), READING)
def test_a_hidden_dataset_is_there_for_who_has_a_role(clio: Clio, method: str, uri: str) -> None:
    nobody = clio.header(NOBODY)
    assert told(clio.server, method, uri, "hidden", nobody) == told(clio.server, method, uri, "missing", nobody)
    if method != "HEAD":
        reader = clio.header(READER)
        assert told(clio.server, method, uri, "hidden", reader) != told(clio.server, method, uri, "missing", reader)


@pytest.mark.parametrize(("method", "uri"), LISTING)
def test_a_hidden_dataset_is_nowhere_listed(clio: Clio, method: str, uri: str) -> None:
    if "/assets/" not in uri:
        for headers in (clio.header(NOBODY), ALICE):
            text = ask(clio.server, method, uri, "open", headers).text
            assert "hidden" not in text
            assert default_uuid(KEYS["hidden"])[:24] not in text


@pytest.mark.parametrize(("method", "uri"), CHANGING)
def test_changes_take_a_role(clio: Clio, method: str, uri: str) -> None:
    before = (clio.server.data_dir / "datasets.json").read_bytes()
    for headers in (clio.header(WRITER), ALICE):
        assert ask(clio.server, method, uri, "open", headers).status_code in {400, 401, 403}
    assert (clio.server.data_dir / "datasets.json").read_bytes() == before


def test_bytes_that_are_no_text_are_nobodys_token(clio: Clio) -> None:
    odd = b"\xff\xfe"
    cookie = f"{COOKIE}=".encode() + odd
    for headers in ({"X-Auth-Token": odd}, {"Authorization": b"Bearer " + odd}, {"Cookie": cookie}):
        for path, status in (("/", 200), ("/data/datasets/org/hidden", 403), ("/v2/users", 401)):
            answer = requests.get(clio.server.base + path, headers=headers, timeout=60)
            assert answer.status_code == status, path


def link(clio: Clio, user: str, dataset: str) -> Mapping[str, str]:
    return {"X-Auth-Token": clio.told(user, "POST", "/api/links", {"dataset": dataset})["token"]}


def test_a_link_reads_its_dataset_on_every_route_and_nothing_else(clio: Clio) -> None:
    check_link(clio.server, clio.header(OWNER), UNVERSIONED)


def test_a_link_reads_what_clio_keeps_of_its_dataset(clio: Clio) -> None:
    """It is no user, so nothing that users have of their own, or may do, is for it."""
    header = link(clio, OWNER, "org/hidden")
    clio.told(OWNER, "POST", "/v2/annotations/hidden", {"kind": "point", "pos": [1, 2, 3]})
    assert clio.server.get("/v2/annotations/hidden", headers=header).json() == []
    node = f"/api/node/{default_uuid(KEYS['hidden'])}/annotations/info"
    for headers, seen in ((clio.header(OWNER), True), (header, False)):
        assert ('"annotations"' in clio.server.get("/api/repos/info", headers=headers).text) is seen
        assert (clio.server.get(node, headers=headers).status_code == 200) is seen
    for method, uri, access in ROUTES:
        path = path_of(uri).replace(DATASET, "hidden")
        if access is Access.PUBLIC:
            continue
        reads = access is Access.READ and "<dataset" in uri
        status = clio.ask(None, method, path, [], headers=header).status_code
        assert (status == 401) is not reads, uri
        assert status not in {403, 500}, uri
        if reads:
            assert clio.ask(None, method, path.replace("hidden", "open"), [], headers=header).status_code == 401


def test_a_link_counts_as_long_as_who_made_it_may_make_it(clio: Clio) -> None:
    maker = "maker@t.com"

    def give(*roles: str, disabled: bool = False) -> None:
        clio.told(OWNER, "POST", "/v2/users", {maker: {"datasets": {"hidden": roles}, "disabled": disabled}})

    give("dataset_admin")
    header = link(clio, maker, "org/hidden")
    assert clio.ask(maker, "POST", "/api/links", {"dataset": "org/shown"}).status_code == 403
    newest, *_ = clio.told(maker, "GET", "/api/links?dataset=org/hidden")
    assert newest["by"] == maker
    assert clio.ask(maker, "GET", "/api/links").status_code == 403
    assert bucket(clio, "hidden", header).status_code == 200
    for role, disabled in (("clio_write", False), ("dataset_admin", True)):
        give(role, disabled=disabled)
        assert bucket(clio, "hidden", header).status_code == 403
        assert clio.server.get("/v2/annotations/hidden", headers=header).status_code == 401
    give("dataset_admin")
    assert bucket(clio, "hidden", header).status_code == 200


def listed(clio: Clio, user: str | None) -> set[str]:
    headers = {} if user is None else clio.header(user)
    return {one["name"] for one in clio.server.get("/data/datasets", headers=headers).json()}


def test_who_is_shown_what(clio: Clio) -> None:
    assert listed(clio, None) == listed(clio, NOBODY) == {"open"}
    assert listed(clio, READER) == {"open", "hidden", "cortex-2"}
    assert listed(clio, OWNER) == listed(clio, KEEPER) == {"open", "hidden", "cortex-2", "shown"}


def test_who_is_logged_in_sees_it_in_the_pages(clio: Clio) -> None:
    """The browser's cookie reads, and changes nothing."""
    get = clio.server.get
    cookies = {COOKIE: clio.header(READER)["Authorization"].removeprefix("Bearer ")}
    shown, others = get("/", cookies=cookies).text, get("/").text
    assert "hidden" in shown
    assert READER in shown
    assert 'action="sign-out"' in shown
    assert "hidden" not in others
    for path in ("datasets/org/hidden", "datasets/org/hidden/picture", "precomputed/org/hidden/image/info"):
        assert get(f"/{path}", cookies=cookies).status_code == 200
        assert get(f"/{path}").status_code == 404
    assert clio.server.post("/data/triggers/reload/org/hidden", cookies=cookies).status_code in {401, 403}


def test_datasets_that_clio_calls_public_are_for_who_is_logged_in(clio: Clio) -> None:
    document = {"shown": {"description": "d", "public": True}}
    clio.told(OWNER, "POST", "/v2/datasets", document)
    try:
        assert "shown" in listed(clio, NOBODY)
        assert "shown" not in listed(clio, None)
        assert clio.told(NOBODY, "GET", "/v2/annotations/shown") == []
    finally:
        clio.told(OWNER, "DELETE", "/v2/datasets", ["shown"])
    assert "shown" not in listed(clio, NOBODY)
    assert clio.told(NOBODY, "GET", "/v2/annotations/open") == []  # its entry says that it is public
    assert clio.ask(None, "GET", "/v2/annotations/open").status_code == 401


def test_datasets_are_administrated_by_administrators(clio: Clio) -> None:
    body = {"precomputed": {"org": {"new": LAYERS}}}
    for user, status in ((None, 403), (WRITER, 403), (KEEPER, 200)):
        assert clio.ask(user, "POST", "/data/datasets", body).status_code == status
    assert "new" in listed(clio, OWNER)


def test_repositories_are_written_by_who_has_the_role(clio: Clio) -> None:
    assert clio.ask(WRITER, "POST", "/api/repos", {"alias": "r"}).status_code == 400  # as DVID says it
    root = clio.told(OWNER, "POST", "/api/repos", {"alias": "r"})["root"]
    named = f"{ORGANIZATION}/{root}"
    clio.told(OWNER, "POST", "/v2/users", {WRITER: {"datasets": {named: ["clio_write"], "hidden": ["clio_write"]}}})
    clio.told(OWNER, "POST", "/v2/users", {"looks@t.com": {"datasets": {named: ["clio_read"]}}})
    instance = {"typename": "keyvalue", "dataname": "kv"}
    assert clio.ask("looks@t.com", "POST", f"/api/repo/{root}/instance", instance).status_code == 403
    assert clio.ask(NOBODY, "POST", f"/api/repo/{root}/instance", instance).status_code == 400
    assert clio.ask(WRITER, "POST", f"/api/repo/{root}/instance", instance).status_code == 200
    key = f"/api/node/{root}/kv/key/a"
    assert clio.ask("looks@t.com", "POST", key, {"a": 1}).status_code == 403
    assert clio.ask(WRITER, "POST", key, {"a": 1}).status_code == 200
    assert clio.told("looks@t.com", "GET", key) == {"a": 1}
    missing = clio.ask(NOBODY, "GET", key.replace(root, "0" * 32))
    hidden = clio.ask(NOBODY, "GET", key)
    assert hidden.status_code == missing.status_code == 400
    assert hidden.text.replace(root, "0" * 32) == missing.text
    assert root not in clio.ask(NOBODY, "GET", "/api/repos/info").text


def bucket(clio: Clio, name: str, headers: Mapping[str, str]) -> requests.Response:
    return clio.server.post(f"/data/datasets/org/{name}/layers/image/data", json=[BUCKET], headers=headers)


def test_webknossos_routes_take_tokens_of_both_kinds(clio: Clio) -> None:
    assert bucket(clio, "shown", ALICE).content == bytes([5]) * 32**3
    assert bucket(clio, "hidden", clio.header(READER)).content == bytes([5]) * 32**3
    assert bucket(clio, "hidden", ALICE).status_code == 403
    assert bucket(clio, "shown", clio.header(READER)).status_code == 403
    dvid = f"/api/node/{default_uuid(KEYS['open']._replace(dataset='shown'))}/image/info"
    assert clio.server.get(dvid, headers=ALICE).status_code == 400  # DVID's routes know clio's roles alone
    assert clio.server.get("/v2/roles", headers=ALICE).status_code == 401
    assert clio.server.post("/data/datasets", json={}, headers=ALICE).status_code == 403


def test_roles_stay_with_a_dataset_that_is_renamed(clio: Clio) -> None:
    """They are held on organization and dataset, whatever clio's clients call it."""
    assert clio.told(READER, "GET", "/v2/roles")["datasets"] == {"hidden": ["clio_read"], "cortex": ["clio_read"]}
    typed: dict[str, Any] = {"kind": "point", "pos": [1, 2, 3]}
    clio.told(OWNER, "POST", "/v2/annotations/cortex", typed)
    for name in ("cortex", "org%2Fcortex-2"):
        assert [one["key"] for one in clio.told(OWNER, "GET", f"/v2/annotations/{name}")] == ["Pt1_2_3"]
    renamed = {"precomputed": {"org": {"cortex-2": {**LAYERS, "clio_name": "neocortex"}}}}
    clio.told(OWNER, "POST", "/data/datasets", renamed)
    assert "neocortex" in clio.told(READER, "GET", "/v2/roles")["datasets"]
    assert [one["key"] for one in clio.told(OWNER, "GET", "/v2/annotations/neocortex")] == ["Pt1_2_3"]
    assert clio.ask(READER, "GET", "/v2/annotations/cortex").status_code == 403
    assert bucket(clio, "cortex-2", clio.header(READER)).status_code == 200


def test_roles_may_be_given_before_a_dataset_is_registered(clio: Clio) -> None:
    """Under the name that clio's clients will call it."""
    early = "early@t.com"
    clio.told(OWNER, "POST", "/v2/users", {early: {"datasets": {"later": ["clio_read"], "org/later": ["own_role"]}}})
    assert listed(clio, early) == listed(clio, NOBODY)
    clio.told(OWNER, "POST", "/data/datasets", {"precomputed": {"org": {"later": LAYERS}}})
    assert listed(clio, early) - listed(clio, NOBODY) == {"later"}
    assert {*clio.told(early, "GET", "/v2/roles")["datasets"]["later"]} == {"clio_read", "own_role"}
