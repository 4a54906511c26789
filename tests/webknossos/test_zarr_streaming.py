"""Datasets streamed as zarr 2 and 3: what zarr-python and TensorStore read of them, and what the server answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pytest
import requests
import tensorstore as ts
import zarr
from ome_zarr_models import v04, v05
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Box, Vec3, divide_up, mag_text
from wkdvid.testing.faulty import FileServer, none, on

DATASET_ID = hashlib.sha256(b"lab/ds").hexdigest()[:24]
TREES: Mapping[str, Literal[2, 3]] = {
    f"/data/v14/zarr/{DATASET_ID}": 2,
    f"/data/v15/zarr/{DATASET_ID}": 3,
    f"/data/v14/zarr3_experimental/{DATASET_ID}": 3,
    f"/data/zarr/{DATASET_ID}": 3,
    "/data/v9/zarr/lab/ds": 2,
}
BOX = Box((3, 5, 1), (101, 72, 34))
"""Odd, and moved; H18 of the protocol's vectors."""
MAGS: tuple[Vec3, ...] = ((1, 1, 1), (2, 2, 1), (4, 4, 2))
TYPES: Mapping[str, tuple[str, int]] = {
    "grey": ("uint8", 1),
    "deep": ("uint16", 1),
    "signed": ("int16", 1),
    "field": ("float32", 1),
    "rgb": ("uint8", 3),
    "cells": ("uint64", 1),
}
LARGEST = 2**63
CHUNKS = "*_*_*"


def made_up(name: str, mag: Vec3) -> Voxels:
    """(x, y, z, c) of a stored level, with a hole of whole chunks that are never written."""
    dtype, channels = TYPES[name]
    random = np.random.default_rng([sum(map(ord, name)), *mag])
    shape = (*BOX.scaled_down(mag).size, channels)
    voxels: Voxels = random.integers(1, 2**7 - 1, shape).astype(dtype)
    if name == "cells":
        voxels += np.uint64(LARGEST)
    voxels[64:] = 0
    return voxels


LEVELS = {name: {mag: made_up(name, mag) for mag in MAGS} for name in TYPES}


def expected(name: str, mag: Vec3) -> Voxels:
    """(c, x, y, z) of the streamed array: from the origin to the end of the box."""
    level = BOX.scaled_down(mag)
    out = np.zeros((TYPES[name][1], *divide_up(BOX.stop, mag)), TYPES[name][0])
    x, y, z = (slice(a, b) for a, b in zip(level.start, level.stop, strict=True))
    out[:, x, y, z] = LEVELS[name][mag].transpose(3, 0, 1, 2)
    return out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("zarr")
    for name, levels in LEVELS.items():
        write_precomputed(
            folder / name,
            list(levels.items()),
            voxel_size_nm=(4, 4, 8.5),
            offsets=[BOX.scaled_down(mag).start for mag in levels],
            kind="segmentation" if name == "cells" else "image",
        )
    layers = {name: {"source": name} for name in LEVELS}
    hidden = {"layers": {"grey": {"source": "grey"}}, "public": False}
    datasets = {"precomputed": {"lab": {"ds": {"layers": layers}, "hidden": hidden}}}
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "t"}
    with running(folder, datasets, environ=environ) as started:
        yield started
    assert "Traceback" not in (folder / "server.log").read_text()


class Remote(Store):
    """A tree on a web server as zarr-python reads it: 404 is absent, any other failure is one."""

    supports_writes = supports_deletes = supports_listing = False

    def __init__(self, url: str) -> None:
        super().__init__(read_only=True)
        self._url = url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        headers = {}
        if isinstance(byte_range, RangeByteRequest):
            headers["Range"] = f"bytes={byte_range.start}-{byte_range.end - 1}"
        answer = await asyncio.to_thread(requests.get, f"{self._url}/{key}", headers=headers, timeout=60)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return prototype.buffer.from_bytes(answer.content)

    async def exists(self, key: str) -> bool:
        answer = await asyncio.to_thread(requests.head, f"{self._url}/{key}", timeout=60)
        return answer.status_code == 200

    async def get_partial_values(self, *args: Any) -> Any:
        raise NotImplementedError

    async def set(self, *args: Any) -> None:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError

    def list(self) -> Any:
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> Any:
        raise NotImplementedError

    def list_dir(self, prefix: str) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("name", TYPES)
