"""The settings of a new data instance: DVID's texts, and those of pydvid."""

from __future__ import annotations

from typing import Any

import pytest

from wkdvid.core.geometry import Box
from wkdvid.errors import RequestError
from wkdvid.frontends.dvid.new_instance import parse_new_instance


def settings(**more: Any) -> Any:
    return parse_new_instance({"typename": "uint8blk", "dataname": "em", **more}).instance.settings


def test_what_is_not_said() -> None:
    image, labels = settings(), settings(typename="labelmap")
    assert (image["dtype"], image["block"], image["compression"]) == ("uint8", 32, "lz4")
    assert (labels["dtype"], labels["block"], labels["compression"]) == ("uint64", 64, "gzip")
    assert image["voxel_size"] == labels["voxel_size"] == (8.0, 8.0, 8.0)
    assert (image["max_scale"], labels["max_scale"], labels["indexed"]) == (0, 1, True)
    assert settings(typename="roi")["block_size"] == 32


def test_names_of_settings_in_any_case() -> None:
    found = parse_new_instance(
        {
            "TypeName": "labelmap",
            "DATANAME": "seg",
            "blocksize": "32, 32,32",
            "voxelSize": "1.5,2,0.04",
            "VoxelUnits": "nanometers,nanometers,micrometers",
            "MAXDOWNRESLEVEL": "0",
            "IndexedLabels": "False",
            "minpoint": "-1,0,0",
            "MaxPoint": "9,9,9",
            "tags": "a=b,c=d=e",
            "Versioned": "0",
            "nobody": "knows this",
        }
    )
    one = found.instance
    assert (one.name, one.typename, one.versioned, one.tags) == ("seg", "labelmap", False, {"a": "b", "c": "d=e"})
    assert (one.settings["block"], one.settings["voxel_size"]) == (32, (1.5, 2.0, 40.0))
    assert (one.settings["max_scale"], one.settings["indexed"]) == (0, False)
    assert found.extent == Box((-1, 0, 0), (10, 10, 10))


@pytest.mark.parametrize(
    ("alias", "typename"),
    [("grayscale8", "uint8blk"), ("labels32", "uint32blk"), ("labels64", "labelmap"), ("rgba8", "rgba8blk")],
)
def test_types_of_pydvid(alias: str, typename: str) -> None:
    found = parse_new_instance(
        {"typename": alias, "dataname": "v", "BlockSize": "32,32,32", "VoxelSize": "1.0,1.0,1.0"}
    )
    assert found.instance.typename == typename


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"typename": ""}, "POST on repo endpoint requires specification of valid 'typename'"),
    ({"dataname": ""}, "POST on repo endpoint requires specification of valid 'dataname'"),
    ({"typename": "nope"}, 'Data type "nope" is not supported by current DVID server'),
    ({"dataname": "commit"}, 'cannot use reserved name "commit"'),
    *(({"dataname": name}, "dataname: expected 1 to 128") for name in ("..", "a/b", "a b", "x" * 129, "é", "a\nb")),
    ({"BlockSize": [64, 64, 64]}, r"Setting for 'BlockSize' was not a string: \[64 64 64\]"),
    ({"Tags": None}, "Setting for 'Tags' was not a string: <nil>"),
    ({"versioned": 1}, "Setting for 'versioned' was not a string: 1"),
    ({"versioned": "perhaps"}, "versioned: expected true or false"),
    *(({"BlockSize": size}, "BlockSize: expected one") for size in ("64,64,32", "4,4,4", "256,256,256", "0,0,0")),
    ({"BlockSize": "64,64"}, "BlockSize: expected three values"),
    ({"BlockSize": "1e9,1,1"}, 'strconv.Atoi: parsing "1e9": invalid syntax'),
    ({"typename": "labelmap", "BlockSize": "20,20,20"}, "BlockSize must be multiples of 16"),
    *(
        ({"VoxelSize": size}, "expected sides of a voxel")
        for size in ("0,1,1", "-1,1,1", "nan,1,1", "inf,1,1", "1e99,1,1")
    ),
    ({"VoxelUnits": "feet,feet,feet"}, "VoxelUnits: expected one of nanometers"),
    *(({"Compression": kind}, f"Illegal compression specified: {kind}") for kind in ("zstd", "jpeg:90", "gzip:0")),
    ({"typename": "uint16blk", "Compression": "jpeg"}, "Illegal compression specified: jpeg"),
    ({"Background": "256"}, "value out of range"),
    ({"typename": "labelmap", "MaxDownresLevel": "99"}, "value out of range"),
    ({"MinPoint": "1,1,1", "MaxPoint": "0,1,1"}, "is before MinPoint"),
    ({"MaxPoint": "9" * 99 + ",1,1", "MinPoint": "0,0,0"}, "value out of range"),
    ({"GridStore": "em"}, "GridStore is not offered"),
    *(({"Tags": tags}, "Tags: expected key=value pairs") for tags in ("a", "=b", "a=b,,c=d")),
]


@pytest.mark.parametrize(("given", "text"), REFUSED, ids=[str(given)[:60] for given, _ in REFUSED])
def test_what_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        settings(**given)
