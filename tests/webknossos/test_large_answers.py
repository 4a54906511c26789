"""A gigabyte in one answer: exact, and never in memory as a whole; and stored files that are in buckets of a cloud."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorstore as ts

from tests.backends.s3 import s3_server
from tests.servers import Server, running
from tests.soak.processes import processes
from tests.volumes import Voxels, write_precomputed
from wkdvid.testing.faulty import FileServer

SIDE = 512
GIB = 1 << 30
MIB = 1 << 20
ALLOWED = 384 * MIB
"""What the largest process may grow by: some slabs on their way, and what decoding them takes."""
FIRST = 2**40


GREY: Voxels = np.random.default_rng(4).integers(0, 255, (100, 80, 60), np.uint8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``v`` on disk, and ``em`` in a bucket of Amazon's and in one of Google's."""
    folder = tmp_path_factory.mktemp("large")
    write_planes(folder / "v")
    objects = folder / "gcs/storage/v1/b/bucket/o"  # so Google's JSON API addresses them
    write_precomputed(objects / "data/em", [((1, 1, 1), GREY)])
    (objects / "data/secret").write_bytes(b"secret")
    layers = {"v": {"source": "v", "type": "segmentation", "voxel_size": [1, 1, 1], "backend": "zarr"}}
    remote = {scheme: {"layers": {"em": {"source": f"{scheme}://bucket/data/em"}}} for scheme in ("s3", "gs")}
    datasets = {"precomputed": {"lab": {"large": {"layers": layers}, **remote}}}
    with s3_server() as (endpoint, client), FileServer(folder / "gcs") as google:
        client.create_bucket(Bucket="bucket")
        for file in filter(Path.is_file, objects.rglob("*")):
            client.put_object(Bucket="bucket", Key=str(file.relative_to(objects)), Body=file.read_bytes())
        environ = {
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_AUTH_TOKEN_FOR_TESTING"), "test"),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "TENSORSTORE_GCS_HTTP_URL": google.url.rstrip("/"),
            "WKDVID_SOURCES__CACHE_BYTES": "64MiB",
        }
        with running(folder, datasets, environ=environ) as started:
            yield started


def write_planes(folder: Path) -> None:
    """512^3 of uint64, compressed to almost nothing: each plane across z has one value."""
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "metadata": {
            "shape": [SIDE] * 3,
            "data_type": "uint64",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [16, 128, 128]}},
            "codecs": [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1}}],
            "dimension_names": ["z", "y", "x"],
        },
    }
    array = ts.open(spec, create=True).result()
    for z in range(0, SIDE, 16):
        values = np.arange(FIRST + z, FIRST + z + 16, dtype=np.uint64)
        array[z : z + 16].write(np.broadcast_to(values[:, None, None], (16, SIDE, SIDE))).result()


def dataset_id(name: str) -> str:
    return hashlib.sha256(f"lab/{name}".encode()).hexdigest()[:24]


def peak_bytes(server: Server) -> int:
    """The most that any of its processes has had resident since ``forget_peaks``."""
    statuses = [Path(f"/proc/{process}/status").read_text() for process in processes(server)]
    return max(int(text.partition("VmHWM:")[2].split()[0]) * 1024 for text in statuses if "VmHWM:" in text)


def forget_peaks(server: Server) -> None:
    for process in processes(server):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def test_a_gibibyte_is_streamed_in_slabs(server: Server) -> None:
    query = f"x=0&y=0&z=0&width={SIDE}&height={SIDE}&depth={SIDE}&mag=1"
    url = f"{server.base}/data/v15/datasets/{dataset_id('large')}/layers/v/data?"
    small = requests.get(url + query.replace(str(SIDE), "64"), timeout=60)
    assert len(small.content) == 64**3 * 8
    forget_peaks(server)
    before = peak_bytes(server)
    received = 0
    plane = bytearray()
    with requests.get(url + query, stream=True, timeout=60) as answer:
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(GIB))
        assert answer.headers["MISSING-BUCKETS"] == "[]"
        for part in answer.iter_content(8 * MIB):
            plane += part
            while len(plane) >= SIDE * SIDE * 8:
                values = np.frombuffer(bytes(plane[: SIDE * SIDE * 8]), np.uint64)
                del plane[: SIDE * SIDE * 8]
                assert values[0] == FIRST + received
                assert (values == values[0]).all()
                received += 1
    assert (received, len(plane)) == (SIDE, 0)
    assert peak_bytes(server) - before < ALLOWED


@pytest.mark.parametrize("cloud", ["s3", "gs"])
def test_stored_files_of_buckets_are_handed_on(server: Server, cloud: str) -> None:
    """In the mode PROXY_PATH of the Python client."""
    proxy = f"{server.base}/data/v15/datasets/{dataset_id(cloud)}/proxy"
    (layer,) = requests.get(f"{proxy}/datasource-properties.json", timeout=60).json()["dataLayers"]
    path = layer["mags"][0]["path"].removeprefix("./").removesuffix("/1-1-1")
    kvstore: dict[str, Any] = {"driver": "http", "base_url": f"{proxy}/{path}/"}
    array = ts.open({"driver": "neuroglancer_precomputed", "kvstore": kvstore}).result().read().result()
    np.testing.assert_array_equal(array[..., 0], GREY)
    chunk = f"{proxy}/{path}/1-1-1/0-64_0-64_0-60"
    whole = requests.get(chunk, timeout=60).content
    part = requests.get(chunk, headers={"Range": "bytes=-100"}, timeout=60)
    assert (part.status_code, part.content) == (206, whole[-100:])
    assert part.headers["Content-Range"] == f"bytes {len(whole) - 100}-{len(whole) - 1}/{len(whole)}"
    with requests.Session() as session:
        for other in ("1-1-1/1000-1064_0-64_0-60", "..%2fsecret", "../secret", "secret"):
            prepared = requests.Request("GET", server.base).prepare()
            prepared.url = f"{proxy}/{path}/{other}"  # as it is: requests would take the dots away
            assert session.send(prepared, timeout=60).status_code == 404, other
