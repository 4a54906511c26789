"""The real ``webknossos`` package, a stand-in for the main server, and wkdvid: datasets are found, read and downloaded.

The package wants other versions of what we use, so it runs in an interpreter of its own (scripts/webknossos-client).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.mesh_files import add_to_info, closed, in_order, read_by_cloud_volume, read_stl, write_multi_lod
from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Vec3
from wkdvid.sample import SAMPLE_ENTRY, write_sample
from wkdvid.testing.webknossos import MainServer

ROOT = Path(__file__).parent.parent.parent
MODES = ("ZARR_STREAMING", "PROXY_PATH", "DIRECT_PATH")
API_RANGES = [range(13, newest + 1) for newest in range(13, 17)]
STORED: tuple[Vec3, ...] = ((1, 1, 1), (2, 2, 1))
OFFSETS: Mapping[str, Vec3] = {"deep": (6, 8, 3)}
"""Of the layers whose volume does not begin at the origin."""
VOXEL = (10, 10, 20)
SEGMENT = 2**60 + 7
"""That has a stored mesh; its id is one that JavaScript does not hold."""
BOX = ((8, 4, 2), (40, 36, 33))
"""Top left and size, in voxels of mag 1."""


class Package:
    """An interpreter that has the package."""

    def __init__(self) -> None:
        python = Path(os.environ.get("WEBKNOSSOS_PYTHON", ROOT / ".venv-webknossos" / "bin" / "python"))
        assert python.exists(), "these tests need the webknossos package: scripts/webknossos-client installs it"
        self._process = subprocess.Popen(
            [python, Path(__file__).parent / "webknossos_session.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, name: str, **arguments: Any) -> Any:
        """
        Raises:
            RuntimeError: the package failed; with its traceback.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def package() -> Iterator[Package]:
    one = Package()
    yield one
    one.close()


@pytest.fixture(scope="module")
def main() -> Iterator[MainServer]:
    with MainServer() as server:
        server.add_user("alice", reads=["lab/private", "sample/precomputed", "sample/zarr", "sample/n5"])
        server.add_user("boss", is_admin=True)
        server.add_user("link", reads=["lab/private"])
        server.add_user("mallory")
        server.state.public.add("lab/public")
        yield server


