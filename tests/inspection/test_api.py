"""``POST /api/inspect`` of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import requests

from tests.cli.program import wkdvid_here
from tests.servers import Server, free_port, running
from tests.volumes import write_precomputed

ADMIN = {"Authorization": "Bearer admin"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("data")
    write_precomputed(folder / "em", [((1, 1, 1), np.full((72, 64, 64), 7, np.uint8))])
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "admin", "WKDVID_SOURCES__HTTP_HOSTS": "127.0.0.1"}
    with running(folder, {}, environ=environ) as started:
        yield started


def ask(server: Server, body: object, headers: Mapping[str, str] = ADMIN) -> requests.Response:
    return server.post("/api/inspect", json=body, headers=headers)


def errors(answer: requests.Response) -> str:
    document = answer.json()
    assert document.keys() == {"messages", "code", "requestId"}
    return "\n".join(message["error"] for message in document["messages"])


def test_it_answers_what_the_command_prints(server: Server) -> None:
    answer = ask(server, {"source": "em"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    printed: dict[str, Any] = json.loads(wkdvid_here("inspect", "em", "--json", cwd=server.data_dir).stdout)
    printed.pop("url")
    assert answer.json() == printed
    assert str(server.data_dir) not in answer.text


def test_an_entry_is_looked_at_and_not_registered(server: Server) -> None:
    layers = {"image": {"source": "em"}, "ids": {"source": "em", "type": "segmentation"}}
    found = ask(server, {"backend": "precomputed", "layers": layers, "voxel_size": [4, 4, 40]}).json()
    assert [(layer["name"], layer["category"], layer["voxelSizeNm"]) for layer in found["layers"]] == [
        ("image", "color", [4, 4, 40]),
        ("ids", "segmentation", [4, 4, 40]),
    ]
    assert server.get("/data/datasets").json() == []


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"X-Auth-Token": "guess"}, 403)])
def test_it_needs_the_right_to_administrate(server: Server, headers: dict[str, str], status: int) -> None:
    """Before anything is looked at."""
    answer = ask(server, {"source": "em"}, headers)
    assert answer.status_code == status
    assert "em" not in answer.json()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"source": "nothing"}, 400, "volume is there"),
        ({"source": "/etc"}, 400, "outside the directories"),
        ({"source": "https://169.254.169.254/latest"}, 400, "not on the public internet"),
        ({"source": "em", "sorce": 1, "public": 1}, 400, "layers.em.sorce: unknown option"),
        ([], 400, "body: expected an object"),
        ({"source": f"http://127.0.0.1:{free_port()}/em"}, 503, "does not answer"),
    ],
)
def test_errors(server: Server, body: object, status: int, words: str) -> None:
    answer = ask(server, body)
    assert (answer.status_code, words in errors(answer)) == (status, True), answer.text


def test_each_problem_of_an_entry_is_a_message(server: Server) -> None:
    answer = ask(server, {"source": "em", "sorce": 1, "tipe": 1})
    assert len(answer.json()["messages"]) == 2


def test_damaged_sources_and_what_is_no_json(server: Server) -> None:
    (server.data_dir / "damaged").mkdir()
    (server.data_dir / "damaged/info").write_text("{")
    assert ask(server, {"source": "damaged"}).status_code == 502
    answer = server.post("/api/inspect", data="{", headers=ADMIN)
    assert (answer.status_code, "not valid JSON at line 1" in errors(answer)) == (400, True)
    assert server.get("/api/inspect", headers=ADMIN).status_code == 405


def test_no_page_of_another_origin_can_make_an_open_server_look(server: Server, tmp_path: Any) -> None:
    with running(tmp_path, {}) as open_server:
        refused = ask(open_server, {"source": "em"}, {"Origin": "https://evil.example"})
        assert refused.status_code == 403
        assert ask(open_server, {"source": "em"}, {}).status_code == 400
