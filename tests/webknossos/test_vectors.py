"""The protocol as a client sees it: the vectors of the specification, over a real port."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import grid, write_precomputed

MAG1 = (1, 1, 1)
MAG2 = (2, 2, 2)


def bucket(*position: int, mag: tuple[int, int, int] = MAG1, **more: Any) -> dict[str, Any]:
    return {"position": list(position), "mag": list(mag), "cubeSize": 32, **more}


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("vectors")
    x, y, z = grid((64, 64, 64))
    v = ((x + 3 * y + 7 * z) % 256).astype(np.uint8)
    s = (2**40 + 1 + x // 8 + 8 * (y // 8) + 64 * (z // 8)).astype(np.uint64)
    rgb = np.stack([v, 255 - v, np.zeros_like(v)], axis=-1)
    write_precomputed(folder / "v", [(MAG1, v), (MAG2, v[::2, ::2, ::2])])
    write_precomputed(folder / "s", [(MAG1, s)], kind="segmentation", encoding="compressed_segmentation")
    write_precomputed(folder / "rgb", [(MAG1, rgb)])
    layers = {
        name: {"source": name, "type": kind} for name, kind in (("v", "image"), ("s", "segmentation"), ("rgb", "image"))
    }
    with running(folder, {"precomputed": {"org": {"ds": {"layers": layers}}}}) as running_server:
        yield running_server


@pytest.mark.parametrize(
    ("layer", "wanted", "length", "first", "digest"),
    [
        ("v", bucket(0, 0, 0, fourBit=False), 32768, "0001020304050607", "9c99dc6a18d69d44"),
        ("v", bucket(32, 0, 0), 32768, "2021222324252627", "0b157aa641bae9c6"),
        ("v", bucket(0, 32, 32), 32768, "4041424344454647", "9904429c565524ec"),
        ("v", bucket(0, 0, 0, fourBit=True), 16384, "0000000000000000", "d28f76de864c1e46"),
        ("v", bucket(32, 0, 0, fourBit=True), 16384, "2222222222222222", "7b0748597d495aaa"),
        ("v", bucket(0, 0, 0, mag=MAG2), 32768, "00020406080a0c0e", "6743f783901f1f4e"),
        ("s", bucket(32, 0, 0), 262144, "0500000000010000", "6d5b24d2908533de"),
        ("rgb", bucket(0, 0, 0), 98304, "00ff0001fe0002fd00", "ec9c2efdbfe63450"),
    ],
)
def test_one_bucket(server: Server, layer: str, wanted: dict[str, Any], length: int, first: str, digest: str) -> None:
    for _cold_and_warm in range(2):
        answer = server.buckets(f"org/ds/layers/{layer}", wanted)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert len(answer.content) == length
        assert answer.content.hex().startswith(first)
        assert sha(answer.content) == digest
        assert answer.headers["MISSING-BUCKETS"] == "[]"


def test_batch_with_a_bucket_outside(server: Server) -> None:
    answer = server.buckets("org/ds/layers/v", bucket(0, 0, 0), bucket(4096, 0, 0), bucket(0, 32, 32))
    assert sha(answer.content) == "d4daa02516e48622"
    assert answer.headers["Empty-Bucket-Indices"] == "[1]"
    assert answer.headers["Failure-Bucket-Indices"] == "[]"
    assert answer.headers["MISSING-BUCKETS"] == "[1]"
    exposed = answer.headers["Access-Control-Expose-Headers"]
    assert exposed == "Failure-Bucket-Indices, Empty-Bucket-Indices, MISSING-BUCKETS"


def test_empty_batch(server: Server) -> None:
    answer = server.buckets("org/ds/layers/v")
    assert (answer.status_code, answer.content) == (200, b"")
    for header in ("Empty-Bucket-Indices", "Failure-Bucket-Indices", "MISSING-BUCKETS"):
        assert answer.headers[header] == "[]"


def test_unknown_mag_is_empty(server: Server) -> None:
    """F24."""
    answer = server.buckets("org/ds/layers/v", bucket(0, 0, 0, mag=(3, 3, 3)))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Empty-Bucket-Indices"] == "[0]"


def test_cutout_of_an_unknown_mag_is_empty(server: Server) -> None:
    answer = server.get("/data/datasets/org/ds/layers/v/data?mag=3-3-3&x=0&y=0&z=0&width=8&height=8&depth=8")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["MISSING-BUCKETS"] == "[0]"


def test_todays_browser_sends_more_members(server: Server) -> None:
    wanted = bucket(0, 0, 0, fourBit=None, applyAgglomerate=None, additionalCoordinates=None, version=3, later=[1])
    assert sha(server.buckets("org/ds/layers/v", wanted).content) == "9c99dc6a18d69d44"


def test_cutout(server: Server) -> None:
    query = "mag=1-1-1&x=5&y=7&z=9&width=10&height=20&depth=30"
    answer = server.get(f"/data/datasets/org/ds/layers/v/data?{query}")
    assert (answer.status_code, len(answer.content), sha(answer.content)) == (200, 6000, "4553bcbb9b7b085c")
    assert answer.headers["MISSING-BUCKETS"] == "[]"


def test_cutout_over_the_edge_is_zero_there(server: Server) -> None:
    query = "mag=2&x=-4&y=0&z=0&width=8&height=2&depth=2"
    body = server.get(f"/data/datasets/org/ds/layers/v/data?{query}").content
    assert body[:8] == bytes([0, 0, 0, 2, 4, 6, 8, 10])
    assert len(body) == 32


def test_half_bytes_need_pairs_of_voxels(server: Server) -> None:
    query = "mag=1&x=16&y=0&z=0&height=1&depth=3&halfByte=true"
    pairs = server.get(f"/data/datasets/org/ds/layers/v/data?{query}&width=2")
    assert pairs.content == bytes([0x11, 0x11, 0x11])  # 16, 17; 23, 24; 30, 31
    odd = server.get(f"/data/datasets/org/ds/layers/v/data?{query}&width=3")
    assert odd.status_code == 400
    assert odd.json()["messages"][0]["error"] == "width, with halfByte: expected an even number, got 3"


@pytest.mark.parametrize("prefix", ["/data", *(f"/data/v{n}" for n in range(10, 17))])
def test_every_version_and_both_addressings(server: Server, prefix: str) -> None:
    dataset_id = hashlib.sha256(b"org/ds").hexdigest()[:24]
    for dataset in ("org/ds", dataset_id):
        answer = server.post(f"{prefix}/datasets/{dataset}/layers/v/data", json=[bucket(32, 0, 0)])
        assert sha(answer.content) == "0b157aa641bae9c6"
    assert server.get(f"{prefix}/health").text == "Ok"


@pytest.mark.parametrize("version", range(5, 10))
def test_old_versions_know_names_alone(server: Server, version: int) -> None:
    answer = server.post(f"/data/v{version}/datasets/org/ds/layers/v/data", json=[bucket(32, 0, 0)])
    assert sha(answer.content) == "0b157aa641bae9c6"
    dataset_id = hashlib.sha256(b"org/ds").hexdigest()[:24]
    assert server.get(f"/data/v{version}/datasets/{dataset_id}").status_code == 404


def test_unsupported_version(server: Server) -> None:
    answer = server.get("/data/v3/health")
    assert answer.status_code == 404
    assert "version" in answer.json()["messages"][0]["error"]


def test_preflight(server: Server) -> None:
    import requests

    asked = {
        "Origin": "https://wk.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = requests.options(f"{server.base}/data/datasets/x/layers/y/data", headers=asked, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Max-Age"] == "600"


@pytest.mark.parametrize("path", ["org/ds/layers/nope", "org/none/layers/v", "0123456789abcdef01234567/layers/v"])
def test_unknown_names_are_404(server: Server, path: str) -> None:
    answer = server.buckets(path, bucket(0, 0, 0))
    assert answer.status_code == 404
    assert answer.json()["messages"][0]["error"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[",
        b"[1]",
        b'[{"position":[0,0],"mag":[1,1,1],"cubeSize":32}]',
        b'[{"position":[0,0,0.5],"mag":[1,1,1],"cubeSize":32}]',
        b'[{"position":[0,0,0],"mag":[0,1,1],"cubeSize":32}]',
        b'[{"position":[0,0,0],"mag":[1,1,1],"cubeSize":513}]',
        b'[{"position":[0,0,0],"mag":[1,1,1],"cubeSize":true}]',
        b'[{"position":[0,0,0],"mag":[1,1,1],"cubeSize":31,"fourBit":true}]',
        b'[{"position":[99999999999,0,0],"mag":[1,1,1],"cubeSize":32}]',
    ],
)
def test_bad_bodies_are_400_and_say_where(server: Server, body: bytes) -> None:
    answer = server.post("/data/datasets/org/ds/layers/v/data", data=body)
    assert answer.status_code == 400
    text = answer.json()["messages"][0]["error"]
    assert "expected" in text or "line" in text
    assert "Traceback" not in answer.text


def test_too_many_buckets(server: Server) -> None:
    """F27."""
    answer = server.buckets("org/ds/layers/v", *[bucket(0, 0, 0)] * 4097)
    assert answer.status_code == 413
    assert "4096" in answer.json()["messages"][0]["error"]


def test_build_info(server: Server) -> None:
    info = server.get("/api/buildinfo").json()
    assert info["webknossosDatastore"]["datastoreApiVersion"] == "2.0"


def test_data_source(server: Server) -> None:
    answer = server.get("/data/datasets/org/ds").json()
    source = answer["dataSource"]
    assert source["id"] == {"team": "org", "name": "ds"}
    assert source["scale"] == {"factor": [1, 1, 1], "unit": "nanometer"}
    layers = {layer["name"]: layer for layer in source["dataLayers"]}
    assert {name: layer["elementClass"] for name, layer in layers.items()} == {
        "v": "uint8",
        "s": "uint64",
        "rgb": "uint24",
    }
    assert layers["v"]["boundingBox"] == {"topLeft": [0, 0, 0], "width": 64, "height": 64, "depth": 64}
    assert [mag["mag"] for mag in layers["v"]["mags"]] == [[1, 1, 1], [2, 2, 2]]
    assert (layers["s"]["category"], layers["s"]["mappings"]) == ("segmentation", [])
