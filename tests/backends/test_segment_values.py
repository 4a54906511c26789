"""Meshes and skeletons of precomputed volumes as the key-values that DVID's clients look for."""

from __future__ import annotations

import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.conftest import S3
from tests.mesh_files import add_to_info, in_order, read_by_cloud_volume, write_legacy, write_multi_lod
from tests.skeleton_files import SCALE, SHIFT, skeleton, write_skeletons
from tests.volumes import write_precomputed
from wkdvid.backends.precomputed.skeletons import parse_skeleton_info
from wkdvid.codecs.skeleton import Attribute, decode, swc
from wkdvid.codecs.surface import legacy_fragment, merged, ngmesh
from wkdvid.core import keyvalues
from wkdvid.core.joined_volume import join
from wkdvid.core.keyvalues import KeyValues, MeshValues, SkeletonValues, fitting_level
from wkdvid.core.limits import Limits
from wkdvid.core.segments import Fragment, MeshLevel, SegmentMesh, StoresSegments
from wkdvid.core.volume import Volume
from wkdvid.errors import CorruptChunk, TooLarge, UpstreamUnavailable
from wkdvid.testing.volume_suite import open_layers

SEGMENTS = [7, 1000, 2**60 + 7]
SIZE = (4.0, 4.0, 40.0)
KINDS = ["files", "shards", "legacy"]


def write(folder: Path, kind: str) -> Path:
    write_precomputed(folder, [((1, 1, 1), np.ones((8, 8, 8), np.uint64))], voxel_size_nm=SIZE, kind="segmentation")
    add_to_info(folder, mesh="mesh", skeletons="skeletons")
    if kind == "legacy":
        write_legacy(folder, SEGMENTS)
    else:
        write_multi_lod(folder / "mesh", SEGMENTS, sharded=kind == "shards")
    write_skeletons(folder / "skeletons", SEGMENTS, sharded=kind == "shards")
    return folder


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp(request.param) / "v", request.param)


async def opened(folder: Path, **options: Any) -> Volume:
    (volume,) = await open_layers("precomputed", {"source": str(folder), **options}, roots=[folder])
    return volume


async def values_of(volume: Volume, limits: Limits = Limits()) -> tuple[KeyValues, KeyValues]:  # noqa: B008
    assert isinstance(volume, StoresSegments)
    assert volume.has_meshes
    assert volume.has_skeletons
    return MeshValues(volume, limits), SkeletonValues(volume, volume.info.voxel_size_nm)


def triangles(data: bytes | None) -> Any:
    assert data is not None
    vertices, faces = legacy_fragment(data)  # the same bytes as DVID's
    assert len(vertices) <= 3 * len(faces)
    return in_order(vertices[faces])


def read_swc(data: bytes | None) -> npt.NDArray[np.float64]:
    """As Neuroglancer reads it: lines of plain decimals."""
    assert data is not None
    number = r"-?\d*(?:\.\d+)?"
    line = re.compile(rf"\d+ \d+ {number} {number} {number} {number} (?:-1|\d+)")
    lines = data.decode().splitlines()
    assert all(line.fullmatch(one) for one in lines)
    return np.array([one.split() for one in lines], np.float64)


async def test_meshes(folder: Path) -> None:
    meshes, _ = await values_of(await opened(folder))
    for segment in SEGMENTS:
        found = triangles(await meshes.get(f"{segment}.ngmesh"))
        np.testing.assert_allclose(found, in_order(read_by_cloud_volume(folder, segment, 0)), atol=1e-2, rtol=0)


async def test_skeletons(folder: Path) -> None:
    _, skeletons = await values_of(await opened(folder))
    for segment in SEGMENTS:
        rows, written = read_swc(await skeletons.get(f"{segment}_swc")), skeleton(segment)
        places = (written.vertices * SCALE + SHIFT) / SIZE
        nearest = np.argmin(np.linalg.norm(places[None] - rows[:, None, 2:5], axis=2), axis=1)
        assert sorted(nearest) == list(range(42))
        np.testing.assert_allclose(rows[:, 2:5], places[nearest], atol=6e-4, rtol=0)
        np.testing.assert_allclose(rows[:, 5], written.radii[nearest] * SCALE / SIZE[0], atol=6e-4)
        np.testing.assert_array_equal(rows[:, 1], written.vertex_types[nearest])
        parents = rows[:, 6].astype(int)
        assert (parents < rows[:, 0]).all()
        pairs = {frozenset((nearest[i], nearest[p - 1])) for i, p in enumerate(parents) if p > 0}
        assert pairs == {frozenset(edge) for edge in written.edges.tolist()}
        assert (parents == -1).sum() == 2


