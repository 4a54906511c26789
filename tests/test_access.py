"""Who may do what, over a real port: each mode, foreign pages, and every route as it declares its access."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from sanic import Sanic

from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.config import Config
from wkdvid.core.entries import DatasetKey, default_uuid
from wkdvid.frontends.http import SESSION_COOKIE
from wkdvid.server import create_app
from wkdvid.testing.webknossos import MainServer

TOKEN = "administrator's-secret"
BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
CUTOUT = {**dict.fromkeys("xyz", "0"), **dict.fromkeys(("width", "height", "depth", "mag"), "1")}
LAYERS = {"layers": {name: {"source": "v", "type": "image"} for name in ("image", "other")}}
DOCUMENT = {"precomputed": {"org": {"foreign": LAYERS}}}
KEYS = {name: DatasetKey("org", name) for name in ("open", "hidden", "missing")}
SECRET = {"X-Auth-Token": TOKEN}
ALICE = {"X-Auth-Token": "alice"}
COMPOSITION = {"width": 2, "height": 2, "layers": [{"dataLayerName": "image", "width": 2, "height": 2}]}
ADDRESSED = ("<organization:str>/<name:str>", "<dataset_id:str>")
PARTS = ("0_1_2", "1_1_1", "0_0_0", "x", "y")
"""Of a request for raw voxels, as many as the route takes."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": TOKEN, **LIMITS}
    with running(folder_with_volume(tmp_path_factory), DATASETS, environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def main() -> Iterator[MainServer]:
    with MainServer() as server:
        server.add_user("alice", organization="org", reads=["org/open"])
        server.add_user(TOKEN, organization="org", is_admin=True)
        yield server
    check_no_link_was_told(server)


@pytest.fixture(scope="module")
def shared(main: MainServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Whose main server has shared one dataset with alice."""
    with running(folder_with_volume(tmp_path_factory), DATASETS, environ=main.environ) as server:
        requests.post(server.base + "/data/triggers/checkInboxBlocking", headers=SECRET, timeout=60).raise_for_status()
        yield server


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(folder_with_volume(tmp_path_factory), DATASETS) as server:
        yield server


BURST, FLOOD = 8, 60
LIMITS = {
    f"WKDVID_LIMITS__{of}_{what}": str(n) for of in ("USER", "ADDRESS") for what, n in (("RATE", 1), ("BURST", BURST))
}
"""Of callers that are not on this machine."""
LINK = f"link-{'0' * 16}-{'0' * 32}"
DATASETS = {"precomputed": {"org": {"open": LAYERS, "hidden": {**LAYERS, "public": False}}}}


def folder_with_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_precomputed(folder / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))])
    return folder


SESSION = requests.Session()
"""Of requests to each route: there are thousands."""
WAYS = [
    {"headers": {"Authorization": f"Bearer {TOKEN}"}},
    {"headers": {"X-Auth-Token": TOKEN}},
    {"params": {"token": TOKEN}},
]


@pytest.mark.parametrize("way", WAYS)
def test_a_hidden_dataset_is_there_for_the_administrator(guarded: Server, way: dict[str, Any]) -> None:
    answer = guarded.post("/data/datasets/org/hidden/layers/image/data", json=[BUCKET], **way)
    assert answer.content == bytes([5]) * 32**3
    assert "hidden" in [dataset["name"] for dataset in guarded.get("/data/datasets", **way).json()]


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_a_hidden_dataset_is_not_there_for_others(guarded: Server, token: str | None) -> None:
    headers = {"X-Auth-Token": token} if token is not None else {}
    hidden = guarded.post("/data/datasets/org/hidden/layers/image/data", json=[BUCKET], headers=headers)
    missing = guarded.post("/data/datasets/org/missing/layers/image/data", json=[BUCKET], headers=headers)
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("hidden", "missing").split("requestId")[0] == missing.text.split("requestId")[0]
    assert "hidden" not in guarded.get("/data/datasets", headers=headers).text
    assert "hidden" not in guarded.get("/", headers=headers).text
    assert "hidden" not in guarded.get("/api/repos/info", headers=headers).text


def test_open_datasets_are_read_without_a_token(guarded: Server) -> None:
    assert guarded.buckets("org/open/layers/image", BUCKET).content == bytes([5]) * 32**3


def test_shared_caches_keep_what_anybody_may_read(guarded: Server) -> None:
    for dataset, kept in (("open", "public"), ("hidden", "private")):
        for path in (f"precomputed/org/{dataset}/image/info", f"zarr/org/{dataset}/image/1/zarr.json"):
            answer = guarded.get(f"/{path}", headers={"X-Auth-Token": TOKEN})
            assert answer.headers["Cache-Control"] == f"{kept}, max-age=60"
            assert ("X-Auth-Token" in answer.headers.get("Vary", "")) == (kept == "private")


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


def test_a_volume_is_read_by_who_may_read_its_dataset(guarded: Server) -> None:
    """Clio's proxy asks for no more than the other front ends do."""
    volumes = {name: {"bucket": f"file://{guarded.data_dir}", "path": "v"} for name in ("open", "hidden")}
    guarded.post("/v2/volumes", json=volumes, headers=SECRET).raise_for_status()
    for headers in ({}, SECRET, {"X-Auth-Token": "wrong"}):
        assert guarded.get("/v2/volumes/proxy/open/info", headers=headers).status_code == 200
    assert guarded.get("/v2/volumes/proxy/hidden/info").status_code == 401
    assert guarded.get("/v2/volumes/proxy/hidden/info", headers=SECRET).status_code == 200


# ---- every route, as it declares its access -------------------------------------------------------------------------


def names_one(uri: str) -> bool:
    """Whether a route's path has a dataset in it."""
    return any(parameter in uri for parameter in ("<organization", "<dataset_id", "<dataset_path", "<uuid"))


def declared() -> Iterator[tuple[str, str, str]]:
    """Method, path and access of every route, as it is registered."""
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    for route in app.router.routes:
        access = getattr(route.ctx, "access", "")
        if not access.startswith("clio "):  # tests/clio walks those
            yield from ((method, route.uri, access) for method in route.methods)


ROUTES = sorted(declared())
CHANGES = {"write", "administrate"}
SIGNS_IN = "session"
"""Signs a browser in or out, and changes nothing else."""
LISTING = [(method, uri) for method, uri, access in ROUTES if access not in {*CHANGES, SIGNS_IN} and not names_one(uri)]
READING = [(method, uri) for method, uri, access in ROUTES if access in {"read", "write"} and names_one(uri)]
CHANGING = [(method, uri) for method, uri, access in ROUTES if access in CHANGES]
AT_ONCE = [(method, uri) for method, uri in CHANGING if "<uuid" not in uri]
"""The others say that a dataset's node is locked, whoever asks."""


def path_of(uri: str, dataset: str) -> str:
    """A route's path for one of the datasets."""
    uuid = default_uuid(KEYS[dataset])
    values = {
        "organization": "org",
        "name": "image" if uri.startswith("/api/") else dataset,
        "dataset_id": uuid[:24],
        "uuid": uuid,
        "dataset_path": f"{uuid[:24]}/image",
        "layer": "image",
        "backend": "precomputed",
        "mag": "mag1" if uri.endswith("/bucket.raw") else "1",
        **{axis: f"{axis}0" for axis in "xyz"},
        "path": "info",
        "plane": "xy",
        "document": ".zgroup" if uri.startswith("/zarr2/") else "zarr.json",
        "endpoint": "raw" if "<part0" in uri else "info",
        "action": "note",
        "branch": "master",
        "link": "0" * 16,
        "token": "none",
        "domain": "mag",
        "typename": "uint8blk",
        "job": "none",
        "email": "ada@lab.org",
        **{f"part{i}": part for i, part in enumerate(PARTS)},
    }
    return re.sub(r"<(\w+)[^>]*>", lambda match: values[match[1]], uri)


def body_of(uri: str) -> Any:
    """What the route would carry out."""
    bodies: Mapping[str, Any] = {
        "/api/<backend:str>/<organization:str>/<name:str>": LAYERS,
        **{f"/data/datasets/{dataset}/thumbnail.jpg": COMPOSITION for dataset in ADDRESSED},
        "/data/datasets": DOCUMENT,
        "/api/config/dataset": {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": "v/"}},
        "/api/server/settings": {"throttle": "3"},
        "/api/links": {"dataset": "org/open"},
        "/api/jobs": {"kind": "pyramid", "dataset": "org/open", "layer": "image"},
    }
    return bodies.get(uri, [BUCKET])


def ask(
    server: Server, method: str, uri: str, dataset: str, headers: Mapping[str, str] | None = None, **query: str
) -> requests.Response:
    query = {**CUTOUT, "dataset_name": "runtime", **query}
    address = server.base + path_of(uri, dataset)
    return SESSION.request(method, address, params=query, json=body_of(uri), headers=headers, timeout=60)


ONES_OWN = r'<header class="site">.*?</header>|<div class="administration">.*?</div>\n'
"""Of a page: who looks at it, and what they may do."""


def told(server: Server, method: str, uri: str, dataset: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """Status and text of an answer, without what names the dataset and the request."""
    answer = ask(server, method, uri, dataset, headers)
    uuid = default_uuid(KEYS[dataset])
    shown = re.sub(ONES_OWN, "", answer.text, flags=re.DOTALL)
    text = shown.partition('"requestId"')[0].replace(uuid, "UUID").replace(uuid[:24], "ID")
    return answer.status_code, text.replace(f"org/{dataset}", "org/NAME")


def test_every_route_declares_its_access() -> None:
    assert {access for _, _, access in ROUTES} == {"public", "observe", "read", *CHANGES, SIGNS_IN}
    assert [uri for _, uri, access in ROUTES if access == "public" and names_one(uri)] == []
    assert {method for method, _ in LISTING} == {"GET", "HEAD"}


@pytest.mark.parametrize(("method", "uri"), READING)
def test_a_hidden_dataset_is_answered_like_none(guarded: Server, method: str, uri: str) -> None:
    assert told(guarded, method, uri, "hidden", {}) == told(guarded, method, uri, "missing", {})
    secret = {"X-Auth-Token": TOKEN}
    if method != "HEAD":
        assert told(guarded, method, uri, "hidden", secret) != told(guarded, method, uri, "missing", secret)


@pytest.mark.parametrize(("method", "uri"), READING)
def test_who_reads_one_dataset_is_told_nothing_of_another(shared: Server, method: str, uri: str) -> None:
    missing = told(shared, method, uri, "missing", ALICE)
    assert told(shared, method, uri, "hidden", ALICE) == missing
    assert told(shared, method, uri, "open", {}) == missing
    assert method == "HEAD" or told(shared, method, uri, "open", ALICE) != missing


@pytest.mark.parametrize(("method", "uri"), LISTING)
def test_who_reads_one_dataset_finds_no_other_listed(shared: Server, method: str, uri: str) -> None:
    if "/assets/" not in uri:
        for headers in (ALICE, {}):
            text = ask(shared, method, uri, "open", headers).text
            assert "hidden" not in text
            assert default_uuid(KEYS["hidden"])[:24] not in text


@pytest.mark.parametrize(("method", "uri"), LISTING)
def test_a_hidden_dataset_is_nowhere_listed(guarded: Server, method: str, uri: str) -> None:
    if "/assets/" not in uri:
        text = ask(guarded, method, uri, "open").text
        assert "hidden" not in text
        assert default_uuid(KEYS["hidden"])[:24] not in text


# ---- every route by a share link ------------------------------------------------------------------------------------


UNVERSIONED = [(method, uri) for method, uri in READING if method != "HEAD" and not uri.startswith("/data/v")]
SLASH = r"(/|\\|%2F|(%5C)+)"
"""As addresses within addresses have it; for Neuroglancer's ``dvid://`` it is a backslash."""
LINKED_MODES = ("guarded", "shared", "open_server")


def linked(server: Server, headers: Mapping[str, str], layer: str | None = None) -> str:
    """The token of a link to the hidden dataset."""
    body = {"dataset": "org/hidden"} if layer is None else {"dataset": "org/hidden", "layer": layer}
    answer = server.post("/api/links", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


def check_link(server: Server, administrator: Mapping[str, str], routes: Iterable[tuple[str, str]]) -> None:
    """It reads what it is for as an administrator does, in a header and in the path; all else is as if not there."""
    token = linked(server, administrator)
    other_layer = {"X-Auth-Token": linked(server, administrator, "other")}
    header = {"X-Auth-Token": token}
    below = Server(server.process, f"{server.base}/shared/{token}", server.data_dir, server.log)
    for method, uri in routes:
        missing, hidden = told(server, method, uri, "missing", header), told(server, method, uri, "hidden", header)
        seen = told(server, method, uri, "hidden", administrator)
        assert hidden == seen or (hidden[0] == seen[0] and "<!doctype html>" in seen[1]), uri  # pages name who is there
        assert hidden != missing, uri
        status, text = told(below, method, uri, "hidden", {})
        assert (status, re.sub(rf"{SLASH}shared{SLASH}{token}", "", text)) == hidden, uri
        assert told(server, method, uri, "open", header) == missing, uri
        if "/image" in path_of(uri, "hidden"):
            assert told(server, method, uri, "hidden", other_layer)[0] in {400, 403, 404}, uri


# ---- how many requests a caller may send ----------------------------------------------------------------------------


def first_refusal(server: Server, head: str) -> str:
    """What is answered to the first that is refused of many requests at once.

    Args:
        head: Request line and headers, with ``{i}`` for the number of the request.
    """
    host, port = server.base.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(FLOOD)]
        for i, connection in enumerate(connections):
            connection.sendall(head.format(i=i).encode())
        while connections:
            for connection in select.select(connections, [], [], 60)[0]:
                connections.remove(connection)
                answer: str = connection.recv(65536).decode()
                if answer.startswith("HTTP/1.1 429 "):
                    return answer
    raise AssertionError("none was refused")


def health(server: Server, forwarded_for: str | None) -> int:
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    return SESSION.get(f"{server.base}/data/health", headers=headers, timeout=60).status_code


def test_one_address_has_so_many_requests_and_no_others_are_refused_for_it(guarded: Server) -> None:
    head = "GET /data/health HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"
    lines, _, body = first_refusal(guarded, head).partition("\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines.splitlines()[1:])
    assert int(headers["retry-after"]) >= 1
    assert headers["access-control-allow-origin"] == "*"  # or viewers take it for data that is not there
    assert (json.loads(body)["code"], "limits.address_rate" in body) == ("too_many_requests", True)
    probe = SESSION.get(f"{guarded.base}/health/live", headers={"X-Forwarded-For": "198.51.100.1"}, timeout=60)
    assert probe.status_code == 200
    assert health(guarded, "198.51.100.2") == 200
    assert {health(guarded, None) for _ in range(3 * BURST)} == {200}  # of this machine


def test_who_waits_for_each_answer_is_not_refused(guarded: Server) -> None:
    assert [health(guarded, "198.51.100.3") for _ in range(BURST + 1)] == [200] * (BURST + 1)


def test_dvids_clients_are_refused_in_its_way_when_they_have_sent_their_body(guarded: Server) -> None:
    head = "POST /api/node/a/b/raw/0_1_2 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.4\r\n"
    answer = first_refusal(guarded, f"{head}Content-Length: 50000\r\n\r\n{'x' * 50000}")
    assert "content-type: text/plain" in answer
    assert "connection: keep-alive" in answer


def test_one_user_has_so_many_requests_wherever_they_come_from(guarded: Server) -> None:
    line = "GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.{i}\r\n\r\n"
    path = f"/data/health?token={TOKEN}"
    assert "limits.user_rate" in first_refusal(guarded, line.replace("{path}", path))
    with pytest.raises(AssertionError, match="none was refused"):  # it may have many readers
        first_refusal(guarded, line.replace("{path}", f"/shared/{LINK}/data/health"))


def check_no_link_was_told(main: MainServer) -> None:
    """They are ours alone."""
    assert main.requests
    assert not [asked for asked in main.requests if "link-" in str(asked)]
    administration = [asked.json() for asked in main.requests if b'"administrate"' in asked.body]
    assert not [asked for asked in administration if asked["resourceType"] != "webknossos"]


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


# ---- who has signed in on a page ------------------------------------------------------------------------------------

SIGNED_IN = {"Cookie": f"other=1; {SESSION_COOKIE}={TOKEN}"}
OWN_PAGES = [{"Content-Type": "application/json"}, {"Content-Type": "application/json; charset=utf-8"}, {"Origin": ""}]
FOREIGN_PAGES: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example", "Content-Type": "application/json"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {},
]


def test_a_session_reads_what_its_token_reads(guarded: Server) -> None:
    hidden = "/data/datasets/org/hidden"
    assert guarded.get(hidden, headers=SIGNED_IN).status_code == 200
    assert guarded.get(hidden, headers={"Cookie": f"{SESSION_COOKIE}=wrong"}).status_code == 404
    assert guarded.get(hidden, headers={**SIGNED_IN, "X-Auth-Token": "wrong"}).status_code == 404
    answer = guarded.get(hidden, headers={**SIGNED_IN, "Origin": "https://evil.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"  # so no browser lets that page see it
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("page", OWN_PAGES)
def test_a_session_changes_from_our_own_pages(guarded: Server, page: dict[str, str]) -> None:
    headers = {**SIGNED_IN, **{name: value or guarded.base for name, value in page.items()}}
    assert guarded.post("/data/triggers/reload/org/open", data=b"{}", headers=headers).status_code == 200


@pytest.mark.parametrize("page", FOREIGN_PAGES)
def test_a_session_changes_nothing_from_pages_of_others(guarded: Server, page: dict[str, str]) -> None:
    for path in ("/data/triggers/reload/org/open", "/api/config/dataset"):
        assert guarded.post(path, data=b"{}", headers={**SIGNED_IN, **page}).status_code == 403
    vouched = {**SIGNED_IN, **page, **SECRET}
    assert guarded.post("/data/triggers/reload/org/open", data=b"{}", headers=vouched).status_code == 200


@pytest.mark.parametrize(("method", "uri"), AT_ONCE)
def test_no_change_heeds_a_session_from_a_foreign_page(guarded: Server, method: str, uri: str) -> None:
    before = (guarded.data_dir / "datasets.json").read_bytes()
    for foreign in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        assert ask(guarded, method, uri, "open", {**SIGNED_IN, **foreign}).status_code == 403
    assert (guarded.data_dir / "datasets.json").read_bytes() == before


@pytest.mark.parametrize(("method", "uri"), [(method, uri) for method, uri, access in ROUTES if access == SIGNS_IN])
def test_no_foreign_page_signs_anybody_in_or_out(guarded: Server, open_server: Server, method: str, uri: str) -> None:
    for server in (guarded, open_server):
        for page in FOREIGN_PAGES[:-1]:
            headers = {**SIGNED_IN, **page}
            answer = requests.request(method, server.base + uri, data=f"token={TOKEN}", headers=headers, timeout=60)
            assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False), page


def test_a_user_of_webknossos_signs_in(shared: Server) -> None:
    page = {"Origin": shared.base, "Host": shared.base.removeprefix("http://")}
    answer = shared.post("/sign-in", data={"token": "alice"}, headers=page, allow_redirects=False)
    session = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
    listed = shared.get("/", headers=session).text
    assert "User of webKnossos" in listed
    assert '"datasets/org/open"' in listed
    assert "hidden" not in listed
    assert shared.get("/add", headers=session).status_code == 403
    assert "datasets/org/open" not in shared.get("/").text


def test_where_nobody_needs_to_sign_in_forms_are_taken_from_our_own_pages(open_server: Server) -> None:
    assert "anyone may do everything" in open_server.get("/sign-in").text
    page = {"Origin": open_server.base}
    assert open_server.post("/sign-in", data={"token": "x"}, headers=page).status_code == 404
    reload = "/datasets/org/open/reload"
    assert open_server.post(reload, data={}, headers=page, allow_redirects=False).status_code == 303


def test_bytes_that_are_no_text_do_no_harm(guarded: Server, shared: Server) -> None:
    odd = b"\xff\xfe"
    for headers in ({"X-Auth-Token": odd}, {"Authorization": b"Bearer " + odd}):
        for server, status in ((guarded, 404), (shared, 403)):
            address = server.base + "/data/datasets/org/hidden"
            assert requests.get(address, headers=headers, timeout=60).status_code == status
        address = guarded.base + "/data/triggers/checkInboxBlocking"
        assert requests.post(address, headers=headers, timeout=60).status_code == 403
    for path in ("/", "/data/datasets", "/api/server/info"):
        assert requests.get(guarded.base + path, headers={"Host": odd}, timeout=60).status_code == 200
