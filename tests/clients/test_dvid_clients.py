"""DVID's clients read the volume: ``intern`` and ``dvidtools`` as they are, and the requests of those that cannot be
installed, with the answers taken apart as they do it. What each gets is the array.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from typing import Any

import dvid
import numpy as np
import pytest
import requests
from intern.remote.dvid import DVIDRemote
from PIL import Image

from tests.clients.libdvid import Libdvid
from tests.clients.neuclease import LEAST_VERSION, Neuclease
from tests.clients.pydvid import Pydvid
from tests.dvid_wire import BLOCK, Corner, pasted
from tests.jobs.watching import comes_to, ended
from tests.mesh_files import add_to_info, in_order, read_by_cloud_volume, write_multi_lod
from tests.servers import Server, running
from tests.skeleton_files import SCALE, SHIFT, skeleton, write_skeletons
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Vec3

UUID = "c11e47"
OFFSET: Vec3 = (32, -16, 8)
"""Of the 16-bit layer."""
VOXEL_NM = (10, 10, 10)
DRAWN = 7
"""A body that has a mesh and a skeleton."""
WHOLE: Corner = (256, 256, 256)
"""The volume in whole blocks."""
ORIGIN: Corner = (0, 0, 0)


@pytest.fixture(scope="module")
def arrays(medulla: Mapping[str, Voxels]) -> Mapping[str, Voxels]:
    """(x, y, z[, c])."""
    grey, bodies = medulla["grayscale"], medulla["bodies"].astype(np.uint64)
    colours = np.random.default_rng(4).integers(0, 256, (20, 30, 10, 3)).astype(np.uint8)
    return {
        "grey": grey,
        "plain": grey[:100, :90, :80],
        "deep": grey[:70, :60, :50] * np.uint16(257),
        "field": grey[:20, :30, :40].astype(np.float32) / 4,
        "colours": colours,
        "segmentation": bodies,
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, arrays: Mapping[str, Voxels]) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("dvid_clients")
    for name, array in arrays.items():
        kind = "segmentation" if name == "segmentation" else "image"
        offsets = [OFFSET] if name == "deep" else None
        write_precomputed(data / name, [((1, 1, 1), array)], voxel_size_nm=VOXEL_NM, kind=kind, offsets=offsets)
    add_to_info(data / "segmentation", mesh="mesh", skeletons="skeletons")
    write_multi_lod(data / "segmentation" / "mesh", [DRAWN], sharded=False)
    write_skeletons(data / "segmentation" / "skeletons", [DRAWN], sharded=False)
    layers: dict[str, Any] = {name: {"source": name} for name in arrays}
    layers["grey"]["compression"] = "jpeg"
    layers["plain"]["compression"] = "none"
    with running(data, {"precomputed": {"lab": {"medulla": {"uuid": UUID, "layers": layers}}}}) as started:
        job = started.post("/api/jobs", json={"kind": "index", "dataset": "lab/medulla", "layer": "segmentation"})
        assert comes_to(started, job.json()["id"], ended)["state"] == "done"
        yield started


@pytest.fixture(scope="module")
def labels(arrays: Mapping[str, Voxels]) -> Voxels:
    """(z, y, x), zeros up to whole blocks."""
    return padded(arrays["segmentation"]).T


def padded(array: Voxels) -> Voxels:
    return np.pad(array, [(0, -n % BLOCK) for n in array.shape])


# ---- intern -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def remote(server: Server) -> DVIDRemote:
    return DVIDRemote({"protocol": "http", "host": server.base.removeprefix("http://")})


@pytest.mark.parametrize("name", ["grey", "deep", "segmentation"])
def test_intern_cuts_out_what_the_array_holds(remote: DVIDRemote, arrays: Mapping[str, Voxels], name: str) -> None:
    array, origin = arrays[name], OFFSET if name == "deep" else (0, 0, 0)
    resource = remote.get_instance(UUID, name, array.dtype.name)
    ranges = [[o + 3, o + n - 5] for o, n in zip(origin, array.shape, strict=True)]
    cutout = remote.get_cutout(resource, 0, *ranges)
    np.testing.assert_array_equal(cutout.transpose(2, 1, 0), array[3:-5, 3:-5, 3:-5])


def test_intern_understands_what_we_say_of_ourselves(remote: DVIDRemote) -> None:
    resource = remote.get_instance(UUID, "deep", "uint16")
    assert remote.get_extents(resource) == [[32, 101], [-16, 43], [8, 57]]
    assert remote.get_metadata(resource)["Properties"]["BlockSize"] == [BLOCK] * 3
    assert remote.get_project(resource) == (UUID, "deep")
    assert {"uint8blk", "labelmap"} <= remote.get_server_types().keys()
    assert remote.get_server_info()["DVID Version"] == "v1.0.0"


def test_intern_is_told_that_nothing_is_written(remote: DVIDRemote) -> None:
    with pytest.raises(requests.HTTPError, match=f"Cannot do post on locked node {UUID}"):
        remote.post_log(UUID, "changed")


# ---- dvidtools ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tools(server: Server) -> Any:
    """With its default name of the segmentation."""
    dvid.setup(f"{server.base}/", UUID, "somebody")
    return dvid


def test_dvidtools_finds_the_volume(tools: Any) -> None:
    (project,) = tools.list_projects().to_dict("records")
    assert (project["Alias"], project["Root"]) == ("medulla", UUID)
    assert tools.get_master_node(UUID[:4]) == UUID
    assert tools.get_branch_history(UUID) == [UUID]
    extended = tools.get_segmentation_info()["Extended"]
    assert (extended["BlockSize"], extended["VoxelSize"]) == ([BLOCK] * 3, list(VOXEL_NM))


def test_dvidtools_looks_up_bodies(tools: Any, arrays: Mapping[str, Voxels]) -> None:
    points = np.random.default_rng(3).integers(0, 250, (500, 3))
    found = tools.locs_to_ids(points, chunk_size=200, progress=False)
    np.testing.assert_array_equal(found, arrays["segmentation"][tuple(points.T)])


@pytest.fixture(scope="module")
def sizes(arrays: Mapping[str, Voxels]) -> Mapping[int, int]:
    """Voxels of each body, by its label in ascending order."""
    labels, counts = np.unique(arrays["segmentation"], return_counts=True)
    return {label: count for label, count in zip(labels.tolist(), counts.tolist(), strict=True) if label}


@pytest.fixture(scope="module")
def body(sizes: Mapping[int, int]) -> int:
    """One of middling size: dvidtools takes runs apart one by one."""
    return sorted(sizes, key=lambda label: sizes[label])[len(sizes) // 2]


def test_dvidtools_knows_the_sizes_of_bodies(tools: Any, sizes: Mapping[int, int], body: int) -> None:
    assert tools.get_sizes([*sizes, 2**40], chunk_size=200, progress=False).tolist() == [*sizes.values(), 0]
    assert tools.ids_exist([body, 2**40], progress=False).tolist() == [True, False]
    assert tools.get_sparsevol_size(body)["voxels"] == sizes[body]
    assert tools.get_last_mod(body)["last mod user"] == ""


def test_dvidtools_finds_the_voxels_of_a_body(tools: Any, arrays: Mapping[str, Voxels], body: int) -> None:
    whole = np.argwhere(arrays["segmentation"] == body)
    low, high = whole.min(axis=0), (whole.min(axis=0) + whole.max(axis=0)) // 2
    within = whole[((whole >= low) & (whole <= high)).all(axis=1)]
    bounds = np.stack([low, high], axis=1).ravel()
    assert as_set(tools.get_sparsevol(body, scale=0)) == as_set(whole)
    assert as_set(tools.get_sparsevol(body, scale=0, bbox=bounds)) == as_set(within)
    assert as_set(tools.get_sparsevol(body, scale="COARSE")) == as_set(np.unique(whole // BLOCK, axis=0))
    with pytest.warns(UserWarning, match="_swc"):  # of which it has none to take it from
        assert as_set([tools.get_body_position(body)]) <= as_set(whole)


def as_set(points: Any) -> set[tuple[int, ...]]:
    found = [tuple(map(int, point)) for point in points]
    assert len(set(found)) == len(found)
    return set(found)


def test_dvidtools_reads_meshes(tools: Any, server: Server) -> None:
    assert tools.has_mesh([DRAWN, DRAWN + 1], progress=False).tolist() == [True, False]
    (mesh,) = tools.get_meshes(DRAWN, progress=False)
    stored = read_by_cloud_volume(server.data_dir / "segmentation", DRAWN, 0)
    np.testing.assert_allclose(in_order(mesh.vertices[mesh.faces]), in_order(stored), atol=1e-2)


def test_dvidtools_reads_skeletons(tools: Any) -> None:
    """In voxels."""
    assert tools.has_skeleton([DRAWN, DRAWN + 1], progress=False).tolist() == [True, False]
    (nodes,) = tools.get_skeletons(DRAWN, progress=False)
    stored = (skeleton(DRAWN).vertices * SCALE + SHIFT) / VOXEL_NM
    found = nodes[["x", "y", "z"]].to_numpy()
    distances = np.linalg.norm(found[:, None] - stored[None], axis=2)
    assert sorted(distances.argmin(axis=1)) == [*range(len(stored))]
    assert distances.min(axis=1).max() < 1e-3
    assert (nodes["parent_id"] < 0).sum() == 2  # a tree and a branch apart from it


# ---- neuclease ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def neuclease(server: Server) -> Neuclease:
    return Neuclease(server.base, UUID[:4])


def test_neuclease_knows_where_it_is(neuclease: Neuclease) -> None:
    assert neuclease.fetch_server_version() >= LEAST_VERSION
    assert [*neuclease.fetch_repos_info()] == [UUID]
    assert neuclease.expand_uuid("c11e") == UUID
    assert neuclease.fetch_branch_nodes() == [UUID]
    assert neuclease.fetch_branch_nodes("other") == []
    assert neuclease.fetch_commit()
    assert (neuclease.fetch_note(), neuclease.fetch_log()) == ("", [])
    types = neuclease.fetch_repo_instances()
    assert {types[name] for name in ("grey", "grey_1", "plain")} == {"uint8blk"}
    assert (types["deep"], types["segmentation"]) == ("uint16blk", "labelmap")
    assert neuclease.fetch_volume_box("deep") == ([8, -16, 32], [58, 44, 102])


@pytest.mark.parametrize("throttle", [True, False])
def test_neuclease_reads_boxes(neuclease: Neuclease, arrays: Mapping[str, Voxels], throttle: bool) -> None:
    for name in ("grey", "segmentation"):
        array = arrays[name].T
        found = neuclease.fetch_raw(name, (30, 20, 10), (93, 85, 77), array.dtype, throttle=throttle)
        np.testing.assert_array_equal(found, array[30:93, 20:85, 10:77])
    whole = neuclease.fetch_volume_box("deep")
    found = neuclease.fetch_raw("deep", (8, -16, 32), (58, 44, 102), np.dtype(np.uint16), throttle=throttle)
    assert found.shape == tuple(b - a for a, b in zip(*whole, strict=True))
    np.testing.assert_array_equal(found, arrays["deep"].T)


def test_neuclease_reads_label_blocks(neuclease: Neuclease, labels: Voxels) -> None:
    found = neuclease.fetch_labelmap_voxels("segmentation", ORIGIN, WHOLE, throttle=True, sv=True)
    np.testing.assert_array_equal(found, labels)
    start, stop = (64, -64, 128), (128, 64, 320)
    found = neuclease.fetch_labelmap_voxels("segmentation", start, stop)
    np.testing.assert_array_equal(found, np.pad(labels, ((0, 0), (64, 0), (0, 64)))[64:128, :128, 128:320])


def test_neuclease_reads_more_blocks_than_one_request_names(neuclease: Neuclease, labels: Voxels) -> None:
    corners = [(64 * z, 64 * y, 64 * x) for z, y, x in itertools.product(range(-2, 9), repeat=3)]
    found = neuclease.fetch_labelmap_specificblocks("segmentation", corners, sv=True)
    inside = {tuple(n // BLOCK for n in c): block for c, block in found.items() if 0 <= min(c) <= max(c) < 256}
    np.testing.assert_array_equal(pasted(inside, ORIGIN, WHOLE, np.uint64), labels)  # type: ignore[arg-type]
    assert not any(block.any() for c, block in found.items() if min(c) < 0 or max(c) >= 256)


def test_neuclease_reads_coarser_labels(neuclease: Neuclease, labels: Voxels) -> None:
    """Of each two by two by two the most frequent body, the smallest on a tie; 0 only where there is no other."""
    coarse = neuclease.fetch_labelmap_voxels("segmentation", ORIGIN, (128, 128, 128), scale=1)
    eight = [labels[z::2, y::2, x::2] for z, y, x in itertools.product((0, 1), repeat=3)]
    best, most = np.zeros_like(coarse), np.zeros(coarse.shape, int)
    for label in eight:
        times = sum((label == other).astype(int) for other in eight) * (label > 0)
        better = (times > most) | ((times == most) & (times > 0) & (label < best))
        best[better], most[better] = label[better], times[better]
    np.testing.assert_array_equal(coarse, best)
    raw = neuclease.fetch_raw("segmentation", (3, 2, 1), (60, 61, 62), np.dtype(np.uint64), scale=1)
    np.testing.assert_array_equal(raw, best[3:60, 2:61, 1:62])


def test_neuclease_asks_for_labels(neuclease: Neuclease, labels: Voxels) -> None:
    points = [(int(z), int(y), int(x)) for z, y, x in np.random.default_rng(6).integers(0, 250, (300, 3))]
    expected = [int(labels[point]) for point in points]
    assert neuclease.fetch_labels("segmentation", points) == expected
    assert neuclease.fetch_label("segmentation", points[0]) == expected[0]
    assert neuclease.fetch_mapping("segmentation", expected[:9]) == expected[:9]
    assert neuclease.fetch_mappings("segmentation").shape == (0, 2)


def test_neuclease_asks_for_bodies(neuclease: Neuclease, sizes: Mapping[int, int], body: int) -> None:
    assert neuclease.fetch_maxlabel("segmentation") == max(sizes)
    assert neuclease.fetch_sizes("segmentation", [*sizes]) == [*sizes.values()]
    assert neuclease.fetch_size("segmentation", body) == sizes[body]
    assert neuclease.fetch_supervoxels("segmentation", body) == [body]
    expected = [list(item) for item in sizes.items()][5:105]
    assert neuclease.fetch_listlabels("segmentation", expected[0][0], 100).tolist() == expected
    assert neuclease.fetch_sparsevol_head("segmentation", body)
    assert not neuclease.fetch_sparsevol_head("segmentation", 2**40)


@pytest.mark.parametrize("scale", [0, 1])
def test_neuclease_finds_the_voxels_of_a_body(
    neuclease: Neuclease, labels: Voxels, sizes: Mapping[int, int], scale: int
) -> None:
    """Of one that many blocks hold a part of."""
    body = sorted(sizes, key=lambda label: sizes[label])[-20]
    if scale:
        labels = neuclease.fetch_labelmap_voxels("segmentation", ORIGIN, (128, 128, 128), scale)
    found, filled = neuclease.fetch_sparsevol("segmentation", body, scale), np.zeros(labels.shape, bool)
    filled[tuple(found.T)] = True
    np.testing.assert_array_equal(filled, labels == body)
    assert len(found) == filled.sum()
    if not scale:
        coarse = neuclease.fetch_sparsevol_coarse("segmentation", body)
        assert as_set(coarse) == as_set(np.unique(found // BLOCK, axis=0))


@pytest.mark.parametrize(("start", "stop"), [((0, 128, 64), (128, 256, 192)), ((64, 128, 192), (128, 192, 256))])
def test_neuclease_reads_jpeg_blocks(
    neuclease: Neuclease, arrays: Mapping[str, Voxels], start: Corner, stop: Corner
) -> None:
    """Many or one; as near to the voxels as Pillow's JPEG of the same quality."""
    grey = padded(arrays["grey"]).T
    found = neuclease.fetch_subvolblocks("grey", start, stop).astype(int)
    expected = grey[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].astype(int)
    assert np.abs(found - expected).mean() <= 1.02 * np.abs(pillows(expected) - expected).mean()


