"""Signatures and transfers over clio's API: the answers of its description, and a volume that readers open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import requests
import tensorstore as ts

from tests.clio.accounts import OWNER, Clio, clio_server
from tests.signatures.test_search import SEVEN, turned
from tests.transfer.test_models import write_model
from tests.volumes import Voxels, write_precomputed
from wkdvid.signatures.building import build
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.records import records_of

U, R = "u@t.com", "r@t.com"
OFFSET, SIDE = (20, 0, 40), 128
MODEL = "vnc2hemi:synfocal_3000"
REQUEST = {"dataset": "mb20", "model_name": "identity", "center": [84, 64, 104.5], "size": [128, 128, 128]}
AT, LIKE = "/v2/signatures/atlocation/mb20", "/v2/signatures/likelocation/mb20"


@pytest.fixture(scope="module")
def clio(tmp_path_factory: pytest.TempPathFactory, medulla: Mapping[str, Voxels]) -> Iterator[Clio]:
    """The volume is what clio's clients call mb20."""
    folder = tmp_path_factory.mktemp("data")
    grey = medulla["grayscale"][:SIDE, :SIDE, :SIDE]
    write_precomputed(folder / "em", [((1, 1, 1), grey)], offsets=[OFFSET], voxel_size_nm=(8, 8, 8))
    write_model(folder / "models" / f"{MODEL}.onnx", 3, 1, {"margin": "1"})
    layers = {"layers": {"em": {"source": "em"}}}
    (folder / "datasets.json").write_text(json.dumps({"precomputed": {"lab": {"mb20": layers, "other": layers}}}))
    with clio_server(folder) as server:
        yield server


def write_index(folder: Path) -> None:
    """That of the description's example."""
    places = {
        (1000, 1000, 1000): 5,
        (1016, 1000, 1000): SEVEN,
        (5000, 5000, 5000): turned(SEVEN, 1),
        (5050, 5000, 5000): turned(SEVEN, 2),
        (5101, 5000, 5000): turned(SEVEN, 7),
    }
    records = records_of(np.array(list(places)), np.array(list(places.values()), np.uint64))
    build(SignatureFolders(folder / "signatures").folder(("lab", "mb20")), [records], 160, {})


def test_places_that_look_alike(clio: Clio) -> None:
    place = {"x": "1014", "y": "1000", "z": "1000"}
    without = clio.ask(U, "GET", AT, params=place)
    assert (without.status_code, list(without.json())) == (503, ["detail"])
    write_index(clio.server.data_dir)
    assert clio.told(U, "GET", AT, params=place) == {"point": [1016, 1000, 1000], "signature": "-7"}
    assert clio.told(U, "GET", f"{AT}/", params={**place, "app": "x"})["signature"] == "-7"
    assert clio.told(U, "GET", "/signatures/atlocation/lab%2Fmb20", params=place)["signature"] == "-7"
    place["x"] = "1016"
    assert clio.told(U, "GET", LIKE, params=place) == {
        "matches": [
            {"point": [5000, 5000, 5000], "dist": 1, "score": 0.875},
            {"point": [5101, 5000, 5000], "dist": 7, "score": 0.125},
        ]
    }
    near = clio.told(U, "GET", LIKE, params={**place, "max_dist": 40, "max_ham": "4", "limit": "2"})
    assert near == {
        "matches": [
            {"point": [5000, 5000, 5000], "dist": 1, "score": 0.75},
        ]
    }
    assert clio.told(U, "GET", LIKE, params={**place, "max_ham": 1}) == {"matches": [], "message": "no matches"}


def test_where_there_is_no_signature(clio: Clio) -> None:
    write_index(clio.server.data_dir)
    far, found = {"x": 9000, "y": 9000, "z": -(2**62)}, "point not found"
    for path in (AT, LIKE):
        assert clio.told(U, "GET", path, params=far) == {"messsage": found, "message": found}
        other = clio.told(OWNER, "GET", path.replace("mb20", "other"), params=far)
        assert other["messsage"] == other["message"] == "dataset not found"
        missing = clio.ask(U, "GET", path, params={"x": 1.5, "y": 1})
        assert (missing.status_code, len(missing.json()["detail"])) == (422, 2)
        assert clio.ask(U, "GET", path, params={**far, "max_ham": "x"}).status_code == 422
        assert clio.ask(U, "GET", path, params={**far, "max_ham": 66}).status_code == 400
        assert clio.ask(R, "GET", path, params=far).status_code == 403


