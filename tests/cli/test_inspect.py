"""``wkdvid inspect``: formats found out, and what is odd said in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image

from tests.backends.arrays import noise
from tests.backends.wkw_files import write_layer
from tests.cli.program import wkdvid_here
from tests.volumes import write_precomputed
from wkdvid.sample import write_sample
from wkdvid.testing.faulty import FileServer

SIZES = [[72, 70, 56], [36, 35, 28]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the sample, from where the commands run."""
    folder = tmp_path_factory.mktemp("volumes")
    write_sample(folder / "sample", 72)
    return folder


def inspect(url: str | Path, cwd: Path) -> dict[str, Any]:
    done = wkdvid_here("inspect", url, "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def problems(url: str | Path, cwd: Path) -> str:
    (layer,) = inspect(url, cwd)["layers"]
    return "\n".join(layer["problems"])


@pytest.mark.parametrize(
    ("volume", "dtype", "encoding"),
    [
        ("precomputed/grey", "uint8", "raw"),
        ("precomputed/grey_jpeg", "uint8", "jpeg"),
        ("precomputed/segmentation", "uint64", "compressed_segmentation"),
        ("zarr/grey", "uint8", "zstd"),
        ("zarr/segmentation", "uint64", "zstd"),
        ("n5/grey", "uint8", "gzip"),
        ("n5/segmentation", "uint64", "gzip"),
    ],
)
def test_every_format_is_found_out(folder: Path, volume: str, dtype: str, encoding: str) -> None:
    """By a relative path, which begins where one is."""
    found = inspect(f"sample/{volume}", folder)
    backend, name = volume.split("/")
    assert found["backend"] == backend
    assert found["url"] == f"file://{folder.resolve()}/sample/{volume}/"
    (layer,) = found["layers"]
    assert (layer["name"], layer["dtype"], layer["channels"]) == (name, dtype, 1)
    assert layer["voxelSizeNm"] == [8, 8, 8]
    assert [level["mag"] for level in layer["levels"]] == [[1, 1, 1], [2, 2, 2]]
    assert [level["size"] for level in layer["levels"]] == SIZES
    assert all(level["offset"] == [0, 0, 0] and level["chunkShape"] == [64, 64, 64] for level in layer["levels"])
    assert {level["encoding"] for level in layer["levels"]} == {encoding}


def test_layers_of_webknossos_datasets(tmp_path: Path) -> None:
    write_layer(tmp_path / "lab", noise("uint16", (40, 33, 20)), mags=[(1, 1, 1), (2, 2, 1)], encoding="lz4")
    for source in ("lab", "lab/em"):
        found = inspect(source, tmp_path)
        (layer,) = found["layers"]
        assert (found["backend"], layer["dtype"], layer["voxelSizeNm"]) == ("wkw", "uint16", [8, 8, 40])
        assert [(level["mag"], level["size"], level["encoding"]) for level in layer["levels"]] == [
            ([1, 1, 1], [40, 33, 20], "lz4"),
            ([2, 2, 1], [20, 17, 20], "lz4"),
        ]


def test_text_for_people(folder: Path) -> None:
    done = wkdvid_here("inspect", "precomputed://sample/precomputed/grey", cwd=folder)
    assert done.stdout.splitlines() == [
        f"file://{folder.resolve()}/sample/precomputed/grey/: precomputed",
        "",
        "grey: color, uint8, voxels of 8 x 8 x 8 nm",
        "  level  mag    voxels    offset  chunk     encoding  chunks looked at",
        "  0      1 1 1  72 70 56  0 0 0   64 64 64  raw       4 of 4: 4 with data",
        "  1      2 2 2  36 35 28  0 0 0   64 64 64  raw       1 of 1: 1 with data",
        "  webKnossos: layer grey (uint8), mags 1-1-1, 2-2-2",
        "  DVID: grey, grey_1 (uint8blk), mags 1-1-1, 2-2-2",
    ]


def test_one_level_and_large_chunks(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "flat", shape=(240, 240, 240), chunks=(240, 240, 240), dtype="uint8")
    found = problems(tmp_path / "flat", tmp_path)
    assert "There is one level only" in found
    assert "A chunk of level 0 has 14 MB decoded" in found
    assert "does not say its voxel size" in found


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("float64", "Neuroglancer and webKnossos cannot draw voxels of type float64: convert it"),
        ("int16", "Voxels of type int16 are not offered over DVID"),
        ("uint64", "webKnossos shows voxels of type uint64 as a segmentation only"),
    ],
)
def test_types_that_some_viewers_cannot_show(tmp_path: Path, dtype: str, words: str) -> None:
    zarr.create_array(tmp_path / "typed", shape=(8, 8, 8), chunks=(8, 8, 8), dtype=dtype)
    assert words in problems(tmp_path / "typed", tmp_path)