def pillows(voxels: Voxels) -> Voxels:
    """What is left of (z, y, x) blocks as tall pictures."""
    out = np.empty_like(voxels)
    for z, y, x in itertools.product(*(range(0, n, BLOCK) for n in voxels.shape)):
        place = (slice(z, z + BLOCK), slice(y, y + BLOCK), slice(x, x + BLOCK))
        file = io.BytesIO()
        Image.fromarray(voxels[place].reshape(-1, BLOCK).astype(np.uint8)).save(file, "JPEG", quality=80)
        out[place] = np.asarray(Image.open(file)).reshape((BLOCK,) * 3)
    return out


# ---- libdvid ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def libdvid(server: Server) -> Libdvid:
    return Libdvid(server.base, UUID)


def test_libdvid_reads_boxes(libdvid: Libdvid, arrays: Mapping[str, Voxels], labels: Voxels) -> None:
    libdvid.find_server()
    assert libdvid.block_size("grey") == BLOCK
    place = (slice(40, 120), slice(30, 120), slice(20, 120))
    np.testing.assert_array_equal(libdvid.get_gray3d("grey", (80, 90, 100), (40, 30, 20)), arrays["grey"].T[place])
    np.testing.assert_array_equal(libdvid.get_labels3d("segmentation", (80, 90, 100), (40, 30, 20)), labels[place])


