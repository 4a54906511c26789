"""Datasets that come from webKnossos's own pages, and what the main server is told that has no answer here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorstore as ts

from tests.backends.test_zarr import create_array
from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.frontends.webknossos.missing.routes import OF_DATASETS, OF_LAYERS, OF_SERVER
from wkdvid.testing.faulty import FileServer

MAIN = "https://webknossos.example"
ADMIN = {"X-Auth-Token": "t"}
BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
GREY = np.random.default_rng(3).integers(1, 255, (64, 48, 32), np.uint8)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    """The web server that holds the sources."""
    folder = tmp_path_factory.mktemp("far")
    levels = [((1, 1, 1), GREY), ((2, 2, 1), GREY[::2, ::2])]
    write_precomputed(folder / "em", levels, voxel_size_nm=(4, 4, 40))
    ids = GREY.astype(np.uint64) + np.uint64(2**60)
    write_precomputed(folder / "ids", [((1, 1, 1), ids)], voxel_size_nm=(4, 4, 40), kind="segmentation")
    write_precomputed(folder / "odd", [((1, 1, 1), GREY)], voxel_size_nm=(6, 6, 40))
    write_precomputed(folder / "two", [((1, 1, 1), np.stack([GREY, GREY], axis=-1))], voxel_size_nm=(4, 4, 40))
    create_array(str(folder / "zarr"), shape=GREY.shape[::-1], chunks=(32, 32, 32), dtype="uint8")[...] = GREY.T
    with FileServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, far: FileServer) -> Iterator[Server]:
    environ = {
        "WKDVID_ACCESS__MODE": "token",
        "WKDVID_ADMIN_TOKEN": "t",
        "WKDVID_SOURCES__HTTP_HOSTS": far.host,
        "WKDVID_WEBKNOSSOS__URL": MAIN,
    }
    folder = tmp_path_factory.mktemp("forms")
    datasets = {
        "precomputed": {"lab": {"ds": {"dataset_id": f"{7:024}", "layers": {"em": {"source": f"{far.url}em"}}}}}
    }
    with running(folder, datasets, environ=environ) as started:
        yield started
    assert "Traceback" not in (folder / "server.log").read_text()


def is_served(server: Server, path: str) -> bool:
    answer = server.post(f"/data/datasets/{path}/data", json=[BUCKET])
    return answer.content == np.asfortranarray(GREY[:32, :32, :32]).tobytes("F")


# ---- "Add wk-connect Dataset": the document that the browser makes of a Neuroglancer link ---------------------------


def form(name: str, far: FileServer) -> dict[str, Any]:
    return {"neuroglancer": {"lab": {name: {"layers": {"em": {"type": "image", "source": f"{far.url}em"}}}}}}


def preflight(server: Server, path: str) -> requests.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    return requests.options(server.base + path, headers={"Origin": MAIN, **asked}, timeout=60)


def test_the_page_of_the_main_server_adds_a_dataset(server: Server, far: FileServer) -> None:
    """From another origin, with the user's token in the address, as of 2019."""
    allowed = preflight(server, "/data/datasets?token=t").headers
    assert (allowed["Access-Control-Allow-Origin"], allowed["Access-Control-Allow-Headers"]) == ("*", "content-type")
    assert "POST" in allowed["Access-Control-Allow-Methods"]
    answer = server.post("/data/datasets?token=t", json=form("linked", far), headers={"Origin": MAIN})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json() == {"added": [["lab", "linked"]]}
    assert is_served(server, "lab/linked/layers/em")


def test_an_open_server_trusts_the_pages_of_its_main_server_alone(tmp_path: Path, far: FileServer) -> None:
    environ = {"WKDVID_WEBKNOSSOS__URL": MAIN, "WKDVID_SOURCES__HTTP_HOSTS": far.host}
    with running(tmp_path, {}, environ=environ) as server:
        for path, body in (("/data/datasets?token=any", form("a", far)), ("/api/neuroglancer/lab/b", form("b", far))):
            assert server.post(path, json=body, headers={"Origin": f"{MAIN}.evil"}).status_code == 403
            assert server.post(path, json=body, headers={"Origin": MAIN}).status_code == 200
        assert [dataset["name"] for dataset in server.get("/data/datasets").json()] == ["a", "b"]


