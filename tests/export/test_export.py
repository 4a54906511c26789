"""Every kind of source: read whole from what is exported by other libraries, and asked for as they do not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorstore as ts
import zarr
from cloudvolume import CloudVolume
from ome_zarr_models import v04, v05

from tests.backends.arrays import Array
from tests.export.sources import PROPERTIES, SEGMENTS, Source, entries, every_source
from tests.mesh_files import read_by_cloud_volume
from tests.servers import Server, running
from wkdvid.core.geometry import mag_text
from wkdvid.testing.volume_suite import StoredLevel

NAMES = (
    *(
        "raw",
        "jpeg",
        "png",
        "rgb",
        "rgbjpeg",
        "labels",
        "holes",
        "oddblocks",
        "sharded",
        "int16",
        "float32",
        "ome",
        "zarrlabels",
    ),
    *("zarrids", "float64", "int64", "n5", "specs", "stack", "plane", "wkw", "boss"),
)
WITH_SEGMENTS = ("files", "shards", "legacy", "wideshards", "widelegacy")
PRECOMPUTED = [name for name in NAMES if name not in ("float64", "int64")]
BY_CLOUD_VOLUME = ["raw", "jpeg", "rgb", "labels", "holes", "float32", "ome", "plane"]
BY_ZARR = ["raw", "rgb", "labels", "float64", "plane"]
TREES = {"zarr": "zarr3", "zarr2": "zarr2"}
"""With TensorStore's drivers."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Source]]:
    with every_source(tmp_path_factory.mktemp("export")) as made:
        assert tuple(made) == NAMES + WITH_SEGMENTS
        yield made