async def test_what_is_not_there(folder: Path) -> None:
    meshes, skeletons = await values_of(await opened(folder))
    for key in (
        "8.ngmesh",
        "007.ngmesh",
        "7",
        "7.ngmesh\n",
        f"{2**64}.ngmesh",
        "",
        "7_swc",
        "../7.ngmesh",
        "\u0667.ngmesh",
    ):
        assert await meshes.get(key) is None
    assert await meshes.get(f"{2**64}.ngmesh") is None
    for key in ("8_swc", "07_swc", "7", "7_swc/", "7.ngmesh", "-7_swc", "info_swc"):
        assert await skeletons.get(key) is None


async def test_keys_where_files_can_be_listed(folder: Path) -> None:
    meshes, skeletons = await values_of(await opened(folder))
    if folder.parent.name.startswith("shards"):
        assert [*await meshes.keys("", None), *await skeletons.keys("", None)] == []
        return
    assert await meshes.keys("", None) == ["1000.ngmesh", f"{2**60 + 7}.ngmesh", "7.ngmesh"]
    assert await meshes.keys("1001", "7.ngmesh") == [f"{2**60 + 7}.ngmesh", "7.ngmesh"]
    assert await skeletons.keys("", "7") == ["1000_swc", f"{2**60 + 7}_swc"]


async def test_from_a_bucket_and_beside_a_pyramid(tmp_path: Path, s3: S3) -> None:
    url = s3.upload(write(tmp_path / "v", "files"))
    (volume,) = await open_layers("precomputed", {"source": url}, s3=s3.options)
    meshes, skeletons = await values_of(join([volume]))
    assert len(triangles(await meshes.get("7.ngmesh"))) == 40
    assert len(read_swc(await skeletons.get("7_swc"))) == 42
    assert await skeletons.keys("", None) == ["1000_swc", f"{2**60 + 7}_swc", "7_swc"]


async def test_packed_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "v", "files")
    for name in ("skeletons/7", "mesh/7.index"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    meshes, skeletons = await values_of(await opened(folder))
    assert await meshes.keys("7", "8") == ["7.ngmesh"]
    assert await skeletons.keys("7", None) == ["7_swc"]
    assert len(read_swc(await skeletons.get("7_swc"))) == 42


async def test_another_voxel_size_moves_them_along(tmp_path: Path) -> None:
    """In nanometres everything is larger then, in voxels it is where it was."""
    folder = write(tmp_path / "v", "files")
    volumes = [await opened(folder), await opened(folder, voxel_size=[n * 2 for n in SIZE])]
    (meshes, skeletons), (larger, same) = [await values_of(volume) for volume in volumes]
    np.testing.assert_allclose(
        triangles(await larger.get("7.ngmesh")), 2 * triangles(await meshes.get("7.ngmesh")), rtol=1e-6
    )
    assert await same.get("7_swc") == await skeletons.get("7_swc")


async def test_a_volume_without_them(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", [((1, 1, 1), np.ones((8, 8, 8), np.uint64))], kind="segmentation")
    volume = await opened(tmp_path / "v")
    assert isinstance(volume, StoresSegments)
    assert (volume.has_meshes, volume.has_skeletons) == (False, False)
    for values in (MeshValues(volume, Limits()), SkeletonValues(volume, SIZE)):
        assert await values.get("7.ngmesh") is None
        assert await values.get("7_swc") is None
        assert await values.keys("", None) == []


async def test_what_is_broken_is_no_absence(tmp_path: Path) -> None:
    folder = write(tmp_path / "v", "files")
    (folder / "skeletons" / "7").write_bytes(b"12345678")
    (folder / "mesh" / "7").unlink()
    meshes, skeletons = await values_of(await opened(folder))
    with pytest.raises(CorruptChunk, match="are no skeleton of"):
        await skeletons.get("7_swc")
    with pytest.raises(UpstreamUnavailable, match="this file is not there"):
        await meshes.get("7.ngmesh")
    (folder / "skeletons" / "info").unlink()
    _, gone = await values_of(await opened(folder))
    with pytest.raises(CorruptChunk, match="is not there"):
        await gone.get("7_swc")


async def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meshes, skeletons = await values_of(
        await opened(write(tmp_path / "v", "files")), Limits(unstreamed_bytes=500, working_bytes=1 << 20)
    )
    with pytest.raises(TooLarge, match="over 500 bytes"):
        await meshes.get("7.ngmesh")
    monkeypatch.setattr(keyvalues, "MOST_POINTS", 41)
    with pytest.raises(TooLarge, match="more than 41 points"):
        await skeletons.get("7_swc")


def test_the_level_of_detail_that_fits() -> None:
    levels = tuple(MeshLevel((1, 1, 1), (Fragment((0, 0, 0), 0, size),)) for size in (4000, 1000, 10))
    mesh = SegmentMesh(7, levels, 1, None)
    assert [fitting_level(mesh, limit) for limit in (64000, 63999, 1)] == [levels[0], levels[1], levels[2]]


def test_corners_at_one_place_are_one_vertex() -> None:
    square = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[-0.0, 0, 0], [1, 1, 0], [0, 1, 0]]], np.float32)
    vertices, faces = merged(square)
    assert len(vertices) == 4
    np.testing.assert_array_equal(vertices[faces], square)
    data = ngmesh([merged(square), merged(square[:0]), merged(square[:1])])
    assert struct.unpack_from("<I", data) == (7,)
    twice, both = legacy_fragment(data)
    np.testing.assert_array_equal(twice[both], np.concatenate([square, square[:1]]))
    assert ngmesh([]) == bytes(4)