# ---- the form of webknossos-connect's README ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["neuroglancer", "precomputed"])
def test_one_dataset_by_its_address(server: Server, far: FileServer, backend: str) -> None:
    layers = {"layers": {"em": {"source": f"{far.url}em"}}}
    answer = server.post(f"/api/{backend}/Demo%20Lab/{backend}", json=layers, headers=ADMIN)
    assert answer.json() == {"added": [["Demo Lab", backend]]}
    assert is_served(server, f"Demo%20Lab/{backend}/layers/em")


def test_one_dataset_out_of_a_whole_document(server: Server, far: FileServer) -> None:
    document = {**form("chosen", far), "boss": {"lab": {"other": {}}}}
    answer = server.post("/api/neuroglancer/lab/chosen", json=document, headers=ADMIN)
    assert answer.json() == {"added": [["lab", "chosen"]]}
    answer = server.post("/api/neuroglancer/lab/absent", json=document, headers=ADMIN)
    assert answer.status_code == 400
    assert answer.json()["messages"][0]["error"] == "body: there is no neuroglancer.lab.absent in this document"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/neuroglanzer/lab/x", {"layers": {}}, "unknown backend 'neuroglanzer'"),
        ("/api/neuroglancer/lab/x", {"layers": {}}, "neuroglancer.lab.x.layers: expected at least one layer"),
        ("/api/neuroglancer/lab/x", [], "neuroglancer.lab.x: expected an object"),
        ("/api/neuroglancer/lab/x", {"neuroglancer": []}, "there is no neuroglancer.lab.x"),
        ("/api/neuroglancer/..%2f/x", {"layers": {}}, "organization"),
    ],
)
def test_what_is_wrong_with_one_dataset_is_said(server: Server, path: str, body: Any, words: str) -> None:
    answer = server.post(path, json=body, headers=ADMIN)
    assert (answer.status_code, words in answer.text) == (400, True), answer.text


def test_one_dataset_needs_the_right_to_administrate(server: Server, far: FileServer) -> None:
    before = (server.data_dir / "datasets.json").read_bytes()
    for headers in ({}, {"X-Auth-Token": "guess"}):
        assert server.post("/api/neuroglancer/lab/x", json=form("x", far), headers=headers).status_code == 403
    assert (server.data_dir / "datasets.json").read_bytes() == before


# ---- today's "add remote dataset" -----------------------------------------------------------------------------------


def explored(server: Server, *addresses: str, **more: Any) -> dict[str, Any]:
    """As the main server asks on behalf of a user."""
    parameters = [{"remoteUri": address, **more} for address in addresses]
    body = {"layerParameters": parameters, "organizationId": "lab"}
    answer = server.post("/data/datasets/exploreRemote?token=t", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert isinstance(found["report"], str)
    return found


@pytest.mark.parametrize("form", ["{}", "precomputed://{}", "{}/", "{}/info", " {} "])
def test_a_precomputed_volume_is_described_where_it_is(server: Server, far: FileServer, form: str) -> None:
    found = explored(server, form.format(f"{far.url}em"))
    assert "Found 1 precomputed layers at" in found["report"]
    source = found["dataSource"]
    assert source["id"] == {"name": "", "team": ""}
    assert source["scale"] == {"factor": [4, 4, 40], "unit": "nanometer"}
    (layer,) = source["dataLayers"]
    assert (layer["name"], layer["category"], layer["elementClass"]) == ("em", "color", "uint8")
    assert layer["dataFormat"] == "neuroglancerPrecomputed"
    assert layer["boundingBox"] == {"topLeft": [0, 0, 0], "width": 64, "height": 48, "depth": 32}
    assert [(mag["mag"], mag["path"]) for mag in layer["mags"]] == [
        ([1, 1, 1], f"{far.url}em/1-1-1"),
        ([2, 2, 1], f"{far.url}em/2-2-1"),
    ]
    assert layer["mags"][0]["axisOrder"] == {"x": 0, "y": 1, "z": 2, "c": 3}


def test_a_zarr_array_can_be_read_at_the_path_that_is_told(server: Server, far: FileServer) -> None:
    (layer,) = explored(server, f"{far.url}zarr/zarr.json")["dataSource"]["dataLayers"]
    (mag,) = layer["mags"]
    kvstore = {"driver": "http", "base_url": mag["path"]}
    array = ts.open({"driver": layer["dataFormat"], "kvstore": kvstore}).result().read().result()
    order = [mag["axisOrder"][axis] for axis in "xyz"]
    np.testing.assert_array_equal(array.transpose(order), GREY)


def test_several_layers_stand_on_one_grid(server: Server, far: FileServer) -> None:
    found = explored(server, f"{far.url}em", f"{far.url}ids")
    layers = {layer["name"]: layer for layer in found["dataSource"]["dataLayers"]}
    assert {name: layer["category"] for name, layer in layers.items()} == {"em": "color", "ids": "segmentation"}
    apart = explored(server, f"{far.url}em", f"{far.url}odd")
    assert "dataSource" not in apart
    assert "The layers do not fit together: layers.odd: voxel size (6.0, 6.0, 40.0) nm is no whole" in apart["report"]


def test_a_failure_is_in_the_report(server: Server, far: FileServer) -> None:
    nothing = explored(server, f"{far.url}nothing")
    assert nothing.keys() == {"report"}
    assert "volume is there" in nothing["report"]
    assert "not on the public internet" in explored(server, "https://169.254.169.254/latest")["report"]
    some = explored(server, f"{far.url}nothing", f"{far.url}em", credentialId="0123")
    assert "volume is there" in some["report"]
    assert "Credentials that are given to webKnossos are not used here" in some["report"]
    assert [layer["name"] for layer in some["dataSource"]["dataLayers"]] == ["em"]


def test_what_the_form_does_not_know_is_said(server: Server, far: FileServer) -> None:
    """The main server has no name for one channel of several."""
    found = explored(server, f"{far.url}two")
    assert found.keys() == {"report"}
    assert "two_c0" in found["report"]
    assert "POST /data/datasets" in found["report"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "layerParameters: expected a list"),
        ({"layerParameters": []}, "a list of 1 to 32"),
        ({"layerParameters": [{"remoteUri": "x"}] * 33}, "a list of 1 to 32"),
        ({"layerParameters": [{"remoteUri": 1}]}, "layerParameters[0].remoteUri"),
    ],
)
def test_what_is_no_such_request(server: Server, body: Any, words: str) -> None:
    answer = server.post("/data/datasets/exploreRemote", json=body, headers=ADMIN)
    assert (answer.status_code, words in answer.text) == (400, True)
    assert server.post("/data/datasets/exploreRemote", json=body).status_code == 403


