"""Repositories, versions and data instances that clients make, over real ports and two workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.servers import Server, running

TOKEN = "x"
READERS = 8
HEX = "c1000000000000000000000000000001"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of two workers, which a new connection reaches either of."""
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": TOKEN}
    with running(tmp_path_factory.mktemp("repositories"), {}, workers=2, environ=environ) as server:
        yield server


def post(server: Server, path: str, body: object, token: str = TOKEN) -> requests.Response:
    return server.post(f"/api/{path}?admintoken={token}", json=body)


def made(server: Server, path: str, body: object) -> Any:
    answer = post(server, path, body)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.content else None


def seen(server: Server, path: str) -> Any:
    """What each of many new connections is told."""
    answers = [server.get(f"/api/{path}") for _ in range(READERS)]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    documents = [answer.json() for answer in answers]
    assert all(document == documents[0] for document in documents)
    return documents[0]


def refusal(answer: requests.Response) -> str:
    assert answer.status_code == 400, answer.text
    return answer.text.partition(" (/api/")[0]


def new_repository(server: Server, **options: str) -> str:
    root: str = made(server, "repos", options)["root"]
    return root


def test_every_acknowledged_change_is_seen_by_both_workers(server: Server) -> None:
    root = new_repository(server, alias="first", description="a test")
    assert seen(server, "repos/info")[root]["Alias"] == "first"
    made(server, f"repo/{root}/info", {"alias": "renamed"})
    made(server, f"repo/{root}/log", {"log": ["of the repository"]})
    made(server, f"repo/{root}/instance", {"typename": "keyvalue", "dataname": "kv", "versioned": "0"})
    made(server, f"node/{root}/note", {"note": "a note"})
    made(server, f"node/{root}/log", {"log": ["one", "two"]})
    info = seen(server, f"repo/{root[:12]}/info")
    assert (info["Alias"], info["Description"]) == ("renamed", "a test")
    assert [line.partition("Z  ")[2][:17] for line in info["Log"]] == ["of the repository", "New data instance"]
    assert not info["DataInstances"]["kv"]["Base"]["Versioned"]
    assert seen(server, f"node/{root}/note") == {"note": "a note"}
    assert made(server, f"node/{root}/commit", {"note": "done", "log": ["three"]}) == {"committed": root}
    assert seen(server, f"node/{root}/status") == {"Locked": True}
    assert [line.partition("Z  ")[2] for line in seen(server, f"node/{root}/log")["log"]] == ["one", "two", "three"]


def test_versions_are_named_as_git_names_them(server: Server) -> None:
    root = new_repository(server)
    assert refusal(post(server, f"node/{root}/newversion", {})) == "can't branch an unlocked node"
    made(server, f"node/{root}/commit", {})
    assert made(server, f"node/{root}/newversion", {"uuid": HEX, "note": "child"}) == {"child": HEX}
    side = made(server, f"node/{root}/branch", {"branch": "side", "note": "aside"})["child"]
    made(server, f"node/{HEX}/commit", {})
    assert made(server, f"node/{HEX}/tag", {"tag": "release-1"}) == {"child": "release-1"}
    assert seen(server, f"repo/{root}/branch-versions/master") == [HEX, root]
    assert seen(server, "repo/release-1/branch-versions/side") == [side, root]
    assert seen(server, f"node/{root}:side/note") == {"note": "aside"}
    assert seen(server, f"node/{side}:master~0/note") == {"note": "child"}
    assert seen(server, "node/release-1/status") == {"Locked": True}
    nodes = seen(server, f"repo/{root}/info")["DAG"]["Nodes"]
    numbers = {uuid: node["VersionID"] for uuid, node in nodes.items()}
    assert nodes[root]["Children"] == [numbers[HEX], numbers[side]]
    assert nodes["release-1"]["Parents"] == [numbers[HEX]]
    assert nodes["release-1"]["Note"] == f'Tag of version {HEX} with "release-1"'


