"""Who may do what, over a real port: modes open and token, foreign pages, and every route's declaration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.config import Config
from wkdvid.server import create_app

TOKEN = "administrator's-secret"
BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}


def make_volume(folder: Path) -> dict[str, Any]:
    write_precomputed(folder / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))])
    layers = {"layers": {"image": {"source": "v", "type": "image"}}}
    return {"precomputed": {"org": {"open": layers, "hidden": {**layers, "public": False}}}}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": TOKEN}
    with running(folder, make_volume(folder), environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("open")
    with running(folder, make_volume(folder)) as server:
        yield server


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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/data/datasets"),
        ("DELETE", "/data/datasets/org/open"),
        ("POST", "/data/triggers/reload/org/open"),
        ("POST", "/api/config/dataset?dataset_name=x"),
        ("DELETE", "/api/config/dataset?dataset_name=x"),
    ],
)
@pytest.mark.parametrize("token", [None, "wrong"])
def test_administration_needs_the_token(guarded: Server, method: str, path: str, token: str | None) -> None:
    before = (guarded.data_dir / "datasets.json").read_bytes()
    headers = {"X-Auth-Token": token} if token else {}
    answer = requests.request(method, guarded.base + path, json={}, headers=headers, timeout=60)
    assert answer.status_code in {400, 401, 403}
    assert TOKEN not in answer.text
    assert (guarded.data_dir / "datasets.json").read_bytes() == before


def test_open_datasets_are_read_without_a_token(guarded: Server) -> None:
    assert guarded.buckets("org/open/layers/image", BUCKET).content == bytes([5]) * 32**3


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
    body = {"precomputed": {"org": {"foreign": {"layers": {"image": {"source": "v", "type": "image"}}}}}}
    assert open_server.post("/data/datasets", json=body, headers=headers).status_code == status
    assert (
        open_server.post("/data/datasets/org/open/layers/image/data", json=[BUCKET], headers=headers).status_code == 200
    )


def test_own_origin_may_register(open_server: Server) -> None:
    body = {"precomputed": {"org": {"own": {"layers": {"image": {"source": "v", "type": "image"}}}}}}
    assert open_server.post("/data/datasets", json=body, headers={"Origin": open_server.base}).status_code == 200


def test_every_route_declares_its_access() -> None:
    app = create_app(Config())
    declared = {route.path: getattr(route.ctx, "access", None) for route in app.router.routes}
    assert {path for path, access in declared.items() if access not in {"public", "read", "administrate"}} == set()
    assert "administrate" in declared.values()
