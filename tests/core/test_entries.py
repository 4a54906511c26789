"""Entries: the files of webknossos-connect are read as they are, with the environment in their text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.catalog_store import read_document, write_document
from wkdvid.core.entries import DatasetEntry, DatasetKey, put_entry, put_made
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits

EXAMPLE = Path(__file__).parents[2] / "data" / "datasets.example.json"
CONNECT: dict[str, Any] = {
    "boss": {
        "Test Organisation": {
            "ara": {
                "domain": "https://api.boss.neurodata.io",
                "collection": "ara_2016",
                "experiment": "sagittal_50um",
                "username": "$NEURODATA_IO_USER",
                "password": "$NEURODATA_IO_PW",
            },
            "by_token": {
                "domain": "https://api.$BOSS_HOST",
                "collection": "c",
                "experiment": "e",
                "token": "${BOSS_TOKEN}",
            },
        }
    },
    "neuroglancer": {
        "Test Organisation": {
            "fafb_v14": {"layers": {"image": {"source": "gs://$BUCKET/fafb_v14_clahe", "type": "image"}}},
            "seg": {"layers": {"ids": {"source": "s3://b/seg", "type": "segmentation"}}},
        }
    },
    "tiff": {"Test Organization": {"my_2d_tiff_dataset": {"scale": [2.1, 2.1]}, "other": {"path": "$FOLDER/tiffs"}}},
    "wkw": {"Test Organization": {"plain": {}, "elsewhere": {"path": "${FOLDER}/wkw"}}},
}
VARIABLES = {"BUCKET": "neuroglancer-fafb-data", "BOSS_HOST": "bossdb.io", "BOSS_TOKEN": "hush", "FOLDER": "em"}


def parse(document: dict[str, Any], variables: Mapping[str, str] = VARIABLES) -> Sequence[DatasetEntry]:
    opener = Opener(Guard((), frozenset()), Limits(), pool_bytes=MIB, deadline_s=1, variables=variables)
    entries, problems = Backends(opener).parse(document)
    assert problems == []
    return entries


def test_the_sample_datasets_of_webknossos_connect_are_read() -> None:
    document = read_document(EXAMPLE)
    entries = parse(document)
    assert [str(entry.key) for entry in entries] == [
        f"sample_organization/{name}" for name in document["neuroglancer"]["sample_organization"]
    ]
    assert [(layer.name, layer.category) for layer in entries[1].layers] == [
        ("emdata", "color"),
        ("segmentation_v1_2", "segmentation"),
    ]


def test_files_of_webknossos_connect_are_read_unchanged() -> None:
    found = {entry.key.dataset: entry.layers for entry in parse(CONNECT)}
    first = {name: layers[0] for name, layers in found.items()}
    assert {name: layer.backend for name, layer in first.items()} == {
        **dict.fromkeys(("ara", "by_token"), "boss"),
        **dict.fromkeys(("fafb_v14", "seg"), "precomputed"),
        **dict.fromkeys(("my_2d_tiff_dataset", "other"), "tiff"),
        **dict.fromkeys(("plain", "elsewhere"), "wkw"),
    }
    assert first["fafb_v14"].options == {"source": "gs://neuroglancer-fafb-data/fafb_v14_clahe"}
    assert first["seg"].category == "segmentation"
    assert first["my_2d_tiff_dataset"].options == {"scale": [2.1, 2.1]}
    assert (first["other"].options, first["elsewhere"].options) == ({"path": "em/tiffs"}, {"path": "em/wkw"})
    assert parse({"boss": {}, **CONNECT, "wkw": {}})


def test_secrets_stay_references() -> None:
    ara, by_token = (entry.layers[0].options for entry in parse(CONNECT)[:2])
    assert (ara["username"], ara["password"]) == ("$NEURODATA_IO_USER", "$NEURODATA_IO_PW")
    assert by_token["domain"] == "https://api.bossdb.io"
    assert by_token["token"] == "${BOSS_TOKEN}"


def test_variables_are_replaced_in_text_at_any_depth_and_in_nothing_else() -> None:
    spec = {"driver": "zarr", "$A": [{"deep": ["$A", "${A}$A", "$B", "$", "${", "$1", 5, None, True, "${A"]}]}
    document = {"tensorstore": {"$A": {"$A": {"layers": {"$A": {"source": spec}}}}}}
    (entry,) = parse(document, {"A": "x$B"})
    assert (entry.key, entry.layers[0].name) == (DatasetKey("$A", "$A"), "$A")
    deep = entry.layers[0].options["source"]["$A"][0]["deep"]
    assert deep == ["x$B", "x$Bx$B", "$B", "$", "${", "$1", 5, None, True, "${A"]
    assert entry.options == document["tensorstore"]["$A"]["$A"]


def test_what_is_written_back_is_what_was_sent(tmp_path: Path) -> None:
    written: dict[str, Any] = {}
    for entry in parse(CONNECT):
        put_entry(written, entry)
    kept = {"source": "$FOLDER/p"}
    (entry,) = parse({"zarr": {"o": {"d": {"pyramids": {"b": "$FOLDER/b"}, "layers": {"z": kept, "a": kept}}}}})
    put_entry(written, entry)
    put_made(written, entry, "pyramids", "a", "volumes/a")
    expected = {"layers": {"z": kept, "a": kept}, "pyramids": {"b": "$FOLDER/b", "a": "volumes/a"}}
    write_document(tmp_path / "datasets.json", written)
    stored = json.loads((tmp_path / "datasets.json").read_text())
    assert stored.pop("zarr") == {"o": {"d": expected}}
    assert json.dumps(stored) == json.dumps(CONNECT)


def test_what_is_nested_too_deeply_is_a_problem_of_its_own() -> None:
    deep: Any = "$A"
    for _ in range(5000):
        deep = [deep]
    opener = Opener(Guard((), frozenset()), Limits(), pool_bytes=MIB, deadline_s=1)
    entries, problems = Backends(opener).parse({"zarr": {"o": {"d": {"layers": deep}, "e": {"layers": {"x": {}}}}}})
    assert problems[0] == "zarr.o.d: nested too deeply"
    assert entries[1].problems == ()
