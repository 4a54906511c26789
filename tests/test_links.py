"""Share links over real ports: made by the command line, followed by browsers and clients, revoked in every worker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import requests
import tensorstore as ts

from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.cli import main
from wkdvid.client import Client

TOKEN = "administrator's-secret"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
VOXELS = np.asfortranarray(np.random.default_rng(1).integers(0, 255, (40, 32, 24), np.uint8))
LAYERS = {"em": {"source": "v", "type": "image"}, "hidden_layer": {"source": "v", "type": "image"}}
DATASETS = {
    "precomputed": {
        "my lab": {
            "brain": {"layers": LAYERS, "public": False, "uuid": "b1a1"},
            "free": {"layers": LAYERS, "uuid": "0be1"},
            "passing": {"layers": LAYERS, "public": False},
            "breaking": {"layers": {"em": LAYERS["em"], "hidden_layer": {"source": "w"}}, "public": False},
        }
    }
}
WORKERS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("data")
    for name in ("v", "w"):
        write_precomputed(folder / name, [((1, 1, 1), VOXELS)])
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": TOKEN}
    with running(folder, DATASETS, workers=WORKERS, environ=environ) as started:
        yield started
    assert "link-" not in (folder / "server.log").read_text()


def made(server: Server, **wanted: Any) -> Mapping[str, Any]:
    answer = server.post("/api/links", json={"dataset": "my lab/brain", **wanted}, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    link: Mapping[str, Any] = answer.json()
    return link


@pytest.fixture(scope="module")
def whole(server: Server) -> Mapping[str, Any]:
    return made(server)


@pytest.fixture(scope="module")
def layer(server: Server) -> Mapping[str, Any]:
    return made(server, layer="em", days=0.5)


def statuses(server: Server, token: str, path: str = "/data/datasets/my%20lab/brain") -> set[int]:
    """By many connections, which both workers take."""
    return {server.get(path, headers={"X-Auth-Token": token}).status_code for _ in range(12)}


def test_a_link_is_made_listed_and_revoked_by_the_command_line(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[list[str], str]:
        main(["link", *arguments, "--server", server.base, "--token", TOKEN])
        told = capsys.readouterr()
        return told.out.splitlines(), told.err

    (told, url), _ = run("my lab/brain/em", "--days", "30")
    link_id = told.removeprefix("my lab/brain/em: link ").partition(",")[0]
    token = url.removeprefix(f"{server.base}/shared/").removesuffix("/")
    assert statuses(server, token) == {200}
    (listed,) = (line for line in run("list")[0] if line.startswith(link_id))
    assert "my lab/brain/em  until 20" in listed
    assert token not in listed
    assert run("revoke", link_id)[0] == [f"my lab/brain/em: link {link_id} revoked"]
    assert statuses(server, token) == {404}
    assert "no link" in run("revoke", link_id)[1]


@pytest.mark.parametrize("wrong", [("revoke",), ("list", "x"), ("brain",), ("a/b", "c"), ("a/b/c/d",)])
def test_wrong_usage_is_said(wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", *wrong, "--server", "http://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err.startswith("wkdvid link: '")


BAD = [
    ([], 400),
    ({"layer": "em"}, 400),
    ({"dataset": "my lab/brain", "write": True}, 400),
    ({"dataset": "brain"}, 400),
    ({"dataset": "my lab/../brain"}, 400),
    ({"dataset": 1}, 400),
    ({"dataset": "my lab/brain", "layer": 1}, 400),
    ({"dataset": "my lab/brain", "layer": "other"}, 404),
    ({"dataset": "my lab/nothing"}, 404),
    *(({"dataset": "my lab/brain", "days": days}, 400) for days in (0, -1, 367, 1e400, True, "7", None)),
]


@pytest.mark.parametrize(("body", "status"), BAD)
def test_what_is_no_link_is_refused(server: Server, body: Any, status: int) -> None:
    before = server.get("/api/links", headers=ADMIN).json()
    text = json.dumps(body)
    assert server.post("/api/links", data=text, headers=ADMIN).status_code == status
    assert server.get("/api/links", headers=ADMIN).json() == before


def test_links_are_for_who_may_administrate(server: Server, whole: Mapping[str, Any]) -> None:
    body = {"dataset": "my lab/free"}
    for headers, status in (({}, 401), ({"X-Auth-Token": "x"}, 403), ({"X-Auth-Token": whole["token"]}, 403)):
        assert server.post("/api/links", json=body, headers=headers).status_code == status
        for query in ("", "?dataset=my%20lab/brain", "?dataset=my%20lab/nothing"):
            assert server.get(f"/api/links{query}", headers=headers).status_code == status
        for link in (whole["id"], "none"):
            answer = requests.delete(f"{server.base}/api/links/{link}", headers=headers, timeout=60)
            assert answer.status_code == status
    assert whole in server.get("/api/links", headers=ADMIN).json()
    assert whole in server.get("/api/links?dataset=my%20lab/brain", headers=ADMIN).json()
    assert server.get("/api/links?dataset=my%20lab/free", headers=ADMIN).json() == []
    assert statuses(server, whole["token"]) == {200}


BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
EM = "/data/datasets/my%20lab/brain/layers/em"


@pytest.mark.parametrize("name", ["whole", "layer"])
def test_the_token_is_taken_in_every_way(server: Server, request: pytest.FixtureRequest, name: str) -> None:
    token = request.getfixturevalue(name)["token"]
    own = {"X-Auth-Token": "a token of the caller's own"}
    for path, options in (
        (EM, {"headers": {"Authorization": f"Bearer {token}"}}),
        (EM, {"headers": {"X-Auth-Token": token}}),
        (EM, {"params": {"token": token}, "headers": own}),
        (f"/shared/{token}{EM}", {"params": {"token": "a token of the caller's own"}, "headers": own}),
    ):
        answer = server.post(f"{path}/data", json=[BUCKET], **options)
        assert (answer.status_code, len(answer.content)) == (200, 32**3)
    assert server.post(f"{EM}/data", json=[BUCKET], headers=own).status_code == 404


def test_a_link_to_a_layer_shows_that_one_alone(server: Server, layer: Mapping[str, Any]) -> None:
    below = f"/shared/{layer['token']}"
    for path in ("/", "/data/datasets", "/data/datasets/my%20lab/brain", "/api/repos/info", "/api/repo/b1a1/info"):
        text = server.get(below + path).text
        assert "em" in text
        assert not [name for name in ("hidden_layer", "free", "passing") if f'"{name}"' in text or f">{name}" in text]
    for path in (f"{EM}/data?x=0&y=0&z=0&width=1&height=1&depth=1&mag=1", "/api/node/b1a1/em/raw/0_1_2/2_2_2/0_0_0"):
        assert server.get(below + path).status_code == 200
        hidden, missing = (server.get(below + path.replace("em", name, 1)) for name in ("hidden_layer", "missing_lay"))
        assert hidden.status_code == missing.status_code in {400, 404}
        same = hidden.text.replace("hidden_layer", "missing_lay")
        assert same.partition("requestId")[0] == missing.text.partition("requestId")[0]
    page = f"{below}/datasets/my%20lab/brain"
    assert "hidden_layer" not in server.get(page).text
    assert f"{page}/source" not in server.get(page).text
    assert server.get(f"{page}/source").status_code == 404  # an inspection names all layers
    assert "brain" not in server.get(f"{below}/?q=hidden_layer").text
    assert server.get(f"{below}/v2/datasets/brain").status_code == 401  # clio's API is about whole datasets


def test_addresses_that_are_given_to_copy_are_the_links(server: Server, whole: Mapping[str, Any]) -> None:
    base = whole["url"].removesuffix("/")
    (listed,) = server.get(f"/shared/{whole['token']}/data/datasets").json()
    for path in (listed["addresses"]["webknossos"], listed["addresses"]["dvid"]):
        assert path.startswith(f"{base}/")
        assert requests.get(path, timeout=60).status_code == 200
    assert base in server.get(f"/shared/{whole['token']}/").text


def test_a_link_leads_to_its_page(server: Server, whole: Mapping[str, Any]) -> None:
    """What the page loads is below the link too."""
    page = server.get(f"/shared/{whole['token']}")
    assert page.url == whole["url"]
    assert "datasets/my%20lab/brain" in page.text
    assert "datasets/my%20lab/free" not in page.text
    assert server.get(f"/shared/{whole['token']}/assets/home.css").status_code == 200
    for path in ("/shared/x", "/shared/x/", f"/shared/x/{whole['token']}/", "/shared/", f"/shared/{whole['token']}x/"):
        assert server.get(path, allow_redirects=False).status_code == 404


def test_no_page_tells_others_its_address(server: Server, whole: Mapping[str, Any]) -> None:
    below = f"/shared/{whole['token']}"
    pages = ("", "/", "/docs", "/redoc", "/api/help", "/data/zarr/my%20lab/brain/em/")
    answers = [server.get(below + path, allow_redirects=False) for path in pages]
    html = [answer for answer in answers if answer.headers["Content-Type"].startswith("text/html")]
    assert len(html) == len(pages)
    assert {answer.headers.get("Referrer-Policy") for answer in html} == {"no-referrer"}


def test_clients_that_know_nothing_of_tokens_follow_a_link(server: Server, layer: Mapping[str, Any]) -> None:
    base = layer["url"]
    for driver, path in (
        ("zarr3", "data/v15/zarr/my%20lab/brain/em/1"),
        ("zarr3", "zarr/my%20lab/brain/em/1"),
        ("zarr", "zarr2/my%20lab/brain/em/1"),
        ("neuroglancer_precomputed", "precomputed/my%20lab/brain/em"),
    ):
        kvstore = {"driver": "http", "base_url": f"{base}{path}/"}
        read = np.squeeze(ts.open({"driver": driver, "kvstore": kvstore}).result().read().result())
        assert np.array_equal(read if read.shape == VOXELS.shape else read.T, VOXELS), path
    with Client(base) as client:
        assert np.array_equal(client.voxels("b1a1", "em")[0], VOXELS)


def test_a_link_to_a_layer_does_not_tell_what_is_wrong_with_others(server: Server) -> None:
    link = made(server, dataset="my lab/breaking", layer="em")
    (server.data_dir / "w").rename(server.data_dir / "away")
    server.post("/data/triggers/reload/my%20lab/breaking", headers=ADMIN).raise_for_status()
    path = "/data/datasets/my%20lab/breaking"
    assert "hidden_layer" in server.get(path, headers=ADMIN).text
    for shown in (path, f"{path}/layers/em/histogram", "/data/datasets", "/"):
        answer = server.get(f"/shared/{link['token']}{shown}")
        assert answer.status_code == (503 if shown.startswith(path) else 200)
        assert "breaking" in answer.text
        assert "hidden_layer" not in answer.text
    page = "/datasets/my%20lab/breaking/links"
    assert link["token"] in server.get(page, headers=ADMIN).text
    revoked = server.post(f"{page}/{link['id']}/revoke", headers=ADMIN, allow_redirects=False)
    assert revoked.status_code == 303
    assert server.get(f"/shared/{link['token']}{path}").status_code == 404


def test_links_go_with_their_dataset(server: Server) -> None:
    """Another one of its name is not shared by them."""
    link = made(server, dataset="my lab/passing")
    path = "/data/datasets/my%20lab/passing"
    assert statuses(server, link["token"], path) == {200}
    requests.delete(server.base + path, headers=ADMIN, timeout=60).raise_for_status()
    assert statuses(server, link["token"], path) == {404}
    again = {"precomputed": {"my lab": {"passing": DATASETS["precomputed"]["my lab"]["passing"]}}}
    server.post("/data/datasets", json=again, headers=ADMIN).raise_for_status()
    assert server.get(path, headers=ADMIN).status_code == 200
    assert statuses(server, link["token"], path) == {404}
