"""The sample, read back with TensorStore and with libraries that did not write it."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorstore as ts
import zarr
from cloudvolume import CloudVolume
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wkdvid.cli import main
from wkdvid.core.geometry import Box
from wkdvid.errors import InvalidRequest
from wkdvid.sample import SAMPLE_ENTRY, halve, level_shapes, sample_shape, write_sample
from wkdvid.tissue import BIG_ID, CHUNK, synthesize

Array = npt.NDArray[Any]

SIZE = 132
"""The least at which there are three levels, cut chunks and odd sides: 132x128x103, 66x64x52, 33x32x26."""
LAYERS = ("grey", "segmentation")
LEVELS = range(3)
SHA256 = {
    "grey": "5aa765993014d3c48b0aee5e5c58dd85cc2a8819267b2670f1e610d2442f2313",
    "segmentation": "6868733b9c0791183993f32b49a48159611ce4aa70115d77458791454057f9a5",
}
"""Of level 0 at SIZE, x fastest, little-endian. Who changes the tissue changes them, and says so in the changelog."""
CATALOG = Path(__file__).parent.parent / "data" / "datasets.json"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sample"
    write_sample(folder, SIZE)
    return folder


def read_precomputed(sample: Path, layer: str, level: int) -> Array:
    spec = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{sample}/precomputed/{layer}/"}
    return np.asarray(ts.open({**spec, "scale_index": level}).result()[..., 0].read(order="F").result())


def read_zarr(sample: Path, layer: str, level: int) -> Array:
    spec = {"driver": "zarr3", "kvstore": f"file://{sample}/zarr/{layer}/{level}/"}
    return np.asarray(ts.open(spec).result().T.read(order="F").result())


def read_n5(sample: Path, layer: str, level: int) -> Array:
    spec = {"driver": "n5", "kvstore": f"file://{sample}/n5/{layer}/s{level}/"}
    return np.asarray(ts.open(spec).result().read(order="F").result())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("level", LEVELS)
def test_formats_hold_the_same_voxels(sample: Path, layer: str, level: int) -> None:
    first = read_precomputed(sample, layer, level)
    assert first.shape == level_shapes(SIZE)[level]
    assert first.dtype == {"grey": np.uint8, "segmentation": np.uint64}[layer]
    np.testing.assert_array_equal(read_zarr(sample, layer, level), first)
    np.testing.assert_array_equal(read_n5(sample, layer, level), first)


@pytest.mark.parametrize("layer", LAYERS)
def test_zarr_python_reads_the_multiscale_group(sample: Path, layer: str) -> None:
    group = zarr.open_group(sample / "zarr" / layer, mode="r")
    ome: Any = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    assert [(a["name"], a["type"], a["unit"]) for a in multiscale["axes"]] == [
        (name, "space", "nanometer") for name in "zyx"
    ]
    for level, dataset in enumerate(multiscale["datasets"]):
        array: Any = group[dataset["path"]]
        assert array.metadata.dimension_names == ("z", "y", "x")
        np.testing.assert_array_equal(array[:].T, read_precomputed(sample, layer, level))
        scale, translation = (t[t["type"]] for t in dataset["coordinateTransformations"])
        assert scale == [8.0 * 2**level] * 3
        # The corner of the first voxel is at the same place on each level.
        assert [t - s / 2 for t, s in zip(translation, scale, strict=True)] == [-4.0] * 3
    assert len(multiscale["datasets"]) == len(LEVELS)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("level", LEVELS)
def test_cloud_volume_reads_precomputed(sample: Path, layer: str, level: int) -> None:
    volume = CloudVolume(f"file://{sample}/precomputed/{layer}", mip=level, progress=False)
    assert list(volume.resolution) == [8 * 2**level] * 3
    assert volume.layer_type == {"grey": "image", "segmentation": "segmentation"}[layer]
    assert volume.encoding == {"grey": "raw", "segmentation": "compressed_segmentation"}[layer]
    np.testing.assert_array_equal(volume[:, :, :][..., 0], read_n5(sample, layer, level))


@pytest.mark.parametrize("level", LEVELS)
def test_jpeg_is_near_to_raw(sample: Path, level: int) -> None:
    volume = CloudVolume(f"file://{sample}/precomputed/grey_jpeg", mip=level, progress=False)
    assert volume.encoding == "jpeg"
    jpeg = np.asarray(volume[:, :, :])[..., 0]
    np.testing.assert_array_equal(jpeg, read_precomputed(sample, "grey_jpeg", level))
    difference = np.abs(jpeg.astype(int) - read_precomputed(sample, "grey", level))
    assert 0 < difference.mean() < 8
    assert np.percentile(difference, 99) < 28


@pytest.mark.parametrize("layer", LAYERS)
def test_n5_says_its_factors_and_voxel_size(sample: Path, layer: str) -> None:
    folder = sample / "n5" / layer
    nm = {"unit": "nm", "dimensions": [8.0, 8.0, 8.0]}
    group = json.loads((folder / "attributes.json").read_text())
    assert group["downsamplingFactors"] == [[2**level] * 3 for level in LEVELS]
    assert group["pixelResolution"] == nm
    for level in LEVELS:
        array = json.loads((folder / f"s{level}" / "attributes.json").read_text())
        assert array["downsamplingFactors"] == [2**level] * 3
        assert array["pixelResolution"] == nm
        assert tuple(array["dimensions"]) == level_shapes(SIZE)[level]


def blocks(array: Array) -> dict[tuple[int, ...], list[int]]:
    """The voxels of each 2x2x2 that exist, by the index of the coarser voxel: written to be obvious, not quick."""
    found: dict[tuple[int, ...], list[int]] = {}
    for index in np.ndindex(array.shape):
        found.setdefault(tuple(i // 2 for i in index), []).append(int(array[index]))
    return found


def slow_majority(ids: list[int]) -> int:
    votes = Counter(i for i in ids if i)
    return min((i for i in votes if votes[i] == max(votes.values())), default=0)


def slow_mean(values: list[int]) -> int:
    return (2 * sum(values) + len(values)) // (2 * len(values))


@pytest.mark.parametrize("level", [1, 2])
def test_each_level_is_made_of_the_finer_one(sample: Path, level: int) -> None:
    labels, grey = (read_zarr(sample, layer, level) for layer in ("segmentation", "grey"))
    for index, ids in blocks(read_zarr(sample, "segmentation", level - 1)).items():
        assert labels[index] == slow_majority(ids)
    for index, values in blocks(read_zarr(sample, "grey", level - 1)).items():
        assert grey[index] == slow_mean(values)


SIDES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)


@given(hnp.arrays(np.uint64, SIDES, elements=st.sampled_from([0, 1, 2, BIG_ID + 1, 2**64 - 1])))
def test_labels_halve_by_majority(labels: npt.NDArray[np.uint64]) -> None:
    halved = halve(labels, "segmentation")
    expected = {index: slow_majority(ids) for index, ids in blocks(labels).items()}
    assert {index: int(halved[index]) for index in np.ndindex(halved.shape)} == expected


@given(hnp.arrays(np.uint8, SIDES))
def test_grey_halves_by_rounded_mean(grey: npt.NDArray[np.uint8]) -> None:
    halved = halve(grey, "color")
    expected = {index: slow_mean(values) for index, values in blocks(grey).items()}
    assert {index: int(halved[index]) for index in np.ndindex(halved.shape)} == expected


@pytest.mark.parametrize("layer", LAYERS)
def test_level_0_never_changes(sample: Path, layer: str) -> None:
    assert hashlib.sha256(read_n5(sample, layer, 0).tobytes("F")).hexdigest() == SHA256[layer]


def test_two_runs_write_the_same_files(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path / "again", SIZE)
    assert contents(tmp_path / "again") == contents(sample)


def test_voxels_depend_on_their_position_alone(sample: Path) -> None:
    grey, labels = synthesize(Box.at((CHUNK, 0, CHUNK), (30, 20, 10)))
    part = np.s_[CHUNK : CHUNK + 30, :20, CHUNK : CHUNK + 10]
    np.testing.assert_array_equal(grey, read_zarr(sample, "grey", 0)[part])
    np.testing.assert_array_equal(labels, read_zarr(sample, "segmentation", 0)[part])


def test_it_looks_like_tissue(sample: Path) -> None:
    grey, labels = read_zarr(sample, "grey", 0), read_zarr(sample, "segmentation", 0)
    ids = np.unique(labels)
    assert 30 < len(ids) < 200
    assert (ids > BIG_ID).sum() >= 10
    assert ((ids > 0) & (ids < 2**32)).sum() >= 10
    assert 0.01 < (labels == 0).mean() < 0.2
    # Membranes, where there is no label, are darker than what they enclose; no chunk is flat.
    assert grey[labels == 0].mean() < grey[labels != 0].mean() - 50
    assert all(grey[x : x + 32, y : y + 32, z : z + 32].std() > 15 for x, y, z in itertools.product((0, 64), repeat=3))


def test_sides_differ() -> None:
    assert sample_shape(256) == (256, 250, 200)
    assert level_shapes(256) == [(256, 250, 200), (128, 125, 100), (64, 63, 50)]
    assert level_shapes(64) == [(64, 62, 50)]


@pytest.mark.parametrize("size", [-1, 0, 15, 4097])
def test_size_out_of_range(tmp_path: Path, size: int) -> None:
    with pytest.raises(InvalidRequest, match="from 16 to 4096"):
        write_sample(tmp_path / "sample", size)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_box(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_sample(tmp_path / "sample", 72, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]  # 2 x 2 x 1 boxes, and 1 of the second level


class Stop(BaseException):
    pass


def stop(done: int, total: int) -> None:
    if done == 2:
        raise Stop


def test_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        write_sample(tmp_path / "sample", 72, stop)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_run_leaves_the_former_sample(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample", 32)
    before = contents(tmp_path)
    with pytest.raises(Stop):
        write_sample(tmp_path / "sample", 72, stop)
    assert contents(tmp_path) == before


def run_and_signal(folder: Path, number: signal.Signals) -> int:
    """The exit status of a process that gets the signal in the middle of writing."""
    code = (
        "import os, sys; from pathlib import Path; from wkdvid.sample import write_sample\n"
        f"write_sample(Path(sys.argv[1]), 72, lambda done, total: done < 3 or os.kill(os.getpid(), {int(number)}))"
    )
    root = Path(__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=root, capture_output=True, check=False
    ).returncode


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    assert run_and_signal(tmp_path / "sample", signal.SIGINT) != 0
    assert list(tmp_path.iterdir()) == []


def test_the_run_after_a_kill_clears_up(tmp_path: Path) -> None:
    assert run_and_signal(tmp_path / "sample", signal.SIGKILL) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".sample.partial"]
    write_sample(tmp_path / "sample", 32)
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_two_runs_at_a_time_do_not_meet(tmp_path: Path) -> None:
    def write_too(done: int, total: int) -> None:
        with pytest.raises(BlockingIOError):
            write_sample(tmp_path / "sample", 32)

    write_sample(tmp_path / "sample", 48, write_too)
    assert read_n5(tmp_path / "sample", "grey", 0).shape == sample_shape(48)


def run_verb(*words: str) -> int:
    return main(["sample", *words])


def test_verb_writes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data-dir", str(tmp_path / "data")]
    assert run_verb(*where, "--size", "32") == 0
    assert capsys.readouterr().err == ""  # not a terminal: no bar
    stamp = tmp_path / "data" / "sample" / "sample.json"
    written = stamp.stat().st_mtime_ns
    assert run_verb(*where) == 0
    assert run_verb(*where, "--size", "32") == 0
    assert run_verb(*where, "--size", "40") == 1
    assert "size 32; --force" in capsys.readouterr().err
    assert stamp.stat().st_mtime_ns == written
    assert run_verb(*where, "--size", "40", "--force") == 0
    assert read_n5(tmp_path / "data" / "sample", "grey", 0).shape == sample_shape(40)


def test_verb_keeps_what_is_not_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "sample" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("ten years")
    assert run_verb("--data-dir", str(tmp_path), "--size", "32") == 1
    assert "something else" in capsys.readouterr().err
    assert contents(tmp_path) == {"sample/thesis.txt": b"ten years"}


@pytest.mark.parametrize("words", [["--size", "5000"], ["--data-dir", "/dev/null/data"]])
def test_verb_says_what_is_wrong(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("--data-dir", str(tmp_path / "data"), *words) == 1
    message = capsys.readouterr().err
    assert message.startswith("wkdvid sample: ")
    assert message.count("\n") == 1


def test_shipped_catalog_serves_the_sample(sample: Path) -> None:
    text = CATALOG.read_text()
    catalog = json.loads(text)
    assert text == json.dumps(catalog, indent=4, sort_keys=True) + "\n"
    assert set(catalog.pop("neuroglancer")) == {"Test Organisation"}
    assert catalog == SAMPLE_ENTRY
    documents = {"precomputed": "info", "zarr": "zarr.json", "n5": "attributes.json"}
    for name, document in documents.items():
        layers = catalog[name]["sample"][name]["layers"]
        assert {layer: entry["type"] for layer, entry in layers.items()} == {
            "grey": "image",
            "segmentation": "segmentation",
        }
        assert all((sample.parent / entry["source"] / document).is_file() for entry in layers.values())
