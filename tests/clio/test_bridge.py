"""Typed annotations over HTTP in other programs' forms, and imported; who may see and change whose."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.clio.accounts import DATASET, OWNER, Clio
from wkdvid.cli import main

U, V, W, R = "u@t.com", "v@t.com", "w@t.com", "r@t.com"
TYPED = f"/v2/annotations/{DATASET}"
OURS = [
    {"kind": "point", "pos": [1, 2, 3], "title": "T", "tags": ["a"], "prop": {"n": 1}},
    {"kind": "point", "pos": [200, 2, 3]},
    {"kind": "lineseg", "pos": [0, 0, 0, 90, 90, 90]},
    {"kind": "sphere", "pos": [0, 0, 0, 6, 8, 0]},
]
THEIRS = {"kind": "point", "pos": [5, 5, 5]}


@pytest.fixture(scope="module")
def clio(clio: Clio) -> Clio:
    document = {"description": "4nm MB", "dimensions": {axis: [8e-9, "m"] for axis in "xyz"}}
    clio.told(OWNER, "POST", "/v2/datasets", {DATASET: document})
    return clio


@pytest.fixture
def stored(clio: Clio) -> Clio:
    for one in clio.told(OWNER, "GET", f"{TYPED}?user=all"):
        clio.told(OWNER, "DELETE", f"{TYPED}/{one['key']}?user_email={one['user']}")
    clio.told(U, "POST", TYPED, OURS)
    clio.told(V, "POST", TYPED, THEIRS)
    return clio


def keys(clio: Clio, user: str, query: str = "") -> list[str]:
    return [one["key"] for one in clio.told(user, "GET", TYPED + query)]


ALL = ["Ln0_0_0_90_90_90", "Pt1_2_3", "Pt200_2_3", "Sp0_0_0_6_8_0"]


def test_whose_are_seen(stored: Clio) -> None:
    assert sorted(keys(stored, U)) == ALL
    assert sorted(keys(stored, U, "?groups=g1")) == sorted([*ALL, "Pt5_5_5"])
    assert sorted(keys(stored, OWNER, "?user=all")) == sorted([*ALL, "Pt5_5_5"])
    assert keys(stored, R) == []
    for user in (U, W, R):
        for path in ("", "/export/csv", "/precomputed/point/info"):
            assert stored.ask(user, "GET", f"{TYPED}{path}?user=all").status_code == 403
    assert sorted(stored.told(U, "GET", f"{TYPED}?format=dict")) == ALL


@pytest.mark.parametrize(
    ("box", "found"),
    [
        ("0,0,0,1,1,1", ["Ln0_0_0_90_90_90", "Sp0_0_0_6_8_0"]),
        ("1,2,3,2,3,4", ["Ln0_0_0_90_90_90", "Pt1_2_3", "Sp0_0_0_6_8_0"]),
        ("-2,9,0,-1,10,1", ["Sp0_0_0_6_8_0"]),
        ("200,2,3,201,3,4", ["Pt200_2_3"]),
        ("200,2,3,200,2,3", []),
        ("-9223372036854775808,0,0,9223372036854775807,9,9", ALL),
    ],
)
def test_boxes(stored: Clio, box: str, found: list[str]) -> None:
    assert sorted(keys(stored, U, f"?box={box}")) == found


@pytest.mark.parametrize("box", ["1,2,3", "0,0,0,1,1,x", "0,0,0,-1,1,1", "0,0,0,1,1,9223372036854775808"])
def test_no_box(stored: Clio, box: str) -> None:
    wrong = stored.ask(U, "GET", f"{TYPED}?box={box}")
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["query", "box"])


# ---- other forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "nml"])
def test_what_is_exported_can_be_imported(stored: Clio, form: str) -> None:
    before = stored.told(U, "GET", TYPED)
    body = stored.ask(U, "GET", f"{TYPED}/export/{form}").content
    for one in before:
        stored.told(U, "DELETE", f"{TYPED}/{one['key']}")
    assert keys(stored, U) == []
    report = stored.told(U, "POST", f"{TYPED}/import?format={form}", data=body)
    assert report == {"imported": 4, "right": 4, "wrong": 0, "errors": []}
    assert stored.told(U, "GET", TYPED) == before


def test_parquet_and_elements(stored: Clio) -> None:
    table = pq.read_table(io.BytesIO(stored.ask(U, "GET", f"{TYPED}/export/parquet").content))
    assert sorted(table["key"].to_pylist()) == ALL
    found = stored.told(U, "GET", f"{TYPED}/export/dvid?box=200,0,0,300,9,9")
    assert [(each["Pos"], each["Prop"]["user"]) for each in found] == [([200, 2, 3], U)]
    assert stored.ask(U, "GET", f"{TYPED}/export/doc").status_code == 404


def test_a_state_for_neuroglancer(stored: Clio) -> None:
    state = stored.told(U, "GET", f"{TYPED}/export/neuroglancer")
    assert state["dimensions"]["x"] == [pytest.approx(8e-9), "m"]
    assert [one["type"] for one in state["layers"][-1]["annotations"]] == ["line", "point", "point", "ellipsoid"]


def test_precomputed_addresses_that_lead_nowhere(stored: Clio) -> None:
    base = f"{TYPED}/precomputed"
    for path in (
        "box/info",
        "point/by_id/0",
        "point/by_id/x",
        "point/spatial/x/0_0_0",
        "point/spatial/1.0.5.0.0.0/0_0",
    ):
        assert stored.ask(U, "GET", f"{base}/{path}").status_code == 404
    assert stored.told(R, "GET", f"{base}/sphere/info")["annotation_type"] == "ELLIPSOID"  # of none


# ---- imports ---------------------------------------------------------------------------------------------------------

MIXED = b"x,y,z,user\n1,1,1,\n2,2,x,\n3,3,3,v@t.com\n"


def test_nothing_is_imported_unless_all_is_right(stored: Clio) -> None:
    where = f"{TYPED}/import?format=csv"
    dry = stored.told(U, "POST", f"{where}&dry_run=true", data=MIXED)
    assert (dry["imported"], dry["right"], dry["wrong"]) == (0, 1, 2)
    assert [one["line"] for one in dry["errors"]] == [3, 4]
    refused = stored.ask(U, "POST", where, data=MIXED)
    assert refused.status_code == 422
    assert [one["loc"] for one in refused.json()["detail"]] == [["body", 3], ["body", 4]]
    assert sorted(keys(stored, U)) == ALL
    assert stored.told(U, "POST", f"{where}&skip_errors=true", data=MIXED)["imported"] == 1
    assert "Pt1_1_1" in keys(stored, U)
    assert stored.told(W, "POST", f"{where}&skip_errors=true", data=MIXED)["imported"] == 2
    assert keys(stored, V) == ["Pt3_3_3", "Pt5_5_5"]
    assert stored.ask(R, "POST", where, data=MIXED).status_code == 403
    assert stored.ask(U, "POST", f"{TYPED}/import?format=doc", data=MIXED).status_code == 400
    assert stored.ask(U, "POST", f"{TYPED}/import?format=nml", data=b"<!DOCTYPE a []><a/>").status_code == 400


def test_imports_can_keep_what_is_there(stored: Clio) -> None:
    body = b"x,y,z,title,description\n1,2,3,new,said\n"
    stored.told(U, "POST", f"{TYPED}/import?format=csv&replace=false&conditional=title", data=body)
    one = next(one for one in stored.told(U, "GET", TYPED) if one["key"] == "Pt1_2_3")
    assert (one["title"], one["description"], one["tags"]) == ("T", "said", ["a"])


def test_on_the_command_line(
    stored: Clio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in stored.environ.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str | Path) -> int:
        return main(["annotations", *map(str, arguments), "--data-dir", str(stored.server.data_dir)])

    csv, wrong = tmp_path / "all.csv", tmp_path / "wrong.csv"
    assert run("export", DATASET, csv) == 0
    assert len(csv.read_bytes().splitlines()) == 1 + len(ALL) + 1
    wrong.write_bytes(MIXED)
    capsys.readouterr()
    assert run("import", DATASET, wrong, "--email", "U@t.com") == 1
    assert f"{wrong}:3: z: expected a whole number" in capsys.readouterr().err
    assert run("import", DATASET, wrong, "--email", "U@t.com", "--skip-errors") == 0
    assert capsys.readouterr().out == "2 right, 1 wrong, 2 imported\n"
    assert "Pt1_1_1" in keys(stored, U)
    assert run("export", DATASET, tmp_path / "all.doc") == 2
    assert run("import", DATASET, csv) == 2
