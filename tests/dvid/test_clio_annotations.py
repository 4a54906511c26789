"""What users annotate over clio's API, as a read-only annotation instance of the dataset's DVID node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import requests

from tests.clio.accounts import OWNER, SECRET, Clio
from tests.servers import running
from tests.volumes import write_precomputed

U, V, R, NOBODY = "u@t.com", "v@t.com", "r@t.com", "n@t.com"
HELD, SHOWN, UUID = "lab/brain", "brain", "b4a1"
ROLES: Mapping[str, Any] = {
    U: {"datasets": {HELD: ["clio_general"]}, "groups": ["g"]},
    V: {"datasets": {HELD: ["clio_general"]}, "groups": ["g"]},
    R: {"datasets": {HELD: ["clio_read"]}},
    NOBODY: {},
}
NODE = f"/api/node/{UUID}/annotations"


@pytest.fixture(scope="module")
def clio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    folder = tmp_path_factory.mktemp("data")
    write_precomputed(folder / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))], voxel_size_nm=(4, 4, 40))
    layers = {"em": {"source": "v", "type": "image"}}
    entries = {
        "brain": {"uuid": UUID, "layers": layers},
        "bare": {"uuid": "ba4e", "layers": layers},
        "named": {"uuid": "aa3d", "layers": {"annotations": layers["em"]}},
    }
    environ = {"WKDVID_ACCESS__MODE": "clio", "OWNER": OWNER, "FLYEM_SECRET": SECRET}
    with running(folder, {"precomputed": {"lab": entries}}, environ=environ) as server:
        one = Clio(server)
        one.told(OWNER, "POST", "/v2/users", ROLES)
        point = {"kind": "point", "pos": [1, 2, 3], "tags": ["a"], "prop": {"n": 1}}
        line = {"kind": "lineseg", "pos": [-1, 0, 0, 70, 0, 0]}
        one.told(U, "POST", f"/v2/annotations/{SHOWN}", [point, line])
        one.told(V, "POST", f"/v2/annotations/{SHOWN}", {"kind": "point", "pos": [5, 5, 5]})
        one.told(OWNER, "POST", "/v2/annotations/named", point)
        yield one


def places(elements: list[Mapping[str, Any]]) -> list[list[int]]:
    return sorted(one["Pos"] for one in elements)


def test_elements_of_boxes(clio: Clio) -> None:
    (found,) = clio.told(U, "GET", f"{NODE}/elements/1_1_1/1_2_3")
    assert found["Prop"] == {"n": "1", "kind": "point", "key": "Pt1_2_3", "user": U}
    assert (found["Kind"], found["Tags"], found["Rels"]) == ("Note", ["a"], [])
    assert places(clio.told(U, "GET", f"{NODE}/elements/64_64_64/0_0_0")) == [[1, 2, 3], [5, 5, 5]]
    assert places(clio.told(OWNER, "GET", f"{NODE}/elements/80_9_9/-5_0_0")) == [
        [-1, 0, 0],
        [1, 2, 3],
        [5, 5, 5],
        [70, 0, 0],
    ]
    assert clio.told(U, "GET", f"{NODE}/elements/5_5_5/30_0_0") is None  # the line goes through, but has no end there


def test_elements_by_block_and_tag(clio: Clio) -> None:
    found = clio.told(U, "GET", f"{NODE}/all-elements")
    assert {block: places(some) for block, some in found.items()} == {
        "-1,0,0": [[-1, 0, 0]],
        "0,0,0": [[1, 2, 3], [5, 5, 5]],
        "1,0,0": [[70, 0, 0]],
    }
    assert found["1,0,0"][0]["Rels"] == [{"Rel": "GroupedWith", "To": [-1, 0, 0]}]
    assert clio.told(U, "GET", f"{NODE}/blocks/5_5_5/65_0_0") == {"1,0,0": found["1,0,0"]}
    assert places(clio.told(U, "GET", f"{NODE}/tag/a")) == [[1, 2, 3]]
    assert clio.told(U, "GET", f"{NODE}/tag/b") == []


def test_whose_they_are(clio: Clio) -> None:
    assert clio.told(R, "GET", f"{NODE}/all-elements") == {}
    assert clio.told(OWNER, "GET", f"{NODE}/all-elements") == clio.told(V, "GET", f"{NODE}/all-elements")
    assert clio.ask(NOBODY, "GET", f"{NODE}/all-elements").status_code == 400  # there is no such node, to them


def test_the_instance(clio: Clio) -> None:
    assert clio.told(U, "GET", f"{NODE}/info")["Base"]["TypeName"] == "annotation"
    assert "all-elements" in clio.ask(U, "GET", f"{NODE}/help").text
    listed = {one["Alias"]: one["DataInstances"] for one in clio.told(OWNER, "GET", "/api/repos/info").values()}
    assert {name: "annotations" in instances for name, instances in listed.items()} == {
        "brain": True,
        "bare": False,
        "named": True,
    }
    missing = clio.ask(OWNER, "GET", "/api/node/ba4e/annotations/all-elements")
    assert (missing.status_code, "invalid data instance name" in missing.text) == (400, True)
    for method, path in (("POST", "elements"), ("DELETE", "element/1_2_3"), ("POST", "sync")):
        refused: requests.Response = clio.ask(OWNER, method, f"{NODE}/{path}", [])
        assert refused.status_code == 400
    assert places(clio.told(U, "GET", f"{NODE}/tag/a")) == [[1, 2, 3]]


def test_voxels_have_the_datasets_size(clio: Clio) -> None:
    info = clio.told(U, "GET", f"/v2/annotations/{SHOWN}/precomputed/point/info")
    assert [info["dimensions"][axis][0] for axis in "xyz"] == pytest.approx([4e-9, 4e-9, 40e-9])
    assert b'<scale x="4" y="4" z="40"' in clio.ask(U, "GET", f"/v2/annotations/{SHOWN}/export/nml").content


def test_as_a_layer_of_precomputed(clio: Clio) -> None:
    ours, theirs = "/precomputed/lab/brain/annotations", f"/v2/annotations/{SHOWN}/precomputed"
    for kind in ("point", "lineseg", "sphere"):
        info = clio.told(U, "GET", f"{ours}/{kind}/info")
        assert info == clio.told(U, "GET", f"{theirs}/{kind}/info?groups=g")
        cell = f"{kind}/{info['spatial'][0]['key']}/0_0_0"
        found = clio.ask(U, "GET", f"{ours}/{cell}")
        assert (found.status_code, found.content) == (200, clio.ask(U, "GET", f"{theirs}/{cell}?groups=g").content)
        assert (found.headers["Cache-Control"], "ETag" in found.headers) == ("no-store", False)
    numbers = np.frombuffer(clio.ask(U, "GET", f"{ours}/lineseg/{cell.partition('/')[2]}").content[32:], "<u8")
    assert len(numbers) == 1
    for number in numbers:
        assert (
            clio.ask(U, "GET", f"{ours}/lineseg/by_id/{number}").content
            == np.array([-1, 0, 0, 70, 0, 0], "<f4").tobytes()
        )
    assert clio.told(R, "GET", f"{ours}/point/info")["spatial"][0]["limit"] == 1  # of none
    for path in ("point", "point/by_id/0", "point/spatial/x/0_0_0", "point/by_id/1/2", "box/info"):
        assert clio.ask(U, "GET", f"{ours}/{path}").status_code == 404
    for who, dataset in ((NOBODY, "brain"), (U, "bare")):
        assert clio.ask(who, "GET", f"/precomputed/lab/{dataset}/annotations/point/info").status_code == 404


def test_a_layer_that_is_called_so_is_there_too(clio: Clio) -> None:
    layer = "/precomputed/lab/named/annotations"
    assert clio.told(OWNER, "GET", f"{layer}/info")["data_type"] == "uint8"
    assert clio.ask(OWNER, "GET", f"{layer}/1/0-32_0-32_0-32").content == bytes([5]) * 32**3
    assert clio.told(OWNER, "GET", f"{layer}/point/info")["annotation_type"] == "POINT"
