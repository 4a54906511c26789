"""What an inspection finds: formats, chunks that are missing, empty or damaged, and what would be served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from tests.inspection import boxed
from tests.volumes import write_precomputed
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import BUILT_IN
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.errors import BackendError, InvalidEntry, InvalidRequest, RequestError
from wkdvid.inspection.document import answer
from wkdvid.inspection.inspector import Inspector
from wkdvid.inspection.recognition import layer_name
from wkdvid.sample import write_sample

DOCUMENTS = ("info", ".zattrs", ".zgroup", ".zarray")
FINE = np.full((128, 64, 64), 7, np.uint8)


async def inspect(root: Path, **options: Any) -> dict[str, Any]:
    opener = Opener(Guard((root,), frozenset()), Limits(), pool_bytes=MIB, deadline_s=20)
    return await answer(Inspector(opener), options)


def samples(document: Mapping[str, Any]) -> list[dict[str, int | None]]:
    (layer,) = document["layers"]
    return [level["sample"] for level in layer["levels"]]


def sample(
    chunks: int, *, data: int = 0, absent: int | None = 0, blank: int = 0, failed: int = 0
) -> dict[str, int | None]:
    looked_at = data + (absent or 0) + blank + failed
    counts = {"withData": data, "neverWritten": absent, "blank": blank, "failed": failed}
    return {"chunks": chunks, "lookedAt": looked_at, **counts}


def problems(document: Mapping[str, Any]) -> str:
    return "\n".join([*document["problems"], *(line for layer in document["layers"] for line in layer["problems"])])


async def test_chunks_that_are_missing_blank_and_damaged(tmp_path: Path) -> None:
    coarse = FINE[::2, ::2, ::2]
    write_precomputed(tmp_path / "em", [((1, 1, 1), FINE), ((2, 2, 2), coarse), ((4, 4, 4), coarse[::2, ::2, ::2])])
    (tmp_path / "em/1-1-1/64-128_0-64_0-64").write_bytes(bytes(64**3))
    (tmp_path / "em/4-4-4/0-32_0-16_0-16").unlink()
    (tmp_path / "em/2-2-2/0-64_0-32_0-32").write_bytes(b"<html>")
    found = await inspect(tmp_path, source="em")
    assert samples(found) == [sample(2, data=1, blank=1), sample(1, failed=1), sample(1, absent=1)]
    told = problems(found)
    assert "1 of 1 chunks of level 1 that were looked at cannot be read (em/, level 1" in told
    assert "write or copy them again." in told
    assert "None of 1 chunks of level 2 that were looked at was ever written: if there should be data, see" in told
    assert str(tmp_path) not in told


@pytest.mark.parametrize("fill", [0, 5])
async def test_absent_is_told_from_the_fill_value(tmp_path: Path, fill: int) -> None:
    array = zarr.create_array(
        tmp_path / "a",
        shape=(8, 8, 24),
        chunks=(8, 8, 8),
        dtype="uint16",
        fill_value=fill,
        config={"write_empty_chunks": True},
    )
    array[:, :, 0:8] = fill
    array[:, :, 8:16] = 9
    assert samples(await inspect(tmp_path, source="a")) == [sample(3, data=1, blank=1, absent=1)]


@pytest.mark.parametrize("volume", ["precomputed/grey", "zarr/grey", "n5/grey"])
async def test_every_format_tells_what_was_never_written(tmp_path: Path, volume: str) -> None:
    write_sample(tmp_path, 72)
    for path in (tmp_path / volume).rglob("*"):
        if path.is_file() and path.suffix != ".json" and path.name not in DOCUMENTS:
            path.unlink()
    assert samples(await inspect(tmp_path, source=volume)) == [sample(4, absent=4), sample(1, absent=1)]


async def test_a_not_a_number_fill_value_is_json(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=(8, 8, 8), chunks=(8, 8, 8), dtype="float32", fill_value=float("nan"))
    found = await inspect(tmp_path, source="a")
    assert samples(found) == [sample(1, absent=1)]
    assert found["layers"][0]["fillValue"] == "nan"


async def test_what_would_be_served(tmp_path: Path) -> None:
    levels = [((1, 1, 1), np.ones((200, 100, 50), np.uint8)), ((4, 4, 1), np.ones((50, 25, 50), np.uint8))]
    write_precomputed(tmp_path / "em", levels, voxel_size_nm=(4, 4, 40), offsets=[(8, 0, 0), (2, 0, 0)])
    (layer,) = (await inspect(tmp_path, source="em"))["layers"]
    assert [level["mag"] for level in layer["levels"]] == [[1, 1, 1], [4, 4, 1]]
    assert [level["offset"] for level in layer["levels"]] == [[8, 0, 0], [2, 0, 0]]
    served = layer["served"]
    assert served["webknossos"] == {
        "layer": "em",
        "elementClass": "uint8",
        "boundingBox": {"topLeft": [8, 0, 0], "width": 200, "height": 100, "depth": 50},
        "mags": [{"mag": [1, 1, 1], "stored": True}, {"mag": [4, 4, 1], "stored": True}],
    }
    assert served["dvid"] == [
        {"instance": name, "type": "uint8blk", "scales": [{"mag": [mag] * 3, "stored": mag == 1}]}
        for name, mag in (("em", 1), ("em_1", 2), ("em_2", 4))
    ]


async def test_a_labelmap_has_all_of_its_scales(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "ids", [((1, 1, 1), np.ones((128, 8, 8), np.uint64))], kind="segmentation")
    (layer,) = (await inspect(tmp_path, source="ids"))["layers"]
    scales = [{"mag": [mag] * 3, "stored": mag == 1} for mag in (1, 2)]
    assert layer["served"]["dvid"] == [{"instance": "ids", "type": "labelmap", "scales": scales}]


async def test_a_type_that_dvid_lacks_and_a_segmentation_that_is_none(tmp_path: Path) -> None:
    for name, dtype in (("signed", "int16"), ("real", "float32")):
        zarr.create_array(tmp_path / name, shape=(8, 8, 8), chunks=(8, 8, 8), dtype=dtype)[:] = 1
    (signed,) = (await inspect(tmp_path, source="signed"))["layers"]
    assert signed["served"]["dvid"] == []
    assert signed["served"]["webknossos"]["elementClass"] == "int16"
    refused = await inspect(tmp_path, source="real", type="segmentation")
    assert refused["layers"][0]["served"] == {"webknossos": None, "dvid": []}
    assert refused["problems"] == [
        "A registration would be refused: layers.real: type: labels are whole numbers, one a voxel; the source has"
        " 1 x float32."
    ]


async def test_an_entry_of_several_layers_on_one_grid(tmp_path: Path) -> None:
    for name, size in (("fine", 4), ("coarse", 8), ("odd", 6)):
        write_precomputed(tmp_path / name, [((1, 1, 1), FINE)], voxel_size_nm=(size, size, size))
    layers = {name: {"source": name} for name in ("fine", "coarse")}
    found = await inspect(tmp_path, backend="neuroglancer", layers=layers)
    assert found["backend"] == "precomputed"
    assert [layer["served"]["webknossos"]["mags"][0]["mag"] for layer in found["layers"]] == [[1, 1, 1], [2, 2, 2]]
    layers |= {"odd": {"source": "odd"}, "missing": {"source": "missing"}}
    found = await inspect(tmp_path, backend="precomputed", layers=layers)
    assert [layer["name"] for layer in found["layers"]] == ["fine", "coarse", "odd"]
    assert "Layer missing cannot be served: missing/: there is no info file" in problems(found)
    assert "A registration would be refused: layers.odd: voxel size (6.0, 6.0, 6.0) nm is no whole" in problems(found)


async def test_a_format_before_the_address(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.dat", FINE[0], tile=(16, 16), photometric="minisblack")
    found = await inspect(tmp_path, source=f"tiff://{tmp_path}/scan.dat")
    assert (found["backend"], samples(found)) == ("tiff", [sample(16, data=8)])


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, InvalidRequest, "source: expected a URL or a path; or name the backend"),
        ({"source": 3}, InvalidRequest, "source: expected a URL or a path"),
        ({"backend": "nope", "source": "em"}, InvalidRequest, "backend: 'nope' is not one of"),
        ({"backend": ["n5"], "source": "em"}, InvalidRequest, "is not one of"),
        ({"backend": "n5"}, InvalidEntry, "^layers: expected at least one layer"),
        ({"backend": "n5", "source": "em"}, InvalidRequest, "there is no N5 array"),
        ({"source": "em", "sorce": 1}, InvalidEntry, r"^layers\.em\.sorce: unknown option; did you mean 'source'"),
        ({"source": "em", "type": "images"}, InvalidEntry, "type: expected one of"),
        ({"source": "../em"}, InvalidRequest, "holds '..'"),
        ({"source": "/etc"}, InvalidRequest, "outside the directories"),
        ({"source": "https://127.0.0.1/em"}, InvalidRequest, "not on the public internet"),
        ({"source": "precomputed://zarr"}, InvalidRequest, "there is no info file"),
        ({"source": "wkw://em"}, InvalidRequest, "there is no datasource-properties.json"),
    ],
)
async def test_what_is_refused(
    tmp_path: Path, options: dict[str, Any], kind: type[RequestError | BackendError], words: str
) -> None:
    write_precomputed(tmp_path / "em", [((1, 1, 1), FINE)])
    with pytest.raises(kind, match=words) as refused:
        await inspect(tmp_path, **options)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("body", [None, [], "em", 3])
async def test_a_body_that_is_no_object(tmp_path: Path, body: object) -> None:
    with pytest.raises(InvalidRequest, match="body: expected an object"):
        await answer(Inspector(Opener(Guard((), frozenset()), Limits(), pool_bytes=MIB, deadline_s=1)), body)


class TestThirdParty:
    """A backend says by itself what is of its format."""

    @pytest.fixture(autouse=True)
    def registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(BUILT_IN, "boxed", boxed.__name__)

    async def test_a_folder_of_several_layers(self, tmp_path: Path) -> None:
        (tmp_path / "index.boxed").write_text("a b gone")
        for name, value in (("a", 3), ("b", 0)):
            (tmp_path / name).write_bytes(bytes([value]))
        found = await inspect(tmp_path, source=".")
        assert found["backend"] == "boxed"
        assert [(layer["name"], layer["levels"][0]["sample"]) for layer in found["layers"]] == [
            ("a", sample(1, data=1, absent=0)),
            ("b", sample(1, blank=1, absent=None)),
        ]
        assert "Layer gone cannot be served: ./gone/: there is no such file." in found["problems"]

    async def test_a_file_by_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "em.BOXED").write_bytes(b"\x05")
        found = await inspect(tmp_path, source="em.BOXED")
        assert (found["backend"], [layer["name"] for layer in found["layers"]]) == ("boxed", ["em.BOXED"])

    async def test_its_marker_is_among_what_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"wkw or boxed volume is there .*index\.boxed"):
            await inspect(tmp_path, source=".")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("gs://bucket", "bucket"),
        ("https://host/a%20b/", "a_b"),
        ("zarr://x/.em.v1.zarr", "em.v1.zarr"),
        ("x/\u00e9\u00e9m", "_m"),
        ("/", "layer"),
        ("x/" + "y" * 300, "y" * 128),
    ],
)
def test_names_of_layers(url: str, name: str) -> None:
    assert layer_name(url) == name