def test_zarr_python_reads_every_mag(server: Server, tree: str, name: str) -> None:
    group = zarr.open_group(Remote(server.base + tree), mode="r", zarr_format=TREES[tree], path=name)
    attributes: Any = group.attrs.asdict()
    (image,) = attributes["ome"]["multiscales"] if TREES[tree] == 3 else attributes["multiscales"]
    assert [dataset["path"] for dataset in image["datasets"][:3]] == ["1", "2-2-1", "4-4-2"]
    for mag in MAGS:
        array = group[mag_text(mag)]
        assert isinstance(array, zarr.Array)
        wanted = expected(name, mag)
        assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_array_equal(array[:], wanted)


@pytest.mark.parametrize(("driver", "tree"), [("zarr", "v14/zarr"), ("zarr3", "v15/zarr")])
def test_tensorstore_reads_all_mags_offered(server: Server, driver: str, tree: str) -> None:
    for name in TYPES:
        source = server.get(f"/data/datasets/lab/ds/layers/{name}/findData").json()
        assert source["mag"] == [1, 1, 1]
        for mag in [*MAGS, (8, 8, 4)]:
            path = f"{server.base}/data/{tree}/{DATASET_ID}/{name}/{mag_text(mag)}/"
            store = ts.open({"driver": driver, "kvstore": {"driver": "http", "base_url": path}}).result()
            found = store.read().result()
            if mag in MAGS:
                np.testing.assert_array_equal(found, expected(name, mag))
            else:
                x, y, z = found.shape[1:]
                query = f"x=0&y=0&z=0&width={x}&height={y}&depth={z}&mag={mag_text(mag)}"
                body = server.get(f"/data/datasets/lab/ds/layers/{name}/data?{query}").content
                assert found.tobytes("F") == body
                assert any(body)


@pytest.mark.parametrize("tree", TREES)
def test_ngff_metadata_is_valid(server: Server, tree: str) -> None:
    """As the models of the NGFF community have it."""
    for name in TYPES:
        if TREES[tree] == 2:
            image: Any = v04.image.ImageAttrs.model_validate(server.get(f"{tree}/{name}/.zattrs").json())
        else:
            attributes = server.get(f"{tree}/{name}/zarr.json").json()["attributes"]
            image = v05.image.ImageAttrs.model_validate(attributes["ome"])
        assert [axis.name for axis in image.multiscales[0].axes] == ["c", "x", "y", "z"]


def test_metadata_agrees_with_the_specification(server: Server) -> None:
    array = server.get(f"/data/v14/zarr/{DATASET_ID}/grey/2-2-1/.zarray").json()
    assert array["shape"] == [1, 51, 36, 34], "rounded up, or the last plane were lost"
    assert (array["chunks"], array["dtype"], array["order"]) == ([1, 32, 32, 32], "|u1", "F")
    assert server.get(f"/data/v14/zarr/{DATASET_ID}/rgb/1/.zarray").json()["chunks"] == [3, 32, 32, 32]
    for tree, zarr_format in TREES.items():
        name = ".zattrs" if zarr_format == 2 else "zarr.json"
        document = server.get(f"{tree}/grey/{name}").json()
        image = (document if zarr_format == 2 else document["attributes"]["ome"])["multiscales"][0]
        assert [axis["name"] for axis in image["axes"]] == ["c", "x", "y", "z"]
        scales = [dataset["coordinateTransformations"][0]["scale"] for dataset in image["datasets"]]
        assert scales[:3] == [[1, 4, 4, 8.5], [1, 8, 8, 8.5], [1, 16, 16, 17]]
        group = server.get(f"{tree}/{'.zgroup' if zarr_format == 2 else 'zarr.json'}").json()
        assert group["zarr_format"] == zarr_format


