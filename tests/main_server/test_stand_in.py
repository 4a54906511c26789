"""The stand-in for the main server: what the datastore protocol says of it, over its real port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from wkdvid.testing.webknossos import Generation, MainServer

LAYER = {
    "name": "v",
    "category": "color",
    "elementClass": "uint8",
    "dataFormat": "zarr3",
    "numChannels": 1,
    "boundingBox": {"topLeft": [0, 0, 0], "width": 64, "height": 64, "depth": 64},
    "mags": [{"mag": [1, 1, 1], "path": "./v/1"}, {"mag": [2, 2, 2], "path": "./v/2"}],
}
CONNECT_LAYER = {
    **LAYER,
    "dataFormat": "wkw",
    "resolutions": [[1, 1, 1]],
    "wkwResolutions": [{"resolution": [1, 1, 1], "cubeLength": 1024}],
}


def source(dataset: str = "d1", *, scale: Any = None, **layer: Any) -> dict[str, Any]:
    return {
        "id": {"name": dataset, "team": "lab"},
        "scale": scale or {"factor": [4, 4, 40], "unit": "nanometer"},
        "dataLayers": [{**LAYER, **layer}],
    }


BODIES = {
    Generation.ROOTED: [{"dataSource": source()}],
    Generation.PLAIN: [source()],
    Generation.CONNECT: [{**source(scale=[4, 4, 40]), "dataLayers": [CONNECT_LAYER]}],
}


@pytest.fixture
def main() -> Iterator[MainServer]:
    with MainServer() as server:
        server.add_user("alice", reads=["lab/d1"])
        server.add_user("boss", is_admin=True)
        yield server


def call(main: MainServer, method: str, action: str, body: Any = None, **query: str) -> requests.Response:
    address = f"{main.url}/api/datastores/{main.state.name}/{action}"
    return requests.request(method, address, json=body, params={"key": main.key, **query}, timeout=20)


def access(main: MainServer, body: Any, token: str = "") -> Any:
    return call(main, "POST", "validateUserAccess", body, token=token).json()


@pytest.mark.parametrize("generation", Generation)
def test_a_generation_understands_its_own_form_alone(main: MainServer, generation: Generation) -> None:
    main.state.generation = generation
    for form, body in BODIES.items():
        assert call(main, "PUT", "datasources", body).status_code == (200 if form is generation else 400)
    assert set(main.reported) == {"lab/d1"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ".v"},
        {"elementClass": "uint12"},
        {"category": "segmentation", "elementClass": "float"},
        {"mags": [{"mag": [2, 2, 2], "path": "./2"}, {"mag": [1, 1, 1], "path": "./1"}]},
        {"mags": [{"mag": [1, 1, 1], "path": ""}]},
        {"boundingBox": {"topLeft": [0, 0, 0], "width": 0, "height": 1, "depth": 1}},
        {"largestSegmentId": 2**64},
        {"dataFormat": "tiff"},
    ],
)
def test_what_the_real_server_refuses_is_refused(main: MainServer, wrong: dict[str, Any]) -> None:
    answer = call(main, "PUT", "datasources", [{"dataSource": source(**wrong)}])
    assert (answer.status_code, main.reported) == (400, {})


def test_datasets_that_are_not_reported_any_more_disappear(main: MainServer) -> None:
    call(main, "PUT", "datasources", [{"dataSource": source(name)} for name in ("d1", "d2")])
    call(main, "PUT", "datasources", [{"dataSource": source("d2")}])
    assert set(main.reported) == {"lab/d2"}
    call(main, "PUT", "datasources", [], organizationId="other")
    assert set(main.reported) == {"lab/d2"}


def test_ids_lead_to_datasets_and_back(main: MainServer) -> None:
    call(main, "PUT", "datasource", source())
    found = call(main, "GET", "findDatasetId", organizationId="lab", datasetDirectoryName="d1").json()
    assert found == main.dataset_id("lab/d1")
    assert call(main, "GET", f"datasources/{found}").json()["id"] == {"name": "d1", "team": "lab"}
    assert call(main, "GET", f"datasources/{'0' * 24}").status_code == 404
    assert call(main, "GET", "findDatasetId", organizationId="lab", datasetDirectoryName="no").status_code == 404


def test_who_may_read_and_administrate(main: MainServer) -> None:
    call(main, "PUT", "datasource", source())
    read = {"resourceId": main.dataset_id("lab/d1"), "resourceType": "dataset", "mode": "read"}
    assert [access(main, read, token)["granted"] for token in ("alice", "boss", main.token)] == [True] * 3
    assert access(main, read) == {"granted": False, "msg": "No read access"}
    main.state.public.add("lab/d1")
    assert access(main, read) == {"granted": True}
    administrate = {"resourceType": "webknossos", "mode": "administrate"}
    assert [access(main, administrate, token)["granted"] for token in ("alice", "boss")] == [False, True]


def test_the_oldest_generation_knows_datasets_by_name(main: MainServer) -> None:
    main.state.generation = Generation.CONNECT
    call(main, "PUT", "datasource", BODIES[Generation.CONNECT][0])
    read = {"resourceId": {"team": "lab", "name": "d1"}, "resourceType": "datasource", "mode": "read"}
    assert access(main, read, "alice") == {"granted": True}
    assert not access(main, read, "mallory")["granted"]
    modern = {"resourceId": main.dataset_id("lab/d1"), "resourceType": "dataset", "mode": "read"}
    assert call(main, "POST", "validateUserAccess", modern).status_code == 400
    assert call(main, "GET", "findDatasetId", organizationId="lab", datasetDirectoryName="d1").status_code == 404


def test_a_datastore_with_another_key_is_refused(main: MainServer) -> None:
    answer = call(main, "PATCH", "status", {"ok": True, "url": "http://x"}, key="wrong")
    assert (answer.status_code, answer.json()["granted"]) == (403, False)
    assert main.state.datastore_url is None


def test_versions_and_tokens_of_clients(main: MainServer) -> None:
    main.state.api = range(13, 15)
    info = requests.get(f"{main.url}/api/buildinfo", timeout=20).json()
    assert info["httpApiVersioning"] == {"currentApiVersion": 14, "oldestSupportedApiVersion": 13}
    headers = {"X-Auth-Token": "alice"}
    assert requests.get(f"{main.url}/api/v14/user", headers=headers, timeout=20).json()["organization"] == "lab"
    assert requests.get(f"{main.url}/api/v16/user", headers=headers, timeout=20).status_code == 404
    made = requests.post(f"{main.url}/api/userToken/generate", headers=headers, timeout=20)
    assert made.json() == {"token": "alice"}


def test_faults(main: MainServer) -> None:
    main.faults.status = 500
    assert call(main, "PUT", "datasource", source()).status_code == 500
    main.faults.status, main.faults.page = None, True
    assert "<title>" in call(main, "PUT", "datasource", source()).text
    main.faults.down = True
    with pytest.raises(requests.ConnectionError):
        call(main, "PUT", "datasource", source())
    assert main.reported == {}


def test_a_slow_answer_ends_with_the_server() -> None:
    with MainServer() as main:
        main.faults.delay_s = 600
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(call, main, "GET", "datasources")
            while not main.requests:
                time.sleep(0.01)
            main.stopped.set()
            assert isinstance(asking.exception(20), requests.ConnectionError)