@pytest.fixture(scope="module")
def server(sources: Mapping[str, Source], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = next(iter(tmp_path_factory.getbasetemp().glob("export*")))
    hosts = sources["boss"].entry["domain"].removeprefix("http://")
    with running(folder, entries(sources), environ={"WKDVID_SOURCES__HTTP_HOSTS": hosts}) as started:
        states = {one["name"]: (one["state"], one.get("reason")) for one in started.get("/data/datasets").json()}
        assert {state for state, _ in states.values()} == {"open"}, states
        yield started


def opened(spec: Mapping[str, Any], server: Server, path: str) -> ts.TensorStore:
    kvstore = {"driver": "http", "base_url": server.base, "path": f"{path}/"}
    return ts.open({**spec, "kvstore": kvstore}, read=True, open=True).result()


def same(found: Any, level: StoredLevel, tolerance: int = 0) -> None:
    """
    Args:
        found: (c, x, y, z).
    """
    assert (found.dtype, found.shape) == (level.array.dtype, level.array.shape)
    if tolerance:
        assert np.abs(found.astype(int) - level.array).max() <= tolerance
    else:
        np.testing.assert_array_equal(found, level.array)


@pytest.mark.parametrize("name", PRECOMPUTED)
def test_precomputed_by_tensorstore(server: Server, sources: Mapping[str, Source], name: str) -> None:
    for i, level in enumerate(sources[name].levels):
        driver = {"driver": "neuroglancer_precomputed", "scale_index": i}
        store = opened(driver, server, f"/precomputed/lab/{name}/layer")
        assert (store.origin[:3], store.shape[:3]) == (level.start, level.array.shape[1:])
        same(store.read().result().transpose(3, 0, 1, 2), level, sources[name].tolerance)


@pytest.mark.parametrize("name", BY_CLOUD_VOLUME)
def test_precomputed_by_cloud_volume(server: Server, sources: Mapping[str, Source], name: str) -> None:
    address = f"precomputed://{server.base}/precomputed/lab/{name}/layer"
    for i, level in enumerate(sources[name].levels):
        volume = CloudVolume(address, mip=i, progress=False, use_https=True)
        assert tuple(volume.voxel_offset) == level.start
        same(volume[:].transpose(3, 0, 1, 2), level, sources[name].tolerance)


def voxels(array: Array) -> Array:
    """(z, y, x) or (c, z, y, x) as (c, x, y, z)."""
    return array.reshape(-1, *array.shape[-3:]).transpose(0, 3, 2, 1)


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("name", NAMES)
def test_zarr_by_tensorstore(server: Server, sources: Mapping[str, Source], name: str, tree: str) -> None:
    for level in sources[name].levels:
        store = opened({"driver": TREES[tree]}, server, f"/{tree}/lab/{name}/layer/{mag_text(level.mag)}")
        same(voxels(store.read().result()), level, sources[name].tolerance)


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("name", BY_ZARR)
def test_zarr_by_zarr_python(server: Server, sources: Mapping[str, Source], name: str, tree: str) -> None:
    group: Any = zarr.open_group(f"{server.base}/{tree}/lab/{name}/layer", mode="r")
    listed = set(group.array_keys())  # a web server lists no folders
    assert {mag_text(level.mag) for level in sources[name].levels} <= listed
    for level in sources[name].levels:
        same(voxels(group[mag_text(level.mag)][...]), level, sources[name].tolerance)
    again: Any = zarr.open_group(f"{server.base}/{tree}/lab/{name}", mode="r")["layer"]
    assert again.attrs.asdict() == group.attrs.asdict()


@pytest.mark.parametrize("name", ["ome", "rgb", "labels", "float64"])
def test_documents_are_valid(server: Server, name: str) -> None:
    attributes = server.get(f"/zarr/lab/{name}/layer/zarr.json").json()["attributes"]
    v05.image.ImageAttrs.model_validate(attributes["ome"])
    v04.image.ImageAttrs.model_validate(server.get(f"/zarr2/lab/{name}/layer/.zattrs").json())


# ---- what the libraries do not ask ----------------------------------------------------------------------------------


STORED = "1-1-1/64-128_3-67_0-41"
"""A whole chunk of ``jpeg``, as it is stored."""
CHUNK = "/precomputed/lab/jpeg/layer/" + STORED.replace("1-1-1", "1")


def test_stored_chunks_are_handed_on(server: Server) -> None:
    kept = {"jpeg": STORED, "rgbjpeg": "2-2-1/0-38_0-33_0-41", "png": "1-1-1/64-75_64-66_0-41"}
    kept |= {"labels": "4-4-2/-1-18_-16-1_6-27", "raw": "1-1-1/-70--6_-7-57_5-46"}
    for name, path in kept.items():
        key, _, chunk = path.partition("/")
        exported = "1" if key == "1-1-1" else key
        answer = server.get(f"/precomputed/lab/{name}/layer/{exported}/{chunk}")
        assert (answer.status_code, answer.content) == (200, (server.data_dir / name / path).read_bytes()), name


def test_what_is_not_there(server: Server) -> None:
    for path in (
        "precomputed/lab/jpeg/layer/1/0-64_3-67_0-41",  # before the volume
        "precomputed/lab/jpeg/layer/1/65-129_3-67_0-41",  # between two chunks
        "precomputed/lab/jpeg/layer/1/64-129_3-67_0-41",
        "precomputed/lab/jpeg/layer/1/64-128_3-67_0-64",  # not cut
        "precomputed/lab/jpeg/layer/1/064-128_3-67_0-41",
        "precomputed/lab/jpeg/layer/1/64-64_3-67_0-41",
        "precomputed/lab/jpeg/layer/1-1-1/64-128_3-67_0-41",
        "precomputed/lab/jpeg/layer/3/64-128_3-67_0-41",
        "precomputed/lab/jpeg/layer/provenance",
        "precomputed/lab/jpeg/layer/mesh/info",
        "precomputed/lab/jpeg/nothing/info",
        "precomputed/lab/nothing/layer/info",
        "zarr/lab/jpeg/layer/1/c/0/0/2",
        "zarr/lab/jpeg/layer/1/c/0/0/00",
        "zarr/lab/jpeg/layer/1/c/0/0/0/0",
        "zarr/lab/jpeg/layer/1/0/0/0",
        "zarr/lab/rgb/layer/1/c/1/0/0/0",
        "zarr/lab/jpeg/layer/.zattrs",
        "zarr/lab/jpeg/.zattrs",
        "zarr2/lab/jpeg/layer/1/c/0/0/0",
        "zarr2/lab/jpeg/layer/1/zarr.json",
    ):
        assert server.get(f"/{path}").status_code == 404, path


@pytest.mark.parametrize("name", ["float64", "int64"])
def test_types_that_precomputed_has_not(server: Server, name: str) -> None:
    for path in ("info", "1/0-64_0-64_0-41"):
        answer = server.get(f"/precomputed/lab/{name}/layer/{path}")
        assert answer.status_code == 400
        assert f"no voxels of type {name}" in answer.json()["messages"][0]["error"]
    (listed,) = (one for one in server.get("/data/datasets").json() if one["name"] == name)
    assert listed["addresses"]["precomputed"] == []
    assert listed["addresses"]["zarr"] == [f"{server.base}/zarr/lab/{name}/layer"]


def test_head_and_ranges(server: Server) -> None:
    whole = server.get(CHUNK)
    head = requests.head(server.base + CHUNK, timeout=60)
    assert (head.status_code, head.content) == (200, b"")
    same_headers = ("Content-Length", "ETag", "Accept-Ranges", "Cache-Control", "Access-Control-Allow-Origin")
    assert [head.headers[name] for name in same_headers] == [whole.headers[name] for name in same_headers]
    part = server.get(CHUNK, headers={"Range": "bytes=10-19", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
    last = server.get(CHUNK, headers={"Range": "bytes=-5"})
    assert (last.status_code, last.content) == (206, whole.content[-5:])
    assert server.get(CHUNK, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    other = server.get(CHUNK, headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, whole.content)


def test_what_is_held_is_not_sent_again_until_the_volume_is_opened_again(server: Server) -> None:
    paths = (
        CHUNK,
        "/precomputed/lab/jpeg/layer/info",
        "/zarr/lab/jpeg/layer/1/c/0/0/0",
        "/zarr2/lab/jpeg/layer/.zattrs",
    )
    tag = server.get(CHUNK).headers["ETag"]
    assert tag[0] == tag[-1] == '"'
    for path in paths:
        for held in (tag, f'"another", {tag}', "*"):
            answer = server.get(path, headers={"If-None-Match": held})
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
        assert server.get(path, headers={"If-None-Match": '"another"'}).status_code == 200
    assert server.get(f"{CHUNK}0", headers={"If-None-Match": tag}).status_code == 404
    server.post("/data/triggers/reload/lab/jpeg").raise_for_status()
    for path in paths:
        answer = server.get(path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.headers["ETag"] == tag) == (200, False)


def test_places_and_windows(server: Server) -> None:
    ome = server.get("/zarr/lab/raw/layer/zarr.json").json()["attributes"]["ome"]
    (image,) = ome["multiscales"]
    assert [axis["unit"] for axis in image["axes"]] == ["nanometer"] * 3
    found = [dataset["coordinateTransformations"] for dataset in image["datasets"]]
    # the centres of the first voxels, from that of the voxel at 0: the volume begins at (-70, -7, 5), (-35, -4, 5)...
    assert found[0] == [
        {"type": "scale", "scale": [40.0, 4.0, 4.5]},
        {"type": "translation", "translation": [5 * 40.0, -7 * 4.0, -70 * 4.5]},
    ]
    assert found[1][1]["translation"] == [5 * 40.0, (-8 + 0.5) * 4.0, (-70 + 0.5) * 4.5]
    (channel,) = ome["omero"]["channels"]
    window = channel["window"]
    assert (window["min"], window["max"]) == (0, 65535)
    assert 0 < window["start"] < 1000
    assert 64000 < window["end"] < 65535
    colors = server.get("/zarr2/lab/rgb/layer/.zattrs").json()["omero"]["channels"]
    assert [channel["color"] for channel in colors] == ["FF0000", "00FF00", "0000FF"]
    labels = server.get("/zarr/lab/labels/layer/zarr.json").json()["attributes"]["ome"]
    assert ("omero" in labels, labels["image-label"]) == (False, {})


def test_info_of_labels_and_of_what_is_computed(server: Server) -> None:
    info = server.get("/precomputed/lab/labels/layer/info").json()
    assert (info["type"], info["data_type"], info["num_channels"]) == ("segmentation", "uint64", 1)
    assert [scale["voxel_offset"] for scale in info["scales"][:3]] == [[-3, -64, 12], [-2, -32, 12], [-1, -16, 6]]
    assert info["scales"][1]["resolution"] == [9.0, 8.0, 40.0]
    assert {scale["encoding"] for scale in info["scales"]} == {"compressed_segmentation"}
    odd = server.get("/precomputed/lab/oddblocks/layer/info").json()["scales"]
    assert odd[0]["compressed_segmentation_block_size"] == [8, 8, 8]
    assert odd[0]["chunk_sizes"] == [[64, 64, 41]]
    assert [scale["key"] for scale in odd] == ["1", "2"]
    sharded = server.get("/precomputed/lab/sharded/layer/info").json()["scales"][0]
    assert (sharded["chunk_sizes"], "sharding" in sharded) == ([[32, 32, 32]], False)
    plane = server.get("/precomputed/lab/plane/layer/info").json()["scales"][0]
    assert plane["chunk_sizes"] == [[512, 256, 1]]
    assert [scale["encoding"] for scale in server.get("/precomputed/lab/zarrids/layer/info").json()["scales"]] == [
        "raw"
    ] * 2


@pytest.mark.parametrize("page", ["precomputed", "zarr"])
def test_lines_to_copy(server: Server, capsys: pytest.CaptureFixture[str], page: str) -> None:
    text = (Path(__file__).parents[2] / f"docs/clients/{page}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        ours = block.replace("http://127.0.0.1:8000", server.base).replace("sample/precomputed/grey", "lab/int16/layer")
        exec(ours, {})
        assert len(capsys.readouterr().out) > 10


# ---- segments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_SEGMENTS)
def test_meshes_by_cloud_volume(server: Server, name: str) -> None:
    address, stretch = f"{server.base}/precomputed/lab/{name}/layer", [2, 4, 1] if "wide" in name else [1, 1, 1]
    for segment in SEGMENTS[1:]:
        for level in (0,) if "legacy" in name else (0, 2):
            expected = read_by_cloud_volume(server.data_dir / name, segment, level)
            found = read_by_cloud_volume(f"precomputed://{address}", segment, level)
            assert len(found) > 5
            np.testing.assert_allclose(found, expected * stretch, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("name", WITH_SEGMENTS)
def test_skeletons_by_cloud_volume(server: Server, name: str) -> None:
    address, stretch = f"{server.base}/precomputed/lab/{name}/layer", [2, 4, 1] if "wide" in name else [1, 1, 1]
    for segment in SEGMENTS[1:]:
        expected = CloudVolume(f"file://{server.data_dir / name}").skeleton.get(segment)
        found = CloudVolume(f"precomputed://{address}", use_https=True).skeleton.get(segment)
        np.testing.assert_allclose(found.vertices, expected.vertices * stretch, rtol=1e-5, atol=1e-2)
        np.testing.assert_array_equal(found.edges, expected.edges)
        np.testing.assert_array_equal(found.vertex_types, expected.vertex_types)


def test_files_of_segments_in_parts(server: Server) -> None:
    base = "/precomputed/lab/files/layer"
    assert server.get(f"{base}/segment_properties/info").json() == PROPERTIES
    for path in ("mesh/77", "mesh/77.index", "skeletons/77"):
        stored = server.data_dir / "files" / path.replace("mesh", "m").replace("skeletons", "s")
        whole = server.get(f"{base}/{path}")
        assert (whole.status_code, whole.content) == (200, stored.read_bytes())
        for asked, part in (("5-9", slice(5, 10)), ("-7", slice(-7, None)), ("9-", slice(9, None))):
            answer = server.get(f"{base}/{path}", headers={"Range": f"bytes={asked}"})
            assert (answer.status_code, answer.content) == (206, whole.content[part]), (path, asked)
        assert server.get(f"{base}/{path}", headers={"Range": "bytes=9999999-"}).status_code == 416
        assert server.get(f"{base}/{path}", headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
        other = server.get(f"{base}/{path}", headers={"Range": "bytes=5-9", "If-Range": '"another"'})
        assert (other.status_code, other.content) == (200, whole.content)
    manifest = server.get("/precomputed/lab/legacy/layer/mesh/77%3A0").json()
    assert manifest == {"fragments": ["77:0:part0", "77:0:part1"]}


def test_no_other_files_are_handed_out(server: Server) -> None:
    for name in ("files", "shards", "legacy"):
        (server.data_dir / name / "m" / "secret").write_bytes(b"\1\0\0\0secret")
        (server.data_dir / name / "s" / "secret").write_bytes(b"secret")
        for path in (
            "mesh/secret",
            "mesh/..%2Finfo",
            "mesh/",
            "skeletons/secret",
            "skeletons/7",
            "m/info",
        ):
            answer = server.get(f"/precomputed/lab/{name}/layer/{path}")
            is_fragment = name == "legacy" and path == "mesh/secret"  # a fragment may have any name
            assert answer.status_code == (502 if is_fragment else 404), (name, path)
            assert "secret" not in answer.text.replace("(secret)", "").replace("'secret'", "")