def test_cut_levels_and_negative_offsets(tmp_path: Path) -> None:
    fine, coarse = np.ones((65, 65, 64), np.uint8), np.ones((31, 32, 32), np.uint8)
    offsets = [(-4, 0, 0), (-2, 0, 0)]
    write_precomputed(tmp_path / "cut", [((1, 1, 1), fine), ((2, 2, 2), coarse)], offsets=offsets)
    found = problems(tmp_path / "cut", tmp_path)
    assert "webKnossos does not show negative positions" in found
    assert "Level 1 covers (-4, 0, 0) to (58, 64, 64) of (-4, 0, 0) to (61, 65, 64)" in found


def test_levels_whose_sizes_are_rounded_down(tmp_path: Path) -> None:
    fine, coarse = np.ones((65, 65, 64), np.uint8), np.ones((32, 32, 32), np.uint8)
    write_precomputed(tmp_path / "down", [((1, 1, 1), fine), ((2, 2, 2), coarse)])
    assert problems(tmp_path / "down", tmp_path) == ""


def test_a_good_volume_has_no_problems(folder: Path) -> None:
    assert problems("sample/precomputed/grey", folder) == ""


def test_a_picture_of_each_layer(folder: Path, tmp_path: Path) -> None:
    arguments = ("inspect", "sample/zarr/grey", "--png", tmp_path / "one.png")
    assert wkdvid_here(*arguments, cwd=folder).returncode == 0
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (72, 70)
    array = zarr.create_array(tmp_path / "two.zarr", shape=(2, 4, 5, 6), chunks=(1, 4, 5, 6), dtype="uint16")
    array[:] = 3
    assert wkdvid_here("inspect", "two.zarr", "--png", "two.png", cwd=tmp_path).returncode == 0
    assert {path.name for path in tmp_path.glob("two-*")} == {"two-two.zarr_c0.png", "two-two.zarr_c1.png"}


def test_a_picture_that_cannot_be_taken_and_what_is_found_all_the_same(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "em", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    (tmp_path / "em/1-1-1/0-8_0-8_0-8").write_bytes(b"<html>")
    done = wkdvid_here("inspect", "em", "--png", "em.png", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 1: 1 failed" in done.stdout
    assert "write or copy them again." in done.stdout
    assert done.stderr.startswith("wkdvid inspect: em: em/, level 0")
    assert not (tmp_path / "em.png").exists()


def test_the_type_can_be_said(folder: Path) -> None:
    done = wkdvid_here("inspect", "sample/n5/segmentation", "--type", "segmentation", cwd=folder)
    assert "DVID: segmentation (labelmap), mags 1-1-1, 2-2-2" in done.stdout
    assert "  - " not in done.stdout


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (".", "volume is there"),
        ("missing", "volume is there"),
        ("zarr://sample/precomputed/grey", "is this a zarr folder?"),
        ("ftp://host/em", "scheme 'ftp' is not offered"),
        ("https://user:secret@host/em", "holds credentials"),
        ("http://127.0.0.1:1/em", "does not answer"),
    ],
)
def test_what_is_none_is_said_in_one_line(folder: Path, url: str, words: str) -> None:
    done = wkdvid_here("inspect", url, cwd=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("wkdvid inspect: ")
    assert words in done.stderr
    assert "secret" not in done.stderr


def test_a_damaged_volume_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "info").write_text("{")
    done = wkdvid_here("inspect", tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "info is not valid JSON" in done.stderr


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """The folder over HTTP, at the address of a host that no configuration lists; ends in ``/``."""
    with FileServer(folder) as server:
        yield server.url


@pytest.mark.parametrize("volume", ["precomputed/grey", "zarr/grey", "n5/grey"])
def test_over_http_with_the_users_own_rights(web: str, volume: str, tmp_path: Path) -> None:
    found = inspect(f"{web}sample/{volume}", tmp_path)
    assert found["backend"] == Path(volume).parent.name
    assert [level["size"] for level in found["layers"][0]["levels"]] == SIZES