def volume_of(answer: Mapping[str, str]) -> str:
    """Address of the volume that the link shows."""
    viewer, _, state = answer["addr"].partition("#!")
    assert viewer == "https://neuroglancer-demo.appspot.com/"
    (layer,) = json.loads(unquote(state))["layers"]
    scheme, _, address = layer["source"]["url"].partition("://")
    assert scheme == "precomputed"
    return str(address)


@pytest.fixture(scope="module")
def made(clio: Clio) -> str:
    """The address of what was transferred."""
    return volume_of(clio.told(R, "POST", "/transfer", REQUEST))


def test_a_transfer_is_read_by_others_where_it_was_in_the_volume(made: str, medulla: Mapping[str, Voxels]) -> None:
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "http", "base_url": made}}
    volume = ts.open(spec, open=True).result()
    assert volume.domain.origin == (*OFFSET, 0)
    assert np.array_equal(volume.read().result()[..., 0], medulla["grayscale"][:SIDE, :SIDE, :SIDE])


def test_its_files_are_for_every_page_that_knows_the_name(clio: Clio, made: str) -> None:
    chunk = f"{made}/8_8_8/20-84_0-64_40-104"
    for origin in ({}, {"Origin": "https://neuroglancer.example"}):
        whole = requests.get(chunk, headers=origin, timeout=30)
        assert (whole.status_code, len(whole.content)) == (200, 64**3)
        assert whole.headers["Access-Control-Allow-Origin"] == "*"
    part = requests.get(chunk, headers={"Range": "bytes=10-19"}, timeout=30)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{64**3}"
    assert requests.get(chunk, headers={"Range": f"bytes={64**3}-"}, timeout=30).status_code == 416
    assert requests.head(f"{made}/info", timeout=30).headers["Content-Type"] == "application/json"
    name = made.rpartition("/")[2]
    for path in (
        "",
        "none",
        "8_8_8",
        "info/",
        "8_8_8/84-148_0-64_40-10",
        "..%2F..%2Fdatasets.json",
        "%2e%2e/datasets.json",
    ):
        assert requests.get(f"{made}/{path}", timeout=30).status_code == 404, path
    for wrong in ("x" * 20, name[:-1], "..", "%2e%2e"):
        assert requests.get(f"{clio.server.base}/cache/{wrong}/info", timeout=30).status_code == 404


def test_models_of_files_and_of_the_dataset(clio: Clio) -> None:
    assert volume_of(clio.told(U, "POST", "/v2/transfer/", {**REQUEST, "model_name": MODEL}))
    clio.told(OWNER, "POST", "/v2/datasets", {"mb20": {"description": "d", "transfer": [MODEL]}})
    refused = clio.ask(U, "POST", "/v2/transfer", REQUEST)
    assert (refused.status_code, refused.json()) == (
        400,
        {"detail": "model 'identity' is not among those of dataset mb20"},
    )
    clio.told(OWNER, "POST", "/v2/datasets", {"mb20": {"description": "d"}})


@pytest.mark.parametrize(
    ("user", "changed", "status", "said"),
    [
        ("nobody@t.com", {}, 403, "no permission to read dataset mb20"),
        (OWNER, {"dataset": "none"}, 404, "there is no dataset none"),
        (OWNER, {"layer": "none"}, 404, "has no layer 'none'"),
        (U, {"model_name": "none"}, 400, "model: 'none' is not offered; offered are identity, clahe"),
        (U, {"center": [5000, 0, 0]}, 400, "failed: center: voxels"),
        (U, {"size": [100, 128, 128]}, 400, "multiples of 64"),
        (U, {"center": [1, 2]}, 422, "expected a list of three numbers"),
        (U, {"center": [1, 2, "3"], "model_name": 5}, 422, "model_name"),
        (U, {"dataset": ""}, 422, "expected a text"),
    ],
)
def test_what_cannot_be_transferred(
    clio: Clio, user: str, changed: Mapping[str, object], status: int, said: str
) -> None:
    answer = clio.ask(user, "POST", "/v2/transfer", {**REQUEST, **changed})
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert clio.ask(user, "POST", "/v2/transfer", [REQUEST]).status_code == 422