def test_a_circle_is_cut_and_every_point_is_there() -> None:
    circle = np.array([(0, 1), (1, 2), (2, 0), (1, 1), (0, 1)])
    rows = read_swc(swc(np.eye(4, 3) * 1e-9, circle, np.array([np.nan, np.inf, -1, 1e20]), np.array([-3, 0, 1, 2])))
    assert (rows[:, 6] == -1).sum() == 2
    assert (rows[:, 6] < rows[:, 0]).all()
    assert (rows[:, 0] == [1, 2, 3, 4]).all()
    assert swc(np.empty((0, 3)), np.empty((0, 2), np.int64), None, None) == b""


ATTRIBUTES = (Attribute("radius", np.dtype("<f4"), 1), Attribute("colour", np.dtype("u1"), 3))


@given(st.binary(max_size=120))
def test_any_bytes_are_a_skeleton_or_refused(data: bytes) -> None:
    for attributes in ((), ATTRIBUTES):
        try:
            points, edges, values = decode(data, attributes)
        except ValueError:
            continue
        assert edges.size == 0 or edges.max() < len(points)
        assert all(len(value) == len(points) for value in values.values())
        swc(points, edges, values.get("radius"), None)


def test_counts_that_no_file_has_are_not_made_room_for() -> None:
    with pytest.raises(ValueError, match="8 bytes are no skeleton"):
        decode(struct.pack("<2I", 2**32 - 1, 2**32 - 1), ())


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"@type": "neuroglancer_legacy_mesh"}, "@type"),
        ({"transform": [1, 0, 0]}, "transform"),
        ({"transform": ["x"] * 12}, "transform"),
        ({"vertex_attributes": {}}, "vertex_attributes"),
        ({"vertex_attributes": [3]}, r"vertex_attributes\[0\]"),
        ({"vertex_attributes": [{"id": "a", "data_type": "float64", "num_components": 1}]}, r"\[0\]: expected an id"),
        ({"vertex_attributes": [{"id": "a", "data_type": [], "num_components": 1}]}, r"\[0\]: expected an id"),
        ({"vertex_attributes": [{"id": "a", "data_type": "int8", "num_components": 0}]}, "num_components"),
        ({"sharding": {"@type": "x"}}, "sharding"),
    ],
)
def test_what_no_info_of_skeletons_says(members: dict[str, Any], problem: str) -> None:
    with pytest.raises(CorruptChunk, match=problem):
        parse_skeleton_info(json.loads(json.dumps({"@type": "neuroglancer_skeletons", **members})), "skeletons")


def test_what_an_info_may_leave_out() -> None:
    info = parse_skeleton_info({"@type": "neuroglancer_skeletons"}, "skeletons")
    assert (info.scale, info.attributes, info.sharding) == (1, (), None)
