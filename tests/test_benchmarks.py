from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    annotated,
    cases,
    downloads,
    failing,
    kept,
    label_index,
    pictures,
    plot,
    scaled,
    servers,
    signatures,
    table,
    writing,
)
from benchmarks.backends import FORMATS, Format, measure
from benchmarks.cases import Case
from benchmarks.load import Ask, Load
from benchmarks.run_all import parse, plotted
from benchmarks.volumes import CHUNK, ENCODINGS, Volume, prepare
from wkdvid.backends.registry import BUILT_IN
from wkdvid.codecs import blosc_frame, jpeg, label_block, payload, segmentation
from wkdvid.codecs.block_stream import header
from wkdvid.core.geometry import Box
from wkdvid.signatures.building import build
from wkdvid.signatures.index import open_index

ROOT = Path(__file__).parents[1]
SIDE = 128
CASE = "webKnossos 32^3, 32 buckets a POST"


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return prepare(tmp_path_factory.mktemp("work"), None, SIDE)


def all_cases(volume: Volume) -> list[Case]:
    remote = [case for where in ("http", "S3") for case in cases.remote_cases(volume, where)]
    return [*cases.warm_cases(volume), *cases.large_set_cases(volume), *remote]


def test_a_volume_is_written_once(volume: Volume) -> None:
    before = {file: file.stat().st_mtime_ns for file in volume.folder.rglob("*")}
    again = prepare(volume.folder.parent, None, SIDE)
    assert {file: file.stat().st_mtime_ns for file in volume.folder.rglob("*")} == before
    assert len(list((volume.folder / "grey").rglob("*-*_*-*_*-*"))) == (SIDE // CHUNK) ** 3
    assert np.array_equal(again.tiles["seg"], volume.tiles["seg"])


def test_what_is_stored_is_what_answers_are_compared_with(volume: Volume) -> None:
    box = Box.at((64, 0, 64), cases.BLOCK)
    assert volume.stored("grey", box) == volume.voxels("grey", box).tobytes("F")
    error = jpeg.decode_block(volume.stored("greyjpeg", box), box.size) - volume.voxels("greyjpeg", box).astype(int)
    assert np.abs(error).mean() < cases.MEAN_ERROR


def test_a_tile_repeats(volume: Volume) -> None:
    tiled = Volume(volume.folder, 4 * SIDE, volume.tiles)
    first, next_one = (tiled.voxels("seg", Box.at((x, 5, 7), (20, 10, 3))) for x in (SIDE - 10, 2 * SIDE - 10))
    assert np.array_equal(first, next_one)
    assert np.array_equal(first[10:], tiled.voxels("seg", Box.at((0, 5, 7), (10, 10, 3))))


def test_cases_have_names_of_their_own_and_requests_inside_the_volume() -> None:
    large = Volume(Path("unused"), 512, {name: np.zeros((1, 1, 1), np.uint8) for name in ENCODINGS})
    found, whole = [*all_cases(large), *cases.cold_cases(large)], Box((0, 0, 0), (512, 512, 512))
    assert [name for name, count in Counter(case.name for case in found).items() if count > 1] == []
    for case in found:
        assert len({ask.path + ask.body for ask in case.asks}) >= 8, case.name
        assert all(whole.contains(box) for ask in case.asks for box in ask.boxes), case.name


def test_no_box_of_a_cold_case_is_asked_for_twice() -> None:
    large = Volume(Path("unused"), 512, {name: np.zeros((1, 1, 1), np.uint8) for name in ENCODINGS})
    for case in cases.cold_cases(large):
        boxes = [box for ask in case.asks for box in ask.boxes]
        assert len(set(boxes)) == len(boxes), case.name
        assert sum(box.voxels for box in boxes) == 512**3, case.name


def test_requests_are_those_of_the_protocols() -> None:
    box = Box.at((64, 128, 0), (128, 64, 64))
    node = f"/api/node/{cases.UUID}"
    assert cases.specific_blocks("grey", box, "&x=y").path == f"{node}/grey/specificblocks?blocks=1,2,0,2,2,0&x=y"
    assert cases.raw("seg", box).path == f"{node}/seg/raw/0_1_2/128_64_64/64_128_0"
    assert cases.xy_slice("grey", box).path == f"{node}/grey/raw/0_1/128_64/64_128_0/jpg"
    assert cases.zarr_chunk("seg", box).path == "/data/zarr/bench/volume/seg/1/0.2.4.0"
    assert cases.thumbnail("grey", box).path.endswith("/thumbnail.jpg?x=64&y=128&z=0&width=128&height=64&mag=1")
    assert cases.exported_stored("seg", box).path == "/precomputed/bench/volume/seg/1/64-192_128-192_0-64"
    assert cases.exported_made("seg", box).path == "/zarr/bench/volume/seg/1/c/0/2/1"
    posted = cases.buckets("grey", [Box.at((32, 0, 64), (32, 32, 32))])
    assert posted.path == "/data/datasets/bench/volume/layers/grey/data"
    assert json.loads(posted.body) == [{"position": [32, 0, 64], "mag": [1, 1, 1], "cubeSize": 32, "fourBit": False}]


def right_answers(volume: Volume) -> dict[str, tuple[cases.Check, bytes]]:
    box = Box.at((0, 64, 0), cases.BLOCK)
    grey, labels = volume.voxels("grey", box), volume.voxels("seg", box)
    stored, packed = volume.stored("greyjpeg", box), payload.gzip(label_block.encode(labels))

    def record(data: bytes) -> bytes:
        return header((0, 1, 0), len(data)) + data

    return {
        "voxels": (cases.is_voxels(volume, "grey"), grey.tobytes("F")),
        "stored": (cases.is_stored(volume, "greyjpeg"), record(stored)),
        "label blocks": (cases.is_label_blocks(volume, "seg"), record(packed)),
        "segmentation": (cases.is_gzipped_segmentation(volume, "seg"), payload.gzip(segmentation.encode(labels))),
        "jpeg": (cases.is_nearly(volume, "grey"), stored),
        "blosc": (cases.is_blosc(volume, "grey"), blosc_frame.encode(np.ascontiguousarray(grey.T))),
        "decoded": (cases.is_decoded(volume), jpeg.decode_block(stored, box.size).tobytes("F")),
    }


@pytest.mark.parametrize("kind", ["voxels", "stored", "label blocks", "segmentation", "jpeg", "blosc", "decoded"])
def test_right_answers_pass_and_those_for_another_box_do_not(volume: Volume, kind: str) -> None:
    is_right, body = right_answers(volume)[kind]
    assert is_right(Ask("", boxes=(Box.at((0, 64, 0), cases.BLOCK),)), body)
    assert not is_right(Ask("", boxes=(Box.at((64, 0, 64), cases.BLOCK),)), body)


def row(**changes: object) -> table.Row:
    ours, nginx = Load(600, 200.0, 50.0, 1.5, 2.5), Load(3000, 1000.0, 250.0, 0.5, 1.0)
    given = table.Row(
        case="a case",
        load=ours,
        nginx=nginx,
        nginx_share=0.2,
        cpu_us=5000.0,
        nginx_cpu_us=1100.0,
        tensorstore_share=None,
        peak_mb=300.0,
        target_share=0.25,
        target_rate=None,
        rival="DVID 11 %",
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def test_the_table_says_which_targets_are_met() -> None:
    results: list[table.Result] = [
        row(),
        row(case="quick", target_share=None, target_rate=150.0),
        row(case="no target", target_share=None),
        table.Cold(case="cold", requests=100, seconds=2.0, cpu_s=1.0, tensorstore_s=1.0, tensorstore_cpu_s=0.5),
        table.Figure(case="memory", value=900.0, unit="MB", most=1000.0),
        table.Problem(case="broken", text="404"),
    ]
    assert [result.met for result in results] == [False, True, None, False, True, False]
    assert table.summary(results) == "2 of 5 targets met\n  not: a case\n  not: cold\n  not: broken"
    assert table.line(row()).split() == (
        "a case 200 50 1.50 2.50 20 % 5,000 1,100 - 300 >= 25 % MISSED (DVID 11 %)".split()  # noqa: SIM905 - as it is read
    )
    listed = json.loads(table.as_json(results, {"seconds": 3}))
    assert [result["kind"] for result in listed["results"]] == ["row", "row", "row", "cold", "figure", "problem"]


def test_results_are_drawn_beside_their_peers(tmp_path: Path) -> None:
    results: list[table.Result] = [
        row(),
        row(case="two peers", tensorstore_share=2.0),
        table.Cold(case="cold", requests=100, seconds=2.0, cpu_s=1.0, tensorstore_s=1.0, tensorstore_cpu_s=0.5),
        table.Versus(case="n5: read", library="z5py", ours_us=(200.0, 10.0), theirs_us=(100.0, 40.0)),
        table.Posted(case="POST raw", ours_mb_s=3.0, tensorstore_mb_s=2.0, zarr_mb_s=1.0),
        table.Figure(case="memory", value=900.0, unit="MB"),
        table.Problem(case="broken", text="404"),
    ]
    listed = json.loads(table.as_json(results, {}))["results"]
    assert [plot.CHARTS[one["kind"]].ratios(one) for one in listed[1:5]] == [
        {"nginx, sending as many bytes": 0.2, "TensorStore in one process": 2.0},
        {"TensorStore in one process": 0.5},
        {"cold": 0.5, "warm": 4.0},
        {"TensorStore": 1.5, "zarr-python": 3.0},
    ]
    (tmp_path / "results.json").write_text(table.as_json(results, {}))
    options = parse(["--plot", str(tmp_path / "results.json"), "--plot-folder", str(tmp_path)])
    plotted(options.plot.read_text(), options.plot_folder)
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    assert sorted(drawn) == [f"benchmarks-{name}.svg" for name in ("cold", "libraries", "load", "writes")]
    assert "two peers" in drawn["benchmarks-load.svg"] and "broken" not in "".join(drawn.values())  # noqa: PT018
    plotted(options.plot.read_text(), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.glob("*.svg")} == drawn


def test_without_the_real_volume_the_tissue_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WKDVID_TEST_DATA", raising=False)
    assert parse([]).medulla is None


@pytest.mark.parametrize("fails", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_cases_from_end_to_end(volume: Volume, tmp_path: Path, fails: bool) -> None:
    only = (f"^{CASE}$|^{failing.NAME}$" if fails else f"^{CASE}$").replace("^3", r"\^3")
    options = ["--side", str(SIDE), "--seconds", "0.3", "--only", only]
    places = ["--work", str(volume.folder.parent), "--json", str(tmp_path / "results.json")]
    environ = {name: value for name, value in os.environ.items() if name != "WKDVID_TEST_DATA"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run_all", *options, *places],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measured, peak, *others = json.loads((tmp_path / "results.json").read_text())["results"]
    if fails:
        assert (others[-1]["case"], others[-1]["value"] > 0) == (failing.NAME, True)
    assert measured["case"] == CASE
    assert min(measured["load"]["requests_per_s"], measured["nginx"]["requests_per_s"], measured["nginx_share"]) > 0
    assert 50 < peak["value"] < 2000
    assert CASE in done.stdout


def test_every_backend_is_measured_beside_a_library() -> None:
    assert {format_.backend for format_ in FORMATS} == BUILT_IN.keys() - {"tensorstore"}


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.backend)
def test_reads_of_a_backend_are_measured(format_: Format, volume: Volume) -> None:
    voxels = volume.voxels("grey", Box((0, 0, 0), (SIDE, SIDE, SIDE)))
    found = measure(format_, voxels, 32)
    assert min(*found.ours_us, *found.theirs_us) > 0
    assert format_.library in table.line(found)


@pytest.mark.parametrize("name", [pictures.THUMBNAIL, pictures.HISTOGRAM])
def test_pictures_are_measured_beside_a_script(name: str, volume: Volume) -> None:
    found = pictures.measure(name, volume.voxels("grey", Box((0, 0, 0), (SIDE, SIDE, SIDE))))
    assert min(*found.ours_us, *found.theirs_us) > 0
    assert pictures.LIBRARY in table.line(found)


@pytest.mark.soak
def test_writes_are_measured_beside_libraries(volume: Volume, tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    environ = {"WKDVID_ACCESS__MODE": "open"}
    with servers.wkdvid(tmp_path / "data", {}, core=core, file_root=tmp_path, cache_mib=64, environ=environ) as server:
        found = writing.measure(volume, writing.Case("seg", writing.BLOCK, 1), server, tmp_path / "written")
    assert min(found.ours_mb_s, found.tensorstore_mb_s, found.zarr_mb_s) > 0
    assert "POST raw labels" in table.line(found)


@pytest.mark.soak
def test_the_client_is_measured_beside_a_loop(volume: Volume, tmp_path: Path) -> None:
    core = sorted(os.sched_getaffinity(0))[0]
    found = cases.datasets(lambda name: str(volume.folder / name))
    with servers.wkdvid(tmp_path / "data", found, core=core, file_root=volume.folder, cache_mib=64) as server:
        for source in downloads.SOURCES:
            measured = downloads.measure(volume, source, lambda: nullcontext(server))
            assert min(*measured.ours_us, *measured.theirs_us) > 0
            assert downloads.LIBRARY in table.line(measured)


@pytest.mark.parametrize("name", label_index.NAMES)
@pytest.mark.soak
def test_the_label_index_is_measured_beside_a_script(name: str, volume: Volume) -> None:
    found = label_index.measure(name, volume, SIDE)
    assert min(*found.ours_us, *found.theirs_us) > 0
    assert label_index.LIBRARY in table.line(found)


def test_what_is_kept_is_measured_beside_first_reads(volume: Volume) -> None:
    found = {figure.case: figure.value for figure in kept.figures(volume, 2)}
    assert min(found.values()) > 0
    assert f"{kept.NAME}, 20 ms away: kept, of over http" in found


def test_pictures_that_differ_are_noticed() -> None:
    black, white = (jpeg.encode_image(np.full((8, 8), value, np.uint8)) for value in (0, 255))
    assert pictures.same_picture(black, black)
    assert not pictures.same_picture(black, white)


def test_one_in_a_hundred_chunks_fails_and_no_metadata() -> None:
    chunks = [f"grey/1-1-1/{x}-64_{y}-64_0-64" for x in range(100) for y in range(100)]
    assert 50 < len([path for path in chunks if failing.fails(path)]) < 200
    assert failing.fails("grey/info") is None


@pytest.mark.parametrize("kind", signatures.SETS)
def test_searches_for_likenesses_are_measured_beside_numpy(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {figure.case.partition(": ")[2]: figure.value for figure in signatures.figures(kind, 3000, tmp_path)}
    assert list(found) == ["index made", "index", "likelocation, p50", "comparing all in numpy, p50"]
    assert min(found.values()) > 0
    monkeypatch.setattr(signatures, "CHUNK", 100)
    assert [len(chunk) for chunk in signatures.generated(kind, 205)] == [100, 100, 5]


def test_a_search_that_misses_one_is_noticed(tmp_path: Path) -> None:
    build(tmp_path / "d", signatures.generated("clustered", 3000), 160, {})
    index = open_index(tmp_path / "d")
    assert index is not None
    signatures.check(index, 5)
    wrong = replace(index, bands=replace(index.bands, kept=np.zeros(3000, bool)))
    with pytest.raises(AssertionError):
        signatures.check(wrong, int(index.signatures[0]))


def test_computing_signatures_is_measured(volume: Volume) -> None:
    figure = signatures.sign_figure(volume.voxels("grey", Box((0, 0, 0), (SIDE, SIDE, SIDE))))
    assert figure.value > 0


def test_annotations_are_measured(tmp_path: Path) -> None:
    found = list(annotated.figures("SQLite", f"sqlite:///{tmp_path / 'bench.db'}", 3_000))
    assert [figure.unit for figure in found] == ["/s", "ms", "ms", "ms", "ms", "/s", "MB"]
    assert all(figure.value >= 0 for figure in found)


@pytest.mark.soak
def test_a_second_server_is_measured_beside_one(volume: Volume, tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    one, two, ratio = scaled.figures(scaled.KINDS[1], volume, 0.2, (cores[0], cores[-1]), tmp_path)
    assert (one.unit, two.unit, ratio.unit) == ("/s", "/s", "times")
    assert ratio.value == two.value / one.value > 0