REFUSED: Mapping[str, tuple[str, object, str]] = {
    "again": ("newversion", {}, "branch already exists with given name"),
    "same branch": ("branch", {"branch": "side"}, "branch already exists with given name"),
    "master": ("branch", {"branch": "master"}, "Cannot create a master branch"),
    "no name": ("branch", {}, "Cannot create a master branch"),
    "uuid": ("newversion", {"uuid": "bad"}, "Bad UUID provided: UUID must be 32 character hexadecimal string"),
    "taken": ("tag", {"tag": "locked"}, "UUID already exists in datastore"),
    "committed": ("commit", {}, "Cannot do post on locked node locked"),
    "note": ("note", {"note": "x"}, "Cannot do post on locked node locked"),
    "log": ("log", {"log": ["x"]}, "Cannot do post on locked node locked"),
}


@pytest.fixture(scope="module")
def locked(server: Server) -> str:
    new_repository(server, root="locked")
    made(server, "node/locked/commit", {})
    made(server, "node/locked/newversion", {})
    made(server, "node/locked/branch", {"branch": "side"})
    return "locked"


@pytest.mark.parametrize(("action", "body", "text"), REFUSED.values(), ids=REFUSED)
def test_what_a_committed_node_refuses(server: Server, locked: str, action: str, body: object, text: str) -> None:
    assert refusal(post(server, f"node/{locked}/{action}", body)) == text


HOSTILE = ("..", ".", "a/b", "a b", "a:b", "a~1", "", "x" * 129, "a%2fb", "a\nb", "a\0b", "<script>", 7, ["a"])


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_no_path_can_hold_are_refused(server: Server, locked: str, name: object) -> None:
    for path, body in (
        ("repos", {"root": name}),
        (f"node/{locked}/tag", {"tag": name}),
        (f"node/{locked}/branch", {"branch": name}),
    ):
        answer = post(server, path, body)
        assert answer.status_code == 400, answer.text
        assert "<script>" not in answer.text


@pytest.mark.parametrize("name", ["größe-1.0", "v1.0+rc", "日本"])
def test_names_of_any_script_are_found_again(server: Server, name: str) -> None:
    assert new_repository(server, root=name) == name
    assert seen(server, f"node/{name}/status") == {"Locked": False}


@pytest.mark.parametrize("body", [b"", b"bad", b"[]", b'"x"', b'{"note": 1}', b'{"note": "a\\u0000"}', b"\xff"])
def test_bodies_that_are_none(server: Server, body: bytes) -> None:
    root = new_repository(server)
    for path in (f"node/{root}/note", f"repo/{root}/instance", f"node/{root}/commit"):
        if not (body.startswith(b'{"note"') and path.endswith("instance")):
            assert "(/api/" in server.post(f"/api/{path}?admintoken={TOKEN}", data=body).text
    assert seen(server, f"node/{root}/status") == {"Locked": False}


def test_of_many_who_take_the_same_name_one_wins(server: Server) -> None:
    def winners(ask: Callable[[int], requests.Response]) -> int:
        with ThreadPoolExecutor(READERS) as pool:
            statuses = [answer.status_code for answer in pool.map(ask, range(READERS))]
        assert {*statuses} <= {200, 400}
        return statuses.count(200)

    assert winners(lambda n: post(server, "repos", {"root": "wanted"})) == 1
    instance = {"typename": "labelmap", "dataname": "seg"}
    assert winners(lambda n: post(server, "repo/wanted/instance", instance)) == 1
    assert winners(lambda n: post(server, "node/wanted/commit", {"note": str(n)})) == 1
    assert winners(lambda n: post(server, "node/wanted/newversion", {})) == 1
    assert winners(lambda n: post(server, "node/wanted/branch", {"branch": "b"})) == 1
    assert winners(lambda n: post(server, "node/wanted/tag", {"tag": "t-wanted"})) == 1
    assert len(seen(server, "repo/wanted/info")["DAG"]["Nodes"]) == 4