# ---- what there is not ----------------------------------------------------------------------------------------------

NAMES = {"organization": "lab", "domain": "mag", "action": "reserveUpload"}
PLACES = ("lab/ds", f"{7:024}")


def paths() -> Iterator[tuple[str, str]]:
    for method, path in OF_SERVER:
        yield method, "/data/datasets/" + path.replace("<", "{").replace(">", "}").format(**NAMES)
    yield "POST", "/data/datasets/lab/ds"
    for place in PLACES:
        for method, path in OF_DATASETS:
            yield method, f"/data/datasets/{place}{path}"


@pytest.mark.parametrize(("method", "path"), list(paths()))
def test_what_is_not_done_is_not_taken_for_done(server: Server, method: str, path: str) -> None:
    answer = requests.request(method, server.base + path, headers=ADMIN, json={}, timeout=60)
    assert answer.status_code == 501
    assert answer.json()["messages"][0]["error"]
    assert requests.request(method, server.base + path, json={}, timeout=60).status_code == 403


@pytest.mark.parametrize("place", PLACES)
def test_what_a_layer_lacks_is_not_found(server: Server, place: str) -> None:
    layer = f"/data/datasets/{place}/layers/em"
    asked = [(method, f"{layer}/{path.replace('<path:path>', 'm/skeleton/1')}") for method, path in OF_LAYERS]
    asked.append(("GET", f"/data/datasets/{place}/proxy/layers/em/attachments/meshes/mesh/info"))
    for method, path in asked:
        answer = requests.request(method, server.base + path, timeout=60)
        assert answer.status_code == 404, path
        assert answer.json()["messages"][0]["error"].startswith("layer 'em' has no ")


def test_triggers_that_have_nothing_to_do(server: Server) -> None:
    for trigger in (
        "newOrganizationFolder",
        "createOrganizationDirectory?organizationId=lab",
        "scanRealPathsForVirtual",
    ):
        assert server.post(f"/data/triggers/{trigger}", headers=ADMIN).text == "Ok"


@pytest.mark.parametrize("version", ["v0", "v4", "v17", "v999", "vv10", "v"])
@pytest.mark.parametrize("path", ["health", "datasets/lab/ds", "zarr/lab/ds/em/1/0.0.0.0"])
def test_other_versions_are_not_found(server: Server, version: str, path: str) -> None:
    answer = server.get(f"/data/{version}/{path}")
    assert answer.status_code == 404
    assert "does not support the requested HTTP API version" in json.dumps(answer.json()["messages"])
