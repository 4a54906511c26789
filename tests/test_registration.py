"""What a registration refuses, and what becomes of a dataset whose source goes away, at a real server."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import write_precomputed

SIDE = 64
SPEC = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": "v/"}}


def entry(name: str, **options: object) -> dict[str, object]:
    layers = {"em": {"source": "v", "type": "image"}}
    return {"precomputed": {"org": {name: {"layers": layers, **options}}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("registration")
    for name, dtype in (("v", np.uint8), ("float", np.float32)):
        write_precomputed(folder / name, [((1, 1, 1), np.full((SIDE, SIDE, SIDE), 7, dtype))])
    environ = {"WKDVID_LIMITS__RESPONSE_BYTES": "1MiB", "VOLUME": "v", "KIND": "image"}
    with running(folder, {}, workers=2, environ=environ) as one:
        yield one


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"precomputed": {}, "precomputed": {}}', "'precomputed' stands twice"),
        ('{"precomputed": {"org": {"\\ud800": {}}}}', "not UTF-8 text"),
        ('{"precomputed": {"org": {"d": {"voxel_size": [1, 1, %s]}}}}' % ("9" * 5000), "a number too long"),
        ('{"precomputed": {"org": {"d": {"voxel_size": [1, 1, NaN]}}}}', "NaN is not a number"),
        ('{"precomputed": \n{"org"}}', "line 2, column 7"),
    ],
)
def test_what_is_no_document_is_refused(server: Server, body: str, said: str) -> None:
    answer = server.post("/data/datasets", data=body)
    assert answer.status_code == 400
    assert said in answer.json()["messages"][0]["error"]
    assert server.get("/data/datasets").json() == []


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"source": "float", "type": "segmentation"}, "labels are whole numbers"),
        ({"source": "v", "type": "segmentation", "compression": "jpeg"}, "jpeg is for gray images"),
        ({"source": "float", "compression": "jpeg"}, "jpeg is for gray images"),
        ({"backend": "tensorstore", "source": [SPEC, SPEC], "mags": [[1, 1, 1], [1, 1, 1]]}, "no two alike"),
        ({"backend": "tensorstore", "source": {**SPEC, "scale_index": 10**30}}, "not a valid spec"),
    ],
)
def test_a_layer_that_cannot_be_what_it_says_is_refused(server: Server, layer: dict[str, object], said: str) -> None:
    answer = server.post("/data/datasets", json={"precomputed": {"org": {"d": {"layers": {"em": layer}}}}})
    assert answer.status_code == 400
    assert said in answer.json()["messages"][0]["error"]
    assert "precomputed.org.d.layers.em" in answer.json()["messages"][0]["error"]


@pytest.mark.parametrize("status", [500, "403", True, [403]])
def test_a_status_of_holes_is_403(server: Server, status: object) -> None:
    dataset = {"absent_status": status, "layers": {"em": {"source": "v"}}}
    answer = server.post("/data/datasets", json={"precomputed": {"org": {"d": dataset}}})
    assert answer.status_code == 400
    assert "precomputed.org.d.absent_status: expected 403" in answer.json()["messages"][0]["error"]


def test_a_unit_of_the_dataset_holds_for_its_layers(server: Server) -> None:
    layers = {"em": {"source": "v", "type": "image", "voxel_size": [1, 2, 3]}}
    body = {"precomputed": {"org": {"unit": {"voxel_unit": "um", "layers": layers}}}}
    assert server.post("/data/datasets", json=body).status_code == 200
    source = server.get("/data/datasets/org/unit").json()["dataSource"]
    assert source["scale"]["factor"] == [1000, 2000, 3000]


def test_variables_are_replaced_and_never_written_back(server: Server) -> None:
    layers = {"second": {"source": "${VOLUME}", "type": "$KIND"}, "first": {"source": "./$VOLUME"}}
    body = {"precomputed": {"org": {"variables": {"layers": layers}}}}
    answer = server.post("/data/datasets", json=body)
    assert (answer.status_code, answer.json()) == (200, {"added": [["org", "variables"]]})
    shown = server.get("/data/datasets/org/variables").json()["dataSource"]["dataLayers"]
    assert [layer["name"] for layer in shown] == ["second", "first"]
    stored = json.loads((server.data_dir / "datasets.json").read_text())["precomputed"]["org"]["variables"]
    assert json.dumps(stored) == json.dumps({"layers": layers}), "as it was sent, in its order"


def test_datasets_may_exchange_their_ids(server: Server) -> None:
    ids = ["a" * 24, "b" * 24, "c" * 24]
    for first, second in ((0, 1), (1, 2), (2, 0), (1, 0)):
        body = entry("one", dataset_id=ids[first])
        body["precomputed"]["org"] |= entry("two", dataset_id=ids[second])["precomputed"]["org"]  # type: ignore[index]
        assert server.post("/data/datasets", json=body).status_code == 200
        for _ in range(8):  # either worker
            for name, number in (("one", first), ("two", second)):
                assert server.get(f"/data/datasets/{ids[number]}").json()["dataSource"]["id"]["name"] == name


def test_todays_main_server_reloads_by_id(server: Server) -> None:
    assert server.post("/data/datasets", json=entry("d", dataset_id="d" * 24)).status_code == 200
    assert server.post(f"/data/triggers/reload/org/{'d' * 24}").status_code == 200
    assert server.post(f"/data/triggers/reload/elsewhere/{'d' * 24}").status_code == 404


def test_a_cutout_may_not_be_larger_than_the_limit(server: Server) -> None:
    assert server.post("/data/datasets", json=entry("d")).status_code == 200
    query = "mag=1&x=0&y=0&z=0&height=128&depth=64"
    assert len(server.get(f"/data/datasets/org/d/layers/em/data?{query}&width=128").content) == 2**20
    answer = server.get(f"/data/datasets/org/d/layers/em/data?{query}&width=129")
    assert (answer.status_code, "limits.response_bytes" in answer.text) == (413, True)


def test_a_source_that_is_gone_is_not_shown_as_empty(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", [((1, 1, 1), np.full((SIDE, SIDE, SIDE), 7, np.uint8))])
    with running(tmp_path, entry("d"), environ={"WKDVID_SOURCES__REFRESH_S": "1"}) as server:
        assert server.get("/data/datasets/org/d").status_code == 200
        shutil.move(tmp_path / "v", tmp_path / "away")
        assert _comes_to(server, 503)
        (listed,) = server.get("/data/datasets").json()
        assert (listed["state"], "v" in listed["reason"]) == ("unavailable", True)
        shutil.move(tmp_path / "away", tmp_path / "v")
        server.post("/data/triggers/reload/org/d")
        assert _comes_to(server, 200)
    assert json.loads((tmp_path / "datasets.json").read_text()) == entry("d")


def _comes_to(server: Server, status: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if server.get("/data/datasets/org/d").status_code == status:
            return True
        time.sleep(0.1)
    return False