def test_who_may_not_write_changes_nothing(server: Server) -> None:
    root = new_repository(server, alias="mine")
    for path, body in (
        (f"repo/{root}/info", {"alias": "yours"}),
        (f"repo/{root}/instance", {"typename": "keyvalue", "dataname": "kv"}),
        (f"node/{root}/note", {"note": "x"}),
        (f"node/{root}/commit", {}),
    ):
        assert server.post(f"/api/{path}", json=body).status_code == 401
        assert post(server, path, body, "wrong").status_code == 403
    refused = server.post("/api/repos", json={})
    assert refusal(refused).startswith("Creating a repo requires admin privileges")
    info = seen(server, f"repo/{root}/info")
    assert (info["Alias"], info["DataInstances"], info["DAG"]["Nodes"][root]["Locked"]) == ("mine", {}, False)


def test_an_ambiguous_prefix_and_an_unknown_one(server: Server) -> None:
    for root in ("abcde1", "abcde2"):
        new_repository(server, root=root)
    assert refusal(server.get("/api/node/abcde/status")) == "more than one UUID matches abcde"
    assert refusal(server.get("/api/node/abcdf/status")) == "could not find UUID with partial match to abcdf"
    assert refusal(server.get("/api/node/:master/status")) == "UUID must be specified if more than one repo exists"
    assert refusal(server.get("/api/node/abcde1/em/info")) == "invalid data instance name"
    assert requests.head(f"{server.base}/api/repo/abcde1", timeout=60).status_code == 200


def test_all_is_there_after_a_restart_and_a_read_only_server_keeps_it(tmp_path: Any) -> None:
    with running(tmp_path, {}) as server:
        for path, body in (
            ("repos", {"root": "kept", "alias": "kept"}),
            ("repo/kept/instance", {"typename": "roi", "dataname": "roi", "Tags": "a=b"}),
            ("node/kept/commit", {"note": "done"}),
            ("node/kept/newversion", {"uuid": HEX}),
        ):
            made(server, path, body)
        before = server.get("/api/repos/info").json()
        for path in ("repos", f"node/{HEX}/commit", "repo/kept/log", f"repo/{HEX}/instance", f"node/{HEX}/roi/tags"):
            foreign = server.post(f"/api/{path}?admintoken=x", json={}, headers={"Origin": "https://evil.example"})
            assert foreign.status_code == 403, path
    with running(tmp_path, environ={"WKDVID_SERVER__RWMODE": "readonly", "WKDVID_ACCESS__MODE": "open"}) as server:
        assert server.get("/api/repos/info").json() == before
        assert server.get("/api/server/info").json()["Mode"] == "read only"
        for path in (f"node/{HEX}/note", f"repo/{HEX}/log", f"node/{HEX}/roi/tags", f"node/{HEX}/roi/ptquery"):
            refused = server.post(f"/api/{path}", json={})
            assert refusal(refused) == "Server in read-only mode and will only accept GET and HEAD requestcs"
        assert refusal(server.post("/api/repos", json={})).endswith("on a server that is not read-only")
        assert post(server, f"node/{HEX}/note", {"note": "lifted"}).status_code == 200
        assert server.get(f"/api/node/{HEX}/note").json() == {"note": "lifted"}


def test_a_registered_dataset_takes_the_uuid_of_no_node(server: Server) -> None:
    root = new_repository(server)
    document = {"precomputed": {"lab": {"d": {"uuid": root, "layers": {"em": {"source": "/nowhere"}}}}}}
    refused = server.post(f"/data/datasets?token={TOKEN}", json=document)
    told = f"precomputed.lab.d.uuid: {root} is a node of a repository already"
    assert (refused.status_code, refused.json()["messages"]) == (400, [{"error": told}])