@pytest.mark.parametrize("tree", TREES)
def test_the_properties_agree_with_the_tree(server: Server, tree: str) -> None:
    source = server.get(f"{tree}/datasource-properties.json").json()
    assert source["scale"] == {"factor": [4, 4, 8.5], "unit": "nanometer"}
    for layer in source["dataLayers"]:
        assert layer["dataFormat"] == ("zarr" if TREES[tree] == 2 else "zarr3")
        box = layer["boundingBox"]
        stop = tuple(a + box[side] for a, side in zip(box["topLeft"], ("width", "height", "depth"), strict=True))
        for mag in layer["mags"]:
            assert mag["axisOrder"] == {"c": 0, "x": 1, "y": 2, "z": 3}
            metadata = ".zarray" if TREES[tree] == 2 else "zarr.json"
            shape = server.get(f"{tree}/{mag['path'].removeprefix('./')}/{metadata}").json()["shape"]
            assert shape == [layer["numChannels"], *divide_up(stop, tuple(mag["mag"]))]


def test_folders_are_listed(server: Server) -> None:
    for tree in TREES:
        for path, entry in (("", "grey/"), ("/", "cells/"), ("/grey", "2-2-1/"), ("/grey/", "1/")):
            answer = server.get(f"{tree}{path}")
            assert answer.headers["Content-Type"].startswith("text/html")
            assert f'<a href="{entry}">' in answer.text
        assert server.get(f"{tree}/grey/1/").status_code == 200


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize(
    "path",
    [
        "no/1/0.0.0.0",
        "grey/3/0.0.0.0",
        "grey/:mag/.zattrs",
        "grey/1/.zattrs",
        "grey/1/1.0.0.0",
        "grey/1/0.4.0.0",
        "grey/1/0.-1.0.0",
        "grey/1/0.00.0.0",
        "grey/1/0.0.0",
        "grey/1/0.0.0.0/x",
        "grey/1/0.99999999999.0.0",
        "grey//0.0.0.0",
        "other.json",
        "grey/../grey/1/0.0.0.0x",
    ],
)
def test_what_is_not_there_is_404(server: Server, tree: str, path: str) -> None:
    answer = server.get(f"{tree}/{path}")
    assert answer.status_code == 404
    assert answer.json()["messages"][0]["error"]


def test_the_wrong_metadata_is_404(server: Server) -> None:
    for tree, zarr_format in TREES.items():
        names = ["grey/zarr.json", "grey/1/zarr.json"] if zarr_format == 2 else ["grey/.zattrs", "grey/1/.zarray"]
        assert {server.get(f"{tree}/{name}").status_code for name in names} == {404}


def test_parts_and_heads(server: Server) -> None:
    url = f"{server.base}/data/v15/zarr/{DATASET_ID}/grey/1/0.1.1.0"
    whole = requests.get(url, timeout=60)
    assert (len(whole.content), whole.headers["Accept-Ranges"]) == (32768, "bytes")
    for asked, part, told in (
        ("bytes=10-19", slice(10, 20), "bytes 10-19/32768"),
        ("bytes=32760-", slice(32760, None), "bytes 32760-32767/32768"),
        ("bytes=32760-99999", slice(32760, None), "bytes 32760-32767/32768"),
        ("bytes=-100", slice(-100, None), "bytes 32668-32767/32768"),
        ("bytes=-99999", slice(None), "bytes 0-32767/32768"),
    ):
        answer = requests.get(url, headers={"Range": asked}, timeout=60)
        assert (answer.status_code, answer.headers["Content-Range"]) == (206, told)
        assert answer.content == whole.content[part]
    for asked in ("bytes=32768-", "bytes=-0"):
        answer = requests.get(url, headers={"Range": asked}, timeout=60)
        assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */32768")
    for asked in ("bytes=5-1", "bytes=0-1,5-6", "lines=1-2", "bytes=x"):
        assert requests.get(url, headers={"Range": asked}, timeout=60).content == whole.content
    head = requests.head(f"{server.base}/data/v15/zarr/{DATASET_ID}/datasource-properties.json", timeout=60)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) > 100


