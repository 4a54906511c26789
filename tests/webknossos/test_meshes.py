"""Stored meshes over both generations of the protocol: what the browser, its forerunner and the Python package make of
them is what cloud-volume reads from the same files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest
import requests

from tests.mesh_files import (
    Corners,
    add_to_info,
    in_order,
    read_by_cloud_volume,
    read_stl,
    write_legacy,
    write_multi_lod,
)
from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.testing.faulty import LOGIN_PAGE, Answer, FileServer, Instead, none, on

DATASET_ID = hashlib.sha256(b"lab/ds").hexdigest()[:24]
SEGMENTS = (2**60 + 7, 2**53 + 1, 5)
LARGE, _, SMALL = SEGMENTS
LEVELS = {"files": 3, "shards": 3, "legacy": 1}
TOLERANCE = {"files": 1e-2, "shards": 1e-2, "legacy": 2e-2}
"""Nanometres: float32 of cloud-volume's; of Draco's 16 bits for 1000 nm."""
EVIL = {
    "huge": struct.pack("<6fI", 1, 1, 1, 0, 0, 0, 2**32 - 1),
    "many": struct.pack("<6fI4fI", 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 2**32 - 1),
    "flat": struct.pack("<6fI4fI", 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0),
    "nowhere": struct.pack("<6fI4fI", 1, 1, 1, np.nan, 0, 0, 1, 1, 0, 0, 0, 0),
    "long": struct.pack("<6fI4fI", 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0) + b"more",
    "empty": b"",
}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meshes")
    for name in ("files", "shards", "legacy", "bare", "evil", "odd"):
        volume = folder / name
        write_precomputed(volume, [((1, 1, 1), np.ones((8, 8, 8), np.uint64))], kind="segmentation")
        if name != "bare":
            add_to_info(volume, mesh="mesh")
    write_multi_lod(folder / "files" / "mesh", SEGMENTS, sharded=False)
    write_multi_lod(folder / "shards" / "mesh", SEGMENTS, sharded=True)
    write_legacy(folder / "legacy", SEGMENTS)
    write_multi_lod(folder / "evil" / "mesh", (), sharded=False)
    for i, manifest in enumerate(EVIL.values()):
        (folder / "evil" / "mesh" / f"{i}.index").write_bytes(manifest)
    add_to_info(folder / "odd", mesh="../../../etc")
    properties = {"@type": "neuroglancer_segment_properties", "inline": {"ids": [str(LARGE)], "properties": []}}
    add_to_info(folder / "files", segment_properties="props")
    (folder / "files" / "props").mkdir()
    (folder / "files" / "props" / "info").write_text(json.dumps(properties))
    return folder


@pytest.fixture(scope="module")
def far(volumes: Path) -> Iterator[FileServer]:
    """The same volumes over HTTP."""
    with FileServer(volumes) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, volumes: Path, far: FileServer) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("data")
    layers: dict[str, Any] = {path.name: {"source": f"{path}/"} for path in volumes.iterdir()}
    layers |= {f"far_{name}": {"source": f"{far.url}{name}"} for name in LEVELS}
    layers["stretched"] = {"source": f"{volumes}/files/", "voxel_size": [2, 3, 4]}
    environ = {"WKDVID_SOURCES__HTTP_HOSTS": far.host, "WKDVID_SOURCES__FILE_ROOTS": str(volumes)}
    sets = {name: {"layers": {name: layer}} for name, layer in layers.items()}
    with running(data, {"precomputed": {"lab": sets}}, environ=environ) as started:
        yield started
    assert "Traceback" not in (data / "server.log").read_text()


def layer(name: str) -> str:
    return f"/data/datasets/lab/{name}/layers/{name}"


def envelope(number: int) -> int | dict[str, str]:
    return number if number < 2**53 else {"customJsonEncoding": "bigint", "value": str(number)}


def listed(server: Server, name: str, segment: int = LARGE) -> requests.Response:
    body = {"meshFileName": "mesh", "segmentId": envelope(segment)}
    return server.post(f"{layer(name)}/meshes/chunks", json=body)


def data_of(server: Server, name: str, segment: int, chunks: list[dict[str, Any]]) -> requests.Response:
    wanted = [{**{k: one[k] for k in ("byteOffset", "byteSize")}, "segmentId": envelope(segment)} for one in chunks]
    return server.post(f"{layer(name)}/meshes/chunks/data", json={"meshFileName": "mesh", "requests": wanted})


def full(server: Server, name: str, segment: int = LARGE, lod: int = 0) -> requests.Response:
    """As the Python package asks: the number is no envelope."""
    body = {"lod": lod, "meshFileName": "mesh", "segmentId": segment, "mappingName": None}
    return server.post(f"{layer(name)}/meshes/fullMesh.stl", json=body)


def as_the_browser(server: Server, name: str, segment: int, level: int) -> Corners:
    """Its reckoning: chunk scale, then position, then the diagonal of the transform."""
    document = listed(server, name, segment).json()
    assert document["meshFormat"] == "draco"
    lod = document["lods"][level]
    scale = np.array([lod["transform"][axis][axis] for axis in range(3)])
    answer = data_of(server, name, segment, lod["chunks"][::-1])
    found, data = [], answer.content
    for chunk in lod["chunks"][::-1]:
        assert chunk["unmappedSegmentId"] == envelope(segment)
        mesh = DracoPy.decode(data[: chunk["byteSize"]])
        data = data[chunk["byteSize"] :]
        corners = np.asarray(mesh.points, np.float64)[mesh.faces]
        found.append((corners * document["chunkScale"] + chunk["position"]) * scale)
    assert data == b""
    return np.concatenate(found)


def check_like(found: Corners, expected: Corners, within: float) -> None:
    np.testing.assert_allclose(in_order(found), in_order(expected), atol=within, rtol=0)


@pytest.mark.parametrize("name", LEVELS)
def test_meshes_are_what_cloud_volume_reads(server: Server, volumes: Path, name: str) -> None:
    for segment in SEGMENTS:
        for level in range(LEVELS[name]):
            expected = read_by_cloud_volume(volumes / name, segment, level)
            assert len(expected) >= 10
            for asked in (name, f"far_{name}"):
                check_like(as_the_browser(server, asked, segment, level), expected, TOLERANCE[name])
            stl = full(server, name, segment, level)
            assert stl.headers["Content-Type"] == "model/stl"
            check_like(read_stl(stl.content), expected, TOLERANCE[name])


@pytest.mark.parametrize("name", LEVELS)
def test_meshes_as_servers_of_2019_ask_for_them(server: Server, volumes: Path, name: str) -> None:
    assert (
        server.get(f"{layer(name)}/meshes").json()[0].items() >= {"meshFileName": "mesh", "mappingName": None}.items()
    )
    asked = {"meshFile": "mesh", "segmentId": SMALL}
    positions = server.post(f"{layer(name)}/meshes/chunks", json=asked).json()
    parts = [
        read_stl(server.post(f"{layer(name)}/meshes/chunks/data", json={**asked, "position": one}).content)
        for one in positions
    ]
    expected = read_by_cloud_volume(volumes / name, SMALL, min(2, LEVELS[name] - 1))
    check_like(np.concatenate(parts), expected, 1e-2)
    elsewhere = server.post(f"{layer(name)}/meshes/chunks/data", json={**asked, "position": [1, 2, 3]})
    assert elsewhere.status_code == 404


def test_mesh_files_are_listed(server: Server) -> None:
    (one,) = server.get(f"{layer('files')}/meshes").json()
    assert one == {"name": "mesh", "meshFileName": "mesh", "mappingName": None, "formatVersion": 7}
    assert server.get(f"{layer('bare')}/meshes").json() == []
    assert server.get(f"{layer('odd')}/meshes").status_code == 502


def test_ids_that_javascript_does_not_hold(server: Server) -> None:
    document = {"meshFileName": "mesh", "segmentId": LARGE}
    for version, expected in ((14, None), (15, envelope(LARGE)), (16, envelope(LARGE))):
        path = f"{layer('files')}/meshes/chunks".replace("/data/", f"/data/v{version}/")
        chunk = server.post(path, json=document).json()["lods"][0]["chunks"][0]
        assert chunk["unmappedSegmentId"] == expected
    assert listed(server, "files", LARGE + 1).status_code == 404


def test_a_voxel_size_of_the_entry_stretches_the_meshes(server: Server, volumes: Path) -> None:
    expected = read_by_cloud_volume(volumes / "files", SMALL, 1) * (2, 3, 4)
    found = as_the_browser(server, "stretched", SMALL, 1)
    check_like(found, expected, 5e-2)


def test_the_last_sizes_are_of_the_browser(server: Server) -> None:
    """Empty fragments are not told: the browser could not decode them."""
    lods = listed(server, "files").json()["lods"]
    assert [len(lod["chunks"]) for lod in lods] == [4, 1, 1]


@pytest.mark.parametrize("segment", ["5", -1, 1.5, None, {"customJsonEncoding": "bigint", "value": "x"}, 2**64, True])
def test_segments_that_are_none(server: Server, segment: Any) -> None:
    body = {"meshFileName": "mesh", "segmentId": segment}
    answer = server.post(f"{layer('files')}/meshes/chunks", json=body)
    assert answer.status_code == 400
    assert "segmentId" in answer.json()["messages"][0]["error"]


def test_what_is_not_there_is_told(server: Server) -> None:
    for path in ("meshes/chunks", "meshes/fullMesh.stl"):
        for name, body in (
            ("files", {"meshFileName": "mesh", "segmentId": 6}),
            ("files", {"meshFileName": "other", "segmentId": SMALL}),
            ("bare", {"meshFileName": "mesh", "segmentId": SMALL}),
        ):
            assert server.post(f"{layer(name)}/{path}", json=body).status_code == 404
    assert full(server, "files", SMALL, 3).status_code == 404
    mapped = {"meshFileName": "mesh", "segmentId": SMALL, "mappingName": "agglomerate"}
    assert server.post(f"{layer('files')}/meshes/fullMesh.stl", json=mapped).status_code == 404


def test_only_the_bytes_of_fragments_are_handed_out(server: Server) -> None:
    (chunk,) = listed(server, "shards").json()["lods"][2]["chunks"]
    for wrong in ({"byteOffset": 0, "byteSize": 10**12}, {"byteOffset": chunk["byteOffset"] - 1}, {"byteSize": -1}):
        assert data_of(server, "shards", LARGE, [{**chunk, **wrong}]).status_code == 400
    two = [{**chunk, "segmentId": one} for one in (SMALL, 6)]
    many = [{**chunk, "segmentId": envelope(LARGE)}] * 5000
    wrong_requests: list[tuple[Any, int]] = [([], 400), (None, 400), ([1], 400), ([{}], 400), (two, 400), (many, 413)]
    for wanted, status in wrong_requests:
        body = {"meshFileName": "mesh", "requests": wanted}
        assert server.post(f"{layer('shards')}/meshes/chunks/data", json=body).status_code == status


@pytest.mark.parametrize("evil", EVIL)
def test_a_manifest_that_is_none(server: Server, evil: str) -> None:
    answer = listed(server, "evil", [*EVIL].index(evil))
    assert (answer.status_code, answer.json()["code"]) == (502, "corrupt_chunk")


FAILURES: list[tuple[Instead, int]] = [
    (500, 503),
    (403, 502),
    (LOGIN_PAGE, 502),
    (Answer(body=b""), 502),
]


@pytest.mark.parametrize(("fault", "status"), FAILURES)
def test_a_source_that_fails_has_no_empty_mesh(server: Server, far: FileServer, fault: Instead, status: int) -> None:
    for name, pattern in (("far_files", "files/mesh/*[0-9].index"), ("far_legacy", "legacy/mesh/*:0")):
        server.post(f"/data/triggers/reload/lab/{name}")
        far.fault = on(pattern, fault)
        assert listed(server, name).status_code == status, name
        assert full(server, name).status_code == status, name
        far.fault = none
        assert listed(server, name).status_code == 200
    server.post("/data/triggers/reload/lab/far_shards")
    far.fault = on("shards/mesh/*.shard", fault)
    assert listed(server, "far_shards").status_code in {status, 502}
    far.fault = none
    assert listed(server, "far_shards").status_code == 200


def test_a_source_that_lacks_a_manifest_has_no_mesh(server: Server, far: FileServer) -> None:
    for name, pattern in (("files", "files/mesh/*.index"), ("legacy", "legacy/mesh/*:0"), ("shards", "*.shard")):
        server.post(f"/data/triggers/reload/lab/far_{name}")
        far.fault = on(pattern, 404)
        assert listed(server, f"far_{name}").status_code == 404
        far.fault = none
        assert listed(server, f"far_{name}").status_code == 200


def test_a_mesh_info_that_fails_is_asked_for_again(server: Server, far: FileServer) -> None:
    server.post("/data/triggers/reload/lab/far_files")
    far.fault = on("files/mesh/info", 503)
    assert server.get(f"{layer('far_files')}/meshes").status_code == 503
    far.fault = none
    assert len(server.get(f"{layer('far_files')}/meshes").json()) == 1


def test_a_fragment_that_is_missing_or_spoiled(server: Server, far: FileServer) -> None:
    chunks = {name: listed(server, f"far_{name}").json()["lods"][0]["chunks"] for name in LEVELS}
    fragments = {"files": f"files/mesh/{LARGE}", "legacy": "legacy/mesh/*:part1", "shards": "shards/mesh/*.shard"}
    for name, pattern in fragments.items():
        far.fault = on(pattern, 404)
        assert data_of(server, f"far_{name}", LARGE, chunks[name]).status_code == 503
        assert full(server, f"far_{name}").status_code == 503
        far.fault = on(pattern, Answer(body=b"short"))
        assert data_of(server, f"far_{name}", LARGE, chunks[name]).status_code == 502
    far.fault = on(fragments["files"], Answer(body=bytes(10**5)))
    assert full(server, "far_files").status_code == 502  # such bytes are no Draco
    outside = Answer(body=struct.pack("<I3f3I", 1, 0, 0, 0, 0, 0, 1))
    far.fault = on(fragments["legacy"], outside)
    answer = full(server, "far_legacy")
    assert (answer.status_code, "vertex 1 of 1" in answer.text) == (502, True)
    far.fault = none
    assert full(server, "far_files").status_code == 200


def test_legacy_fragments_stay_in_their_folder(server: Server, volumes: Path) -> None:
    for names in (["../../legacy/info"], [".."], ["a/b"], [5], "x", None):
        (volumes / "legacy" / "mesh" / "9:0").write_text(json.dumps({"fragments": names}))
        assert listed(server, "legacy", 9).status_code == 502
    (volumes / "legacy" / "mesh" / "9:0").write_text(json.dumps({"fragments": []}))
    assert listed(server, "legacy", 9).json()["lods"][0]["chunks"] == []


def test_local_files_that_cloud_volume_has_packed(server: Server, volumes: Path) -> None:
    mesh = volumes / "legacy" / "mesh"
    for name, packed in ((f"{SMALL}:0", "11:0.gz"), (f"{SMALL}:0:part0", "11:part.gz")):
        text = (mesh / name).read_bytes()
        document = json.dumps({"fragments": ["11:part"]}).encode()
        (mesh / packed).write_bytes(gzip.compress(document if packed == "11:0.gz" else text))
    assert len(read_stl(full(server, "legacy", 11).content)) == 10


def test_a_link_that_leads_out(server: Server, volumes: Path, tmp_path: Path) -> None:
    shutil.copy(volumes / "files" / "mesh" / f"{SMALL}.index", tmp_path / "secret")
    (volumes / "files" / "mesh" / "12.index").symlink_to(tmp_path / "secret")
    answer = listed(server, "files", 12)
    assert answer.status_code == 502
    assert "leads out" in answer.text
    assert str(tmp_path.parent) not in answer.text


def test_segment_properties_are_handed_on(server: Server, volumes: Path, far: FileServer) -> None:
    stored = (volumes / "files" / "props" / "info").read_bytes()
    answer = server.get(f"{layer('files')}/segmentProperties")
    assert (answer.status_code, answer.content) == (200, stored)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert server.get(f"{layer('legacy')}/segmentProperties").status_code == 404
    far.fault = on("files/props/info", 500)
    assert server.get(f"{layer('far_files')}/segmentProperties").status_code == 503
    far.fault = on("files/props/info", Answer(body=b'{"@type": "x"}'))
    assert server.get(f"{layer('far_files')}/segmentProperties").status_code == 502
    far.fault = none


def test_the_largest_segment_is_not_guessed(server: Server) -> None:
    """New ids begin after it: one that is too small would make two segments one."""
    source = server.get("/data/datasets/lab/files").json()["dataSource"]
    assert "largestSegmentId" not in source["dataLayers"][0]
    assert server.get(f"{layer('files')}/hasSegmentIndex").json() is False