def test_neutu_shows_slices(libdvid: Libdvid, arrays: Mapping[str, Voxels]) -> None:
    grey = arrays["plain"].T
    np.testing.assert_array_equal(libdvid.get_slice("plain", "0_1", (30, 20), (7, 5, 3)), grey[7, 5:25, 3:33])
    np.testing.assert_array_equal(libdvid.get_slice("plain", "0_2", (30, 20), (7, 5, 3)), grey[7:27, 5, 3:33])
    np.testing.assert_array_equal(libdvid.get_slice("plain", "1_2", (30, 20), (7, 5, 3)), grey[7:27, 5:35, 3])


@pytest.mark.parametrize("compression", ["lz4", "blocks"])
def test_libdvid_reads_label_blocks(libdvid: Libdvid, labels: Voxels, compression: str) -> None:
    found = libdvid.get_labelblocks3d("segmentation", WHOLE, ORIGIN, compression)
    np.testing.assert_array_equal(pasted(found, ORIGIN, WHOLE, np.uint64), labels)


def test_libdvid_reads_gray_blocks(libdvid: Libdvid, arrays: Mapping[str, Voxels]) -> None:
    plain = padded(arrays["plain"]).T
    wanted: list[Corner] = [(0, 1, 1), (1, 0, 0), (5, 5, 5)]
    libdvid.prefetch_specificblocks3d("plain", wanted)
    found = libdvid.get_specificblocks3d("plain", wanted, np.uint8)
    assert found.keys() == set(wanted[:2])
    for (z, y, x), block in found.items():
        place = (slice(64 * z, 64 * z + 64), slice(64 * y, 64 * y + 64), slice(64 * x, 64 * x + 64))
        np.testing.assert_array_equal(block, plain[place])
    row = libdvid.get_grayblocks("plain", (1, 0, -1), 4)
    assert not row[[0, 3]].any()
    np.testing.assert_array_equal(np.concatenate(row[1:3], axis=2), plain[64:128, :64])
    jpegs = libdvid.get_grayblocks3d_subvol("grey", (64, 64, 128), (64, 0, 64))
    assert jpegs.keys() == {(1, 0, 1), (1, 0, 2)}


