"""The curl lines of the TensorStore DVID API, and what is around them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import lz4.block
import numpy as np
import pytest
import requests
import tensorstore as ts

from tests.dvid.shelf import cut, wire_bytes
from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.codecs.block_stream import iter_records

NODE = "/api/node/dummy_uuid/my_dataset"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("runtime"), {}) as server:
        yield server


def grey() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(3).integers(1, 255, (130, 64, 64)).astype(np.uint8)


def configure(server: Server, spec: object, query: str = "dataset_name=my_dataset") -> requests.Response:
    return server.post(
        f"/api/config/dataset?{query}", data=json.dumps(spec), headers={"Content-Type": "application/json"}
    )


def precomputed_spec(folder: Path) -> dict[str, object]:
    return {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": str(folder)}}


def test_the_curl_lines(server: Server) -> None:
    folder = write_precomputed(server.data_dir / "first", [((1, 1, 1), grey())], voxel_size_nm=(8, 8, 8))
    configured = configure(server, precomputed_spec(folder))
    assert configured.status_code == 200, configured.text
    assert server.get("/api/config/datasets").json() == {"datasets": ["my_dataset"]}
    info = server.get(f"{NODE}/info").json()
    assert info["Base"]["TypeName"] == "uint8blk"
    assert info["Extended"]["MaxPoint"] == [129, 63, 63]
    two = dict(iter_records(server.get(f"{NODE}/specificblocks?blocks=0,0,0,1,0,0").content))
    for index in ((0, 0, 0), (1, 0, 0)):
        voxels = lz4.block.decompress(bytes(two[index])[4:], uncompressed_size=64**3)
        assert voxels == wire_bytes(cut(grey(), (64 * index[0], 0, 0), (64, 64, 64)))
    one = server.get(f"{NODE}/subvolblocks/64_64_64/0_0_0").content
    assert one[16:] == bytes(two[0, 0, 0])
    assert server.get("/api/node/dummy_uuid/my_dataset_1/info").json()["Extended"]["MaxPoint"] == [64, 31, 31]


def test_a_second_post_replaces_and_delete_removes(server: Server) -> None:
    first = write_precomputed(server.data_dir / "a", [((1, 1, 1), grey())])
    second = write_precomputed(server.data_dir / "b", [((1, 1, 1), grey()[:20])])
    query = "dataset_name=changing"
    for folder, last in ((first, 129), (second, 19)):
        assert configure(server, precomputed_spec(folder), query).status_code == 200
        info = server.get("/api/node/any/changing/info").json()
        assert info["Extended"]["MaxPoint"][0] == last
    assert requests.delete(f"{server.base}/api/config/dataset?{query}", timeout=60).status_code == 200
    gone = server.get("/api/node/any/changing/info")
    assert (gone.status_code, gone.text[:43]) == (400, "could not find UUID with partial match to a")
    assert requests.delete(f"{server.base}/api/config/dataset?{query}", timeout=60).status_code == 400


def test_axes_of_a_zarr_are_zyx_or_as_named(server: Server) -> None:
    path = server.data_dir / "plain.zarr"
    array = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(path)}}
    ts.open({**spec, "metadata": {"shape": [2, 3, 4], "dtype": "<u2"}}, create=True).result().write(array).result()
    assert configure(server, spec, "dataset_name=zyx").status_code == 200
    assert configure(server, spec, "dataset_name=xyz&axes=xyz").status_code == 200
    assert server.get("/api/node/u/zyx/raw/0_1_2/4_3_2/0_0_0").content == array.tobytes()
    assert server.get("/api/node/u/xyz/raw/0_1_2/2_3_4/0_0_0").content == array.tobytes("F")


def test_bad_configurations_change_nothing(server: Server) -> None:
    before = (server.data_dir / "datasets.json").read_bytes()
    outside = precomputed_spec(Path("/etc"))
    refusals = [
        (configure(server, outside, "dataset_name=x"), "x"),
        (configure(server, {"driver": "nope"}, "dataset_name=x"), "x"),
        (configure(server, [], "dataset_name=x"), "x"),
        (configure(server, precomputed_spec(server.data_dir / "nothing"), "dataset_name=x"), "x"),
        (configure(server, {}, "dataset_name=../x"), "../x"),
        (configure(server, {}, ""), "dataset_name: missing"),
        (server.post("/api/config/dataset?dataset_name=x", data='{"driver"\n'), "line 2, column 1"),
    ]
    for response, text in refusals:
        assert response.status_code == 400, response.text
        assert text in response.text
    assert (server.data_dir / "datasets.json").read_bytes() == before


def test_a_foreign_page_cannot_configure(server: Server) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        response = server.post("/api/config/dataset?dataset_name=x", data="{}", headers=headers)
        assert response.status_code == 403