@pytest.fixture(scope="module")
def arrays(medulla: Mapping[str, Voxels]) -> Mapping[str, Mapping[Vec3, Voxels]]:
    """(c, x, y, z) by layer and mag; the coarser mag is no mean, so that it shows which was read."""
    grey = medulla["grayscale"]
    finest = {
        "grey": grey[None, :90, :71, :65],
        "deep": grey[None, :70, :60, :50] * np.uint16(257),
        "rgb": np.stack([grey, 255 - grey, grey // 2])[:, :67, :66, :40],
        "seg": medulla["bodies"][None, :66, :50, :40].astype(np.uint64) + np.uint64(2**53),
    }
    return {name: {STORED[0]: array, STORED[1]: array[:, ::2, ::2]} for name, array in finest.items()}


@pytest.fixture(scope="module")
def server(
    main: MainServer, tmp_path_factory: pytest.TempPathFactory, arrays: Mapping[str, Mapping[Vec3, Voxels]]
) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("package")
    for name, levels in arrays.items():
        stored = [(mag, array.transpose(1, 2, 3, 0)) for mag, array in levels.items()]
        kind = "segmentation" if name == "seg" else "image"
        offset = OFFSETS.get(name, (0, 0, 0))
        offsets = [(offset[0] // x, offset[1] // y, offset[2] // z) for x, y, z in STORED]
        write_precomputed(data / name, stored, voxel_size_nm=VOXEL, kind=kind, offsets=offsets)
    write_multi_lod(data / "seg" / "mesh", [SEGMENT], sharded=True)
    add_to_info(data / "seg", mesh="mesh")
    write_sample(data / "sample", 48)
    layers = {"layers": {name: {"source": name} for name in arrays}}
    entries = {
        **SAMPLE_ENTRY,
        "precomputed": {**SAMPLE_ENTRY["precomputed"], "lab": {"private": layers, "public": layers}},
    }
    with running(data, entries, environ=main.environ) as started:
        requests.post(f"{started.base}/data/triggers/checkInboxBlocking?token=boss", timeout=60).raise_for_status()
        yield started


def check_whole(server: Server, folder: Path, dataset: str, found: Mapping[str, Mapping[str, Vec3]]) -> None:
    """Each array that the package has saved, against the same box as raw bytes. One without channels is (x, y, z)."""
    for layer, begins in found.items():
        for name, begin in begins.items():
            voxels = np.load(folder / f"{layer}-{name}.npy")
            mag = [int(n) for n in name.split("-")]
            query = {
                "mag": name,
                **{axis: a * m for axis, a, m in zip("xyz", begin, mag, strict=True)},
                **dict(zip(("width", "height", "depth"), voxels.shape[-3:], strict=True)),
                "token": "boss",
            }
            body = server.get(f"/data/datasets/{dataset}/layers/{layer}/data", params=query)
            assert body.status_code == 200
            assert body.content == voxels.tobytes("F"), (layer, name)


def check_stored(folder: Path, arrays: Mapping[str, Mapping[Vec3, Voxels]]) -> None:
    for name, levels in arrays.items():
        for mag, array in levels.items():
            found = np.load(folder / f"{name}-{'-'.join(map(str, mag))}.npy")
            np.testing.assert_array_equal(found.reshape(array.shape), array)


@pytest.mark.parametrize("api", API_RANGES, ids=lambda api: f"v{api[0]}-v{api[-1]}")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("dataset", "token"), [("private", "alice"), ("public", None)])
def test_every_layer_is_read_whole_in_every_mag(
    main: MainServer,
    server: Server,
    package: Package,
    arrays: Mapping[str, Mapping[Vec3, Voxels]],
    tmp_path: Path,
    mode: str,
    api: range,
    dataset: str,
    token: str | None,
) -> None:
    main.state.api = api
    named = {"dataset_name_or_url": dataset, "organization_id": "lab"}
    found = package.call("read", url=main.url, token=token, folder=str(tmp_path), mode=mode, dataset=named)
    assert set(found) == set(arrays)
    check_stored(tmp_path, arrays)
    check_whole(server, tmp_path, f"lab/{dataset}", found)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SAMPLE_ENTRY)
def test_the_samples_are_read(
    main: MainServer, server: Server, package: Package, tmp_path: Path, mode: str, name: str
) -> None:
    named = {"dataset_id": main.dataset_id(f"sample/{name}")}
    found = package.call("read", url=main.url, token="alice", folder=str(tmp_path), mode=mode, dataset=named)
    assert set(found) == {"grey", "segmentation"}
    check_whole(server, tmp_path, f"sample/{name}", found)


@pytest.mark.parametrize(
    ("dataset", "tokens"),
    [
        ("private", {"token": "alice"}),
        ("private", {"token": "mallory", "sharing_token": "link"}),
        ("public", {"token": None}),
    ],
)
def test_a_box_is_downloaded(
    main: MainServer, server: Server, package: Package, tmp_path: Path, dataset: str, tokens: dict[str, str | None]
) -> None:
    dataset_id = main.dataset_id(f"lab/{dataset}")
    found = package.call("download", url=main.url, folder=str(tmp_path), dataset_id=dataset_id, box=BOX, **tokens)
    assert set(found) == {"grey", "deep", "rgb", "seg"}
    check_whole(server, tmp_path, f"lab/{dataset}", found)


@pytest.mark.parametrize("api", API_RANGES[2:], ids=lambda api: f"v{api[-1]}")
def test_a_stored_mesh_is_downloaded(
    main: MainServer, server: Server, package: Package, tmp_path: Path, api: range
) -> None:
    main.state.api = api
    for lod in range(3):
        asked = {"mesh_file_name": "mesh", "lod": lod, "segment": SEGMENT}
        found = read_stl(download_mesh(main, server, package, tmp_path, **asked))
        expected = read_by_cloud_volume(server.data_dir / "seg", SEGMENT, lod)
        np.testing.assert_allclose(in_order(found), in_order(expected), atol=1e-2, rtol=0)


def test_a_surface_is_downloaded(
    main: MainServer,
    server: Server,
    package: Package,
    arrays: Mapping[str, Mapping[Vec3, Voxels]],
    tmp_path: Path,
) -> None:
    """Of a segment that is there in one piece: the one with the most voxels in the corner."""
    voxels = arrays["seg"][STORED[0]][0]
    ids, counts = np.unique(voxels[:30, :30, :30], return_counts=True)
    segment = int(ids[counts.argmax()])
    seed = [int(n) for n in np.argwhere(voxels == segment)[0]]
    asked = {"mag": [1, 1, 1], "seed_position": seed, "segment": segment}
    found = read_stl(download_mesh(main, server, package, tmp_path, **asked))
    there = np.argwhere(voxels == segment)
    assert closed(found)
    np.testing.assert_array_equal(found.min(axis=(0, 1)), (there.min(axis=0) - 0.5) * VOXEL)
    np.testing.assert_array_equal(found.max(axis=(0, 1)), (there.max(axis=0) + 0.5) * VOXEL)


REFERENCES: Mapping[str, tuple[str, str, str]] = {
    "grey": ("zarr3", "zarr", "zyx"),
    "rgb": ("zarr", "zarr2", "czyx"),
    "seg": ("neuroglancerPrecomputed", "precomputed", ""),
    "deep": ("neuroglancerPrecomputed", "precomputed", ""),
}
"""By layer: how a dataset says in which format it is, where that is exported, and its axes."""


def test_exported_layers_are_read_by_reference(
    server: Server, package: Package, arrays: Mapping[str, Mapping[Vec3, Voxels]], tmp_path: Path
) -> None:
    """A dataset's properties may name arrays anywhere."""
    source = server.get("/data/datasets/lab/public").json()["dataSource"]
    for layer in source["dataLayers"]:
        data_format, tree, axes = REFERENCES[layer["name"]]
        order = {"axisOrder": {axis: axes.index(axis) for axis in axes}} if axes else {}
        base = f"{server.base}/{tree}/lab/public/{layer['name']}"
        paths = {(1, 1, 1): f"{base}/1", (2, 2, 1): f"{base}/2-2-1"}
        layer["dataFormat"], layer["mags"] = data_format, [{"mag": m, "path": p, **order} for m, p in paths.items()]
    (tmp_path / "datasource-properties.json").write_text(json.dumps(source))
    found = package.call("read_references", folder=str(tmp_path))
    assert set(found) == set(arrays)
    check_stored(tmp_path, arrays)


def download_mesh(main: MainServer, server: Server, package: Package, folder: Path, **asked: Any) -> bytes:
    who = {"url": main.url, "token": "alice", "folder": str(folder)}
    where = {"dataset_id": main.dataset_id("lab/private"), "datastore": server.base, "layer_name": "seg"}
    return Path(package.call("download_mesh", **who, **where, **asked)).read_bytes()


@pytest.mark.parametrize("api", API_RANGES, ids=lambda api: f"v{api[-1]}")
def test_each_user_is_listed_what_was_shared(main: MainServer, server: Server, package: Package, api: range) -> None:
    main.state.api = api
    for token, names in (("alice", ["private", "public"]), ("boss", ["private", "public"]), (None, ["public"])):
        assert package.call("list_datasets", url=main.url, token=token, organization="lab") == names


@pytest.mark.parametrize("mode", MODES)
def test_what_was_not_shared_is_not_opened(
    main: MainServer, server: Server, package: Package, tmp_path: Path, mode: str
) -> None:
    named = {"dataset_id": main.dataset_id("lab/private")}
    with pytest.raises(RuntimeError, match="404"):
        package.call("read", url=main.url, token="mallory", folder=str(tmp_path), mode=mode, dataset=named)
    assert list(tmp_path.iterdir()) == []