def test_libdvid_reads_chosen_label_blocks(libdvid: Libdvid, labels: Voxels) -> None:
    every = [(z, y, x) for z, y, x in np.ndindex(4, 4, 4)]
    found = libdvid.get_specificblocks3d("segmentation", every, np.uint64, scale="0", supervoxels="true")
    np.testing.assert_array_equal(pasted(found, ORIGIN, WHOLE, np.uint64), labels)


# ---- pydvid -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pydvid(server: Server) -> Iterator[Pydvid]:
    with contextlib.closing(HTTPConnection(server.base.removeprefix("http://"), timeout=60)) as connection:
        yield Pydvid(connection, UUID)


def test_pydvid_finds_the_volume(pydvid: Pydvid) -> None:
    assert {"DVID datastore", "Storage driver", "Server uptime"} <= pydvid.get_server_info().keys()
    assert {"grayscale8", "keyvalue"} <= pydvid.get_server_types().keys()
    assert "grey" in pydvid.get_repos_info()[UUID]["DataInstances"]
    deep = pydvid.get_metadata("deep")
    assert (deep.shape, deep.minindex, deep.axiskeys) == ((1, 102, 44, 58), (0, 32, -16, 8), "cxyz")
    assert pydvid.get_metadata("colours").shape == (4, 20, 30, 10)


@pytest.mark.parametrize("throttle", [{}, {"throttle": "on"}], ids=str)
@pytest.mark.parametrize("name", ["plain", "deep", "field", "colours", "segmentation"])
def test_pydvid_reads_boxes(pydvid: Pydvid, arrays: Mapping[str, Voxels], name: str, throttle: dict[str, str]) -> None:
    """From before the volume's begin on, where there are zeros (and nothing shines through)."""
    metadata, array = pydvid.get_metadata(name), arrays[name]
    assert metadata.dtype == array.dtype
    channels = array[None] if array.ndim == 3 else np.moveaxis(array, 3, 0)
    if name == "colours":
        channels = np.concatenate([channels, np.full((1, *array.shape[:3]), 255, np.uint8)])
    start = (0, *(n - 2 for n in metadata.minindex[1:]))
    stop = (metadata.shape[0], *(n - 3 for n in metadata.shape[1:]))
    found = pydvid.get_ndarray(name, start, stop, **throttle)
    np.testing.assert_array_equal(found[:, 2:, 2:, 2:], channels[:, :-3, :-3, :-3])
    assert not found[:3, :2].any()
