"""Surfaces made of voxels: cube by cube, as the browser asks for them, and whole, as the Python package does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.mesh_files import Corners, closed, enclosed, in_order, read_stl
from tests.servers import Server, running
from tests.volumes import Voxels, grid, write_precomputed
from wkdvid.core.geometry import Vec3
from wkdvid.testing.faulty import LOGIN_PAGE, FileServer, none, on

SIZE, OFFSET, VOXEL = (100, 90, 80), (64, -20, 3), (4, 4, 10)
BALL = 2**60 + 3
CENTRE = (140, 20, 40)
"""In voxels of mag 1. The ball is cut by the end of the volume."""
MAGS: tuple[Vec3, ...] = ((1, 1, 1), (2, 2, 1))
NEIGHBORS = [(0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]


def ball() -> Voxels:
    x, y, z = (axis + start - at for axis, start, at in zip(grid(SIZE), OFFSET, CENTRE, strict=True))
    return np.where(x**2 + y**2 + z**2 < 35**2, BALL, BALL + 1).astype(np.uint64)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surfaces")
    levels = [(MAGS[0], ball()), (MAGS[1], ball()[::2, ::2])]
    offsets = [OFFSET, (OFFSET[0] // 2, OFFSET[1] // 2, OFFSET[2])]
    write_precomputed(folder / "cells", levels, offsets=offsets, voxel_size_nm=VOXEL, kind="segmentation")
    write_precomputed(folder / "grey", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    dust = (np.random.default_rng(1).random((60, 60, 60)) < 0.5).astype(np.int32)
    write_precomputed(folder / "dust", [((1, 1, 1), dust)], kind="segmentation")
    block = np.ones((200, 130, 130), np.uint8)
    write_precomputed(folder / "block", [((1, 1, 1), block)], kind="segmentation")
    return folder


@pytest.fixture(scope="module")
def far(volumes: Path) -> Iterator[FileServer]:
    with FileServer(volumes) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, volumes: Path, far: FileServer) -> Iterator[Server]:
    layers = {path.name: {"source": f"{path}/"} for path in volumes.iterdir()}
    layers["far"] = {"source": f"{far.url}cells"}
    sets = {name: {"layers": {name: layer}} for name, layer in layers.items()}
    environ = {
        "WKDVID_SOURCES__HTTP_HOSTS": far.host,
        "WKDVID_SOURCES__FILE_ROOTS": str(volumes),
        "WKDVID_LIMITS__UNSTREAMED_BYTES": "16MiB",
        "WKDVID_LIMITS__REQUEST_VOXELS": "3000000",
    }
    data = tmp_path_factory.mktemp("data")
    with running(data, {"precomputed": {"lab": sets}}, environ=environ) as started:
        yield started
    assert "Traceback" not in (data / "server.log").read_text()


def layer(name: str) -> str:
    return f"/data/datasets/lab/{name}/layers/{name}"


def cube(server: Server, name: str = "cells", **members: Any) -> requests.Response:
    body = {
        "position": [64, 0, 0],
        "mag": [1, 1, 1],
        "cubeSize": [65, 65, 65],
        "segmentId": {"customJsonEncoding": "bigint", "value": str(BALL)},
        "voxelSizeFactorInUnit": VOXEL,
        "mapping": None,
        "additionalCoordinates": None,
        **members,
    }
    return server.post(f"{layer(name)}/adHocMesh", json=body)


def whole(server: Server, name: str = "cells", **members: Any) -> requests.Response:
    """As the Python package asks for it."""
    unused = {"lod": 0, "mappingName": None, "mappingType": None}
    body = {"segmentId": BALL, "mag": [1, 1, 1], "seedPosition": CENTRE, **unused, **members}
    return server.post(f"{layer(name)}/meshes/fullMesh.stl", json=body)


def walk(server: Server, mag: Vec3, side: int, seed: Vec3 = CENTRE) -> Corners:
    """As the browser does: from the seed's cube to its neighbours, each one voxel larger than the step to the next."""
    step = [side * m for m in mag]
    waiting = [tuple(a // n * n for a, n in zip(seed, step, strict=True))]
    seen, found = {*waiting}, []
    while waiting:
        at = waiting.pop(0)
        answer = cube(server, position=[a - m for a, m in zip(at, mag, strict=True)], mag=mag, cubeSize=[side + 1] * 3)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Expose-Headers"] == "NEIGHBORS"
        found.append(np.frombuffer(answer.content, "<f4").reshape(-1, 3, 3))
        for number in json.loads(answer.headers["NEIGHBORS"]):
            near = tuple(a + n * b for a, n, b in zip(at, step, NEIGHBORS[number], strict=True))
            if near not in seen:
                seen.add(near)
                waiting.append(near)
    return np.concatenate(found)


@pytest.mark.parametrize("mag", MAGS)
def test_the_browser_gets_a_closed_surface(server: Server, mag: Vec3) -> None:
    """In the unit of the voxel size that it sends; a voxel is where its index is."""
    voxels = ball()[:: mag[0], :: mag[1], :: mag[2]] == BALL
    size = np.array(mag) * VOXEL
    there = np.argwhere(voxels) + np.array(OFFSET) // mag
    surface = walk(server, mag, 32)
    assert closed(surface)
    np.testing.assert_array_equal(surface.min(axis=(0, 1)), (there.min(axis=0) - 0.5) * size)
    np.testing.assert_array_equal(surface.max(axis=(0, 1)), (there.max(axis=0) + 0.5) * size)
    assert enclosed(surface) == pytest.approx(len(there) * size.prod(), rel=0.03)
    np.testing.assert_array_equal(in_order(walk(server, mag, 50)), in_order(surface))


@pytest.mark.parametrize("mag", MAGS)
def test_the_python_package_gets_the_same_surface(server: Server, mag: Vec3) -> None:
    answer = whole(server, mag=mag)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "model/stl")
    np.testing.assert_array_equal(in_order(read_stl(answer.content)), in_order(walk(server, mag, 32)))


def test_computed_mags_have_surfaces(server: Server) -> None:
    surface = read_stl(whole(server, mag=[4, 4, 2]).content)
    assert closed(surface)
    assert enclosed(surface) == pytest.approx((ball() == BALL).sum() * np.prod(VOXEL), rel=0.1)


def test_neighbors_have_numbers(server: Server) -> None:
    """Those of the planes in which the segment has a voxel: 0 to 2 the first ones across z, y, x, 3 to 5 the last."""
    low = (140 - 34, 20, 40)
    assert cube(server, position=low, cubeSize=[2, 2, 2]).headers["NEIGHBORS"] == "[0, 1, 2, 3, 4, 5]"
    before = cube(server, position=(low[0] - 20, 20, 40), cubeSize=[21, 3, 3])
    assert before.headers["NEIGHBORS"] == "[0, 1, 3, 4, 5]"
    assert cube(server, position=low, cubeSize=[2, 2, 2], findNeighbors=False).headers["NEIGHBORS"] == "[]"


def test_where_the_segment_is_not(server: Server) -> None:
    for position in ([64, -20, 3], [100_000, 0, 0], [-5000, -5000, -5000]):
        answer = cube(server, position=position, cubeSize=[5, 5, 5])
        assert (answer.status_code, answer.content, answer.headers["NEIGHBORS"]) == (200, b"", "[]")
    for segment in (300, 2**64 - 1):  # voxels of 8 bits cannot be that
        answer = cube(server, "block", position=[0, 0, 0], cubeSize=[5, 5, 5], segmentId=segment)
        assert (answer.status_code, answer.content) == (200, b"")
    assert whole(server, segmentId=7).status_code == 404
    assert whole(server, seedPosition=[-10_000, 0, 0]).status_code == 404


WRONG: list[tuple[dict[str, Any], str, int]] = [
    ({"position": [1, 2]}, "position", 400),
    ({"mag": [0, 1, 1]}, "mag", 400),
    ({"mag": [3, 3, 3]}, "mag", 404),
    ({"cubeSize": 32}, "cubeSize", 400),
    ({"cubeSize": [1, 2, 2]}, "cubeSize", 400),
    ({"cubeSize": [514, 2, 2]}, "cubeSize", 400),
    ({"cubeSize": [513, 513, 513]}, "limits.working_bytes", 413),
    ({"segmentId": 0}, "background", 400),
    ({"segmentId": 1.5}, "segmentId", 400),
    ({"segmentId": -1}, "segmentId", 400),
    ({"voxelSizeFactorInUnit": [1, 1, 0]}, "voxelSizeFactorInUnit", 400),
    ({"voxelSizeFactorInUnit": [1, 1, 1e300]}, "voxelSizeFactorInUnit", 400),
    ({"voxelSizeFactorInUnit": None}, "voxelSizeFactorInUnit", 400),
    ({"mapping": "m"}, "mapping", 404),
]


@pytest.mark.parametrize(("members", "told", "status"), WRONG)
def test_what_cannot_be_asked_for(server: Server, members: dict[str, Any], told: str, status: int) -> None:
    answer = cube(server, **members)
    assert (answer.status_code, told in answer.json()["messages"][0]["error"]) == (status, True)


def test_what_cannot_be_asked_for_as_a_whole(server: Server) -> None:
    for members, told, status in (
        ({"mag": None}, "mag", 400),
        ({"seedPosition": None}, "seedPosition", 400),
        ({"lod": -1}, "lod", 400),
        ({"mappingName": "m"}, "mappingName", 404),
        ({"segmentId": 0}, "background", 400),
    ):
        answer = whole(server, **members)
        assert (answer.status_code, told in answer.json()["messages"][0]["error"]) == (status, True)
    for path in ("adHocMesh", "meshes/fullMesh.stl"):
        assert server.post(f"{layer('cells')}/{path}", json=[1]).status_code == 400
    assert cube(server, "grey", segmentId=1).status_code == 400
    assert whole(server, "grey", segmentId=1, seedPosition=[1, 1, 1]).status_code == 400


def test_a_mesh_that_is_too_large_is_refused(server: Server) -> None:
    for name, told in (("dust", "limits.unstreamed_bytes"), ("block", "limits.request_voxels")):
        answer = whole(server, name, segmentId=1, seedPosition=[5, 5, 5])
        assert (answer.status_code, told in answer.text) == (413, True)


def test_what_cannot_be_read_has_no_surface(server: Server, far: FileServer) -> None:
    chunk = "cells/1-1-1/64-128_*"
    far.fault = on(chunk, 500)
    assert cube(server, "far").status_code == 503
    assert whole(server, "far").status_code == 503
    far.fault = on(chunk, LOGIN_PAGE)
    assert cube(server, "far").status_code == 502
    far.fault = none
    assert cube(server, "far").content == cube(server).content
    assert in_order(read_stl(whole(server, "far").content)).shape == in_order(read_stl(whole(server).content)).shape


def test_what_was_never_written_is_no_part_of_a_segment(server: Server, far: FileServer) -> None:
    server.post("/data/triggers/reload/lab/far")
    far.fault = on("cells/1-1-1/64-128_*", 404)
    surface = read_stl(whole(server, "far").content)
    far.fault = none
    assert closed(surface)
    assert surface[..., 0].min() == (128 - 0.5) * VOXEL[0]
