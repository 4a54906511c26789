"""PROXY_PATH: the stored files of layers, read by TensorStore in their own formats through the server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorstore as ts
import zarr

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Vec3

PROXY = f"/data/v15/datasets/{hashlib.sha256(b'lab/ds').hexdigest()[:24]}/proxy"
BY_NAME = "/data/v9/datasets/lab/ds/proxy"
MAG1, MAG2 = (1, 1, 1), (2, 2, 1)
OFFSET = (-5, 70, 3)
RANDOM = np.random.default_rng(7)
FINE: Voxels = RANDOM.integers(1, 2**63, (90, 70, 40), np.uint64)
LEVELS: Mapping[Vec3, Voxels] = {MAG1: FINE, MAG2: FINE[::2, ::2] + np.uint64(1)}
"""(x, y, z); the coarser one tells that it is read."""
DRIVERS = {"zarr": "zarr", "zarr3": "zarr3", "n5": "n5", "neuroglancerPrecomputed": "neuroglancer_precomputed"}


def write_zarr(folder: Path, zarr_format: int, *, shards: tuple[int, ...] | None = None) -> None:
    """OME-Zarr, axes zyx."""
    scales = [[30.0, 10.0, 10.0], [30.0, 20.0, 20.0]]
    multiscale = {
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"],
        "datasets": [
            {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            for i, scale in enumerate(scales)
        ],
    }
    image = {"multiscales": [{"version": "0.4", **multiscale}]}
    attributes = image if zarr_format == 2 else {"ome": {"version": "0.5", **image}}
    group = zarr.open_group(str(folder), mode="w", zarr_format=zarr_format, attributes=attributes)  # type: ignore[arg-type]
    for i, voxels in enumerate(LEVELS.values()):
        array = group.create_array(str(i), shape=voxels.shape[::-1], dtype="uint64", chunks=(16, 16, 16), shards=shards)
        array[...] = voxels.T


def write_n5(folder: Path) -> None:
    for i, (mag, voxels) in enumerate(LEVELS.items()):
        metadata = {
            "dimensions": list(voxels.shape),
            "blockSize": [32, 32, 32],
            "dataType": "uint64",
            "compression": {"type": "gzip"},
            "downsamplingFactors": mag,
        }
        spec = {"driver": "n5", "kvstore": f"file://{folder}/s{i}/", "metadata": metadata}
        ts.open(spec, create=True, open=True).result()[...] = voxels


def write_sharded(folder: Path) -> None:
    for mag, voxels in LEVELS.items():
        scale = {
            "size": list(voxels.shape),
            "resolution": [10 * mag[0], 10 * mag[1], 30 * mag[2]],
            "chunk_size": [16, 16, 16],
            "encoding": "raw",
            "sharding": {
                "@type": "neuroglancer_uint64_sharded_v1",
                "preshift_bits": 2,
                "hash": "identity",
                "minishard_bits": 1,
                "shard_bits": 2,
                "minishard_index_encoding": "gzip",
                "data_encoding": "gzip",
            },
        }
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": f"file://{folder}/",
            "multiscale_metadata": {"type": "segmentation", "data_type": "uint64", "num_channels": 1},
            "scale_metadata": scale,
        }
        ts.open(spec, create=True, open=True).result()[...] = voxels[..., None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "secret").write_text("secret")
    offsets = [OFFSET, (-3, 35, 3)]
    write_precomputed(folder / "plain", list(LEVELS.items()), voxel_size_nm=(10, 10, 30), offsets=offsets)
    write_sharded(folder / "sharded")
    write_zarr(folder / "zarr2", 2)
    write_zarr(folder / "zarr3", 3, shards=(32, 48, 64))
    write_n5(folder / "n5")
    rgb = np.stack([FINE.astype(np.uint8)] * 3, axis=-1)
    write_precomputed(folder / "rgb", [(MAG1, rgb)], voxel_size_nm=(10, 10, 30))
    two = np.stack([FINE.astype(np.uint8)] * 2, axis=-1)
    write_precomputed(folder / "two", [(MAG1, two)], voxel_size_nm=(10, 10, 30))
    (folder / "zarr2" / "0" / "9").symlink_to("/etc/hostname")
    layers: dict[str, Any] = {name: {"source": name, "type": "segmentation"} for name in ("plain", "sharded")}
    layers |= {name: {"source": name} for name in ("rgb", "two")}
    layers |= {name: {"source": name, "backend": "zarr", "type": "segmentation"} for name in ("zarr2", "zarr3")}
    layers["n5"] = {"source": "n5", "backend": "n5", "type": "segmentation", "voxel_size": [10, 10, 30]}
    hidden = {"layers": {"v": {"source": "plain"}}, "public": False}
    datasets = {"precomputed": {"lab": {"ds": {"layers": layers}, "hidden": hidden}}}
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "t"}
    with running(folder, datasets, environ=environ) as started:
        yield started
    assert "Traceback" not in (folder / "server.log").read_text()


def described(server: Server, proxy: str = PROXY) -> dict[str, dict[str, Any]]:
    source = server.get(f"{proxy}/datasource-properties.json").json()
    return {layer["name"]: layer for layer in source["dataLayers"]}


def open_array(base: str, data_format: str, path: str) -> ts.TensorStore:
    """As the ``webknossos`` package opens it: of precomputed the folder above, with the last name as the key."""
    spec: dict[str, Any] = {"driver": DRIVERS[data_format]}
    if data_format == "neuroglancerPrecomputed":
        path, _, key = path.rpartition("/")
        spec["scale_metadata"] = {"key": key}
    kvstore = {"driver": "http", "base_url": f"{base}/{path.removeprefix('./')}/"}
    return ts.open({**spec, "kvstore": kvstore}).result()


@pytest.mark.parametrize("proxy", [PROXY, BY_NAME])
@pytest.mark.parametrize("name", ["plain", "sharded", "zarr2", "zarr3", "n5"])
def test_readers_of_the_format_get_every_voxel(server: Server, proxy: str, name: str) -> None:
    layer = described(server, proxy)[name]
    assert [tuple(mag["mag"]) for mag in layer["mags"]] == list(LEVELS)
    for mag, wanted in zip(layer["mags"], LEVELS.values(), strict=True):
        array = open_array(server.base + proxy, layer["dataFormat"], mag["path"])
        found = array.read().result()
        if layer["dataFormat"] == "neuroglancerPrecomputed":
            found = found[..., 0]
        else:
            order = mag["axisOrder"]
            found = found.transpose([order[axis] for axis in "xyz"])
        np.testing.assert_array_equal(found, wanted)


def test_formats_are_named(server: Server) -> None:
    formats = {name: layer["dataFormat"] for name, layer in described(server).items()}
    assert formats["plain"] == formats["sharded"] == "neuroglancerPrecomputed"
    assert [formats[name] for name in ("zarr2", "zarr3", "n5")] == ["zarr", "zarr3", "n5"]
    assert len(described(server)["rgb"]["mags"]) == 1


def test_layers_that_are_a_part_of_their_array_have_no_files(server: Server) -> None:
    """A client would read both channels where the layer has one."""
    layer = described(server)["two_c0"]
    assert layer["mags"] == []
    assert server.get(f"{PROXY}/layers/two_c0/mags/1/info").status_code == 404


def test_parts_of_files(server: Server) -> None:
    shard = next((server.data_dir / "zarr3" / "0" / "c" / "0" / "0").iterdir())
    whole = shard.read_bytes()
    url = f"{server.base}{PROXY}/layers/zarr3/mags/1/c/0/0/{shard.name}"
    answer = requests.get(url, timeout=60)
    assert (answer.content, answer.headers["Accept-Ranges"]) == (whole, "bytes")
    size = len(whole)
    for asked, part, told in (
        ("bytes=0-99", slice(0, 100), "bytes 0-99/*"),
        ("bytes=-132", slice(-132, None), f"bytes {size - 132}-{size - 1}/{size}"),
        ("bytes=1000-", slice(1000, None), f"bytes 1000-{size - 1}/{size}"),
        (f"bytes=10-{size + 5}", slice(10, None), f"bytes 10-{size - 1}/{size}"),
        (f"bytes=-{size + 5}", slice(None), f"bytes 0-{size - 1}/{size}"),
    ):
        answer = requests.get(url, headers={"Range": asked}, timeout=60)
        assert (answer.status_code, answer.headers["Content-Range"]) == (206, told)
        assert answer.content == whole[part]
    answer = requests.get(url, headers={"Range": f"bytes={size}-"}, timeout=60)
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    huge = requests.get(url, headers={"Range": "bytes=0-999999999999"}, timeout=60)
    assert huge.status_code == 413
    head = requests.head(url, timeout=60)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(size))


@pytest.mark.parametrize(
    "path",
    [
        "layers/zarr2/mags/1/../../secret",
        "layers/zarr2/mags/1/..%2f..%2fsecret",
        "layers/zarr2/mags/1/%2e%2e/%2e%2e/secret",
        "layers/zarr2/mags/1/%252e%252e/secret",
        "layers/zarr2/mags/1//etc/hostname",
        "layers/zarr2/mags/1/9",  # a link that leads out of the data directory
        "layers/zarr2/mags/1/9.9.9",
        "layers/zarr2/mags/1/",
        "layers/zarr2/mags/1/zarr.json",
        "layers/plain/mags/1/provenance",
        "layers/plain/mags/1/2-2-1/0-45_0-35_0-40",
        "layers/plain/mags/1-1-1/1-1-1/../../secret",
        "layers/n5/mags/1/attributes.json/x",
        "layers/n5/mags/4/attributes.json",
        "layers/n5/mags/x/attributes.json",
        "layers/no/mags/1/info",
        "layers/plain/attachments/meshes/mesh/info",
    ],
)
def test_nothing_else_is_handed_out(server: Server, path: str) -> None:
    prepared = requests.Request("GET", server.base).prepare()
    prepared.url = f"{server.base}{PROXY}/{path}"  # as it is: requests would take the dots away
    with requests.Session() as session:
        answer = session.send(prepared, timeout=60)
    assert answer.status_code == 404, answer.text
    assert "secret" not in answer.json().get("body", "")
    assert os.uname().nodename not in answer.text


def test_hidden_datasets_are_not_found(server: Server) -> None:
    hidden = f"/data/v15/datasets/{hashlib.sha256(b'lab/hidden').hexdigest()[:24]}/proxy"
    for path in ("datasource-properties.json", "layers/v/mags/1/info"):
        assert server.get(f"{hidden}/{path}").status_code == 404
        assert server.get(f"{hidden}/{path}?token=t").status_code == 200