def test_names_may_be_percent_encoded(server: Server) -> None:
    """As those with a space have to be."""
    plain = server.get("/data/v15/zarr/lab/ds/grey/2-2-1/zarr.json")
    encoded = server.get("/data/v15/zarr/l%61b/d%73/gre%79/2%2D2-1/zarr.json")
    assert (encoded.status_code, encoded.content) == (200, plain.content)
    assert server.get("/data/v15/zarr/lab%2Fds/grey/2-2-1/zarr.json").status_code == 404


def test_hidden_datasets_are_not_found(server: Server) -> None:
    hidden = hashlib.sha256(b"lab/hidden").hexdigest()[:24]
    for name in (f"v15/zarr/{hidden}", "v15/zarr/lab/hidden"):
        for path in ("", "/datasource-properties.json", "/grey/zarr.json", "/grey/1/0.0.0.0"):
            assert server.get(f"/data/{name}{path}").status_code == 404
            assert server.get(f"/data/{name}{path}", headers={"X-Auth-Token": "t"}).status_code == 200


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, FileServer]]:
    folder = tmp_path_factory.mktemp("failing")
    write_precomputed(folder / "web" / "v", [((1, 1, 1), np.ones((64, 64, 64), np.uint8))])
    with FileServer(folder / "web") as source:
        datasets = {"precomputed": {"lab": {"ds": {"layers": {"v": {"source": f"{source.url}v"}}}}}}
        with running(folder, datasets, environ={"WKDVID_SOURCES__HTTP_HOSTS": source.host}) as server:
            yield server, source


@pytest.mark.parametrize("status", [500, 503, 403])
def test_what_failed_is_never_absent_nor_kept(failing: tuple[Server, FileServer], status: int) -> None:
    """A reader takes 404 for data that was never written, and paints it black."""
    server, source = failing
    path = f"/data/v15/zarr/{DATASET_ID}/v/1/0.0.0.{0 if status == 500 else 1}"
    server.post("/data/triggers/checkInboxBlocking")
    source.fault = on(CHUNKS, status)
    answer = server.get(path)
    assert answer.status_code == (502 if status == 403 else 503)
    assert answer.json()["messages"][0]["error"]
    source.fault = none
    assert server.get(path).content == bytes([1]) * 32768


def test_absent_chunks_are_zeros(failing: tuple[Server, FileServer]) -> None:
    server, source = failing
    server.post("/data/triggers/checkInboxBlocking")
    source.fault = on(CHUNKS, 404)
    answer = server.get(f"/data/v15/zarr/{DATASET_ID}/v/1/0.1.0.0")
    source.fault = none
    assert (answer.status_code, answer.content) == (200, bytes(32768))


def test_large_ids_have_an_envelope_since_version_15(tmp_path_factory: pytest.TempPathFactory) -> None:
    """N5 says ``maxId``; a client before version 15 cannot read the envelope."""
    folder = tmp_path_factory.mktemp("ids")
    for name, largest in (("huge", LARGEST), ("safe", 2**53 - 1)):
        spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/{name}/s0/"}}
        metadata = {
            "dimensions": [8, 8, 8],
            "blockSize": [8, 8, 8],
            "dataType": "uint64",
            "compression": {"type": "raw"},
        }
        ts.open({**spec, "metadata": metadata}, create=True, open=True).result()[...] = 1
        (folder / name / "attributes.json").write_text(json.dumps({"maxId": largest}))
    layers = {name: {"source": name, "type": "segmentation"} for name in ("huge", "safe")}
    with running(folder, {"n5": {"lab": {"ds": {"layers": layers}}}}) as server:
        for version, envelope in ((14, None), (15, {"customJsonEncoding": "bigint", "value": str(LARGEST)})):
            for path in (f"zarr/{DATASET_ID}/datasource-properties.json", "zarr/lab/ds/datasource-properties.json"):
                huge, safe = server.get(f"/data/v{version}/{path}").json()["dataLayers"]
                assert huge.get("largestSegmentId") == envelope
                assert safe["largestSegmentId"] == 2**53 - 1
