"""Repositories, versions and what is written into them, by both clients and by pydvid's functions, on a real server."""

from __future__ import annotations

import uuid as uuids
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client.either import Either, opened, value
from tests.dvid.shelf import Shelf
from tests.servers import Server, running
from wkdvid.client import (
    Client,
    Denied,
    InvalidArgument,
    InvalidSelection,
    NotFound,
    Refused,
    VoxelsMetadata,
)
from wkdvid.client.pydvid import keyvalue, voxels
from wkdvid.client.pydvid.errors import DvidHttpError


@pytest.fixture
def server(shelf: Shelf) -> Server:
    return shelf.server


async def new_volume(client: Either, dtype: str = "uint8", channels: int = 1, **options: Any) -> tuple[str, Any]:
    """UUID of a new repository, and its volume ``v``."""
    root = await value(client.create_repo("of a test"))
    metadata = VoxelsMetadata.create_default_metadata((channels, 0, 0, 0), dtype, "cxyz", 8.0, "nanometers")
    await value(client.create_new(root, "v", metadata, **options))
    return root, await opened(client, "v", root)


async def test_a_repository_and_its_versions(client: Either) -> None:
    wanted = uuids.uuid4().hex
    root = await value(client.create_repo("an alias", "a description", root=wanted))
    assert root == wanted
    info = await value(client.repo_info(root))
    assert (info["Alias"], info["Description"]) == ("an alias", "a description")
    assert await value(client.is_locked(root)) is False
    with pytest.raises(Refused):
        await value(client.new_version(root))
    await value(client.post_log(root, "one", "two"))
    await value(client.commit(root, "the first"))
    assert [line.partition("  ")[2] for line in await value(client.log(root))] == ["one", "two"]
    assert (await value(client.is_locked(root)), await value(client.note(root))) == (True, "the first")
    child = await value(client.new_version(root, "a child"))
    side = await value(client.new_branch(root, "side"))
    assert await value(client.branch_versions(root)) == [child, root]
    assert await value(client.branch_versions(root, "side")) == [side, root]
    assert await value(client.note(child)) == "a child"
    with pytest.raises(Refused):
        await value(client.create_repo(root=wanted))


@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint8", 1), ("uint16", 1), ("uint32", 1), ("uint64", 1), ("float32", 1), ("uint8", 4)]
)
async def test_what_is_written_is_read(client: Either, dtype: str, channels: int) -> None:
    root, volume = await new_volume(client, dtype, channels)
    assert volume.shape == (channels, None, None, None)
    random = np.random.default_rng(3)
    array = random.integers(1, 200, (channels, 64, 128, 64)).astype(dtype)
    await value(volume.post_ndarray((0, 0, 64, -64), (channels, 64, 192, 0), array))
    assert (volume.minindex, volume.shape) == ((0, 0, 64, -64), (channels, 64, 192, 0))
    again = await opened(client, "v", root)
    assert (again.dtype, again.shape) == (np.dtype(dtype), volume.shape)
    assert np.array_equal(await value(again.get_ndarray(again.minindex, again.shape)), array)
    info = await value(client.instance_info(root, "v"))
    assert (info["Extended"]["BlockSize"], info["Extended"]["VoxelSize"]) == ([64] * 3, [8.0] * 3)


async def test_labels_are_written(client: Either) -> None:
    root, volume = await new_volume(client, "uint64", typename="labelmap")
    array = np.zeros((1, 64, 64, 64), np.uint64)
    array[0, 5:9, 6, 7] = 2**40
    await value(volume.post_ndarray((0, 0, 0, 0), (1, 64, 64, 64), array))
    assert np.array_equal(await value(volume[:]), array)
    assert await value(client.labels(root, "v").label((6, 6, 7))) == 2**40
    await value(volume.post_ndarray((0, 0, 0, 0), (1, 64, 64, 64), array * 2, mutate=True))
    blocks = await value(volume.specificblocks([(0, 0, 0)]))
    assert np.array_equal(blocks[0, 0, 0], array[0] * 2)
    half = await opened(client, "v", root, scale=1)
    assert (await value(half[0, 1:6, 3, 3])).tolist() == [0, 2**41, 2**41, 2**41, 0]
    with pytest.raises(InvalidArgument, match="finest"):
        await value(half.post_ndarray((0, 0, 0, 0), (1, 64, 64, 64), array))


async def test_a_large_box_is_written_in_pieces(client: Either, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkdvid.client.voxels.PIECE_BYTES", 64**3)
    _, volume = await new_volume(client)
    array = np.random.default_rng(4).integers(0, 255, (1, 128, 64, 192)).astype(np.uint8)
    await value(volume.post_ndarray((0, 64, 0, 64), (1, 192, 64, 256), array))
    assert np.array_equal(await value(volume[:, 64:192, 0:64, 64:256]), array)


async def test_a_child_sees_its_parent(client: Either) -> None:
    root, volume = await new_volume(client)
    ones = np.ones((1, 64, 64, 64), np.uint8)
    await value(volume.post_ndarray((0, 0, 0, 0), (1, 64, 64, 64), ones))
    await value(client.commit(root))
    with pytest.raises(Refused, match="locked node"):
        await value(volume.post_ndarray((0, 0, 0, 0), (1, 64, 64, 64), ones))
    child = await value(client.new_version(root))
    later = await opened(client, "v", child)
    assert np.array_equal(await value(later[:]), ones)
    await value(later.post_ndarray((0, 0, 0, 0), (1, 64, 64, 64), 2 * ones))
    assert np.array_equal(await value(later[:]), 2 * ones)
    assert np.array_equal(await value(volume[:]), ones)


def test_assignments(server: Server) -> None:
    with Client(server.base) as client:
        root = client.create_repo()
        metadata = VoxelsMetadata.create_default_metadata((4, 0, 0, 0), "uint8", "cxyz", 1.0, "")
        client.create_new(root, "v", metadata)
        array = np.random.default_rng(5).integers(0, 255, (4, 10, 20, 30)).astype(np.uint8)
        whole = np.zeros((4, 64, 64, 64), np.uint8)
        volume = client.voxels(root, "v")
        volume[:, 0:64, 0:64, 0:64] = whole
        volume[:, 3:13, 4:24, 5:35] = whole[:, 3:13, 4:24, 5:35] = array
        volume[:, 0:64, 9, 0:64] = whole[:, :, 9] = 7
        volume[..., 1] = whole[..., 1] = array[..., :1, 0].max()
        assert np.array_equal(volume[:], whole)
        transposed = client.voxels(root, "v", order="zyxc", dtype=np.int32)
        transposed[2:4, 0:64, 0:64] = np.full((2, 64, 64, 4), 255)
        whole[..., 2:4] = 255
        assert np.array_equal(volume[:], whole)
        refused: list[tuple[Any, Any]] = [
            ((0,), whole[0]),
            ((slice(1, 3),), whole[1:3]),
            ((..., slice(0, 64, 2)), whole[..., ::2]),
        ]
        for key, given_array in refused:
            with pytest.raises(InvalidSelection, match="dense"):
                volume[key] = given_array
        with pytest.raises(InvalidArgument, match="does not fit"):
            volume[:, 0:10, 0:10, 0:10] = np.zeros((4, 10, 10, 11), np.uint8)
        with pytest.raises(InvalidArgument, match="do not fit uint8"):
            volume[:, 0:64, 0:64, 0:64] = whole.astype(np.int16) - 1
        assert np.array_equal(volume[:], whole)


def test_a_server_that_wants_a_token(tmp_path: Path) -> None:
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "a-token-of-administrators"}
    with running(tmp_path, {}, environ=environ) as server:
        for options in (
            {"token": environ["WKDVID_ADMIN_TOKEN"]},
            {"query": {"admintoken": environ["WKDVID_ADMIN_TOKEN"]}},
        ):
            with Client(server.base, **options) as admin:
                root = admin.create_repo("kept")
                admin.create_instance(root, "kv", "keyvalue")
                admin.keyvalue(root, "kv").put("key", b"value")
                with pytest.raises(Refused) as caught:
                    admin.create_repo(root=root)
                assert "a-token" not in f"{caught.value} {caught.value!r} {caught.value.url}"
        with Client(server.base) as anyone:
            assert anyone.keyvalue(root, "kv").get("key") == b"value"
            with pytest.raises(Refused, match="admin"):
                anyone.create_repo()
            with pytest.raises(Denied):
                anyone.keyvalue(root, "kv").put("key", b"other")


async def test_keyvalues(client: Either) -> None:
    root = await value(client.create_repo())
    await value(client.create_instance(root, "kv", "keyvalue"))
    store = client.keyvalue(root, "kv")
    values = {"a b": b"1", "é": bytes(range(256)), "100%?#&+": b"3", "keys": b"4"}
    for key, data in values.items():
        await value(store.put(key, data))
    assert await value(store.keys()) == sorted(values, key=str.encode)
    assert await value(store.keyrange("1", "b")) == ["100%?#&+", "a b"]
    assert {key: await value(store.get(key)) for key in values} == values
    assert await value(store.get_many([*values, "missing"])) == values
    assert (await value(store.has("é")), await value(store.has("e"))) == (True, False)
    await value(store.delete("é"))
    await value(store.delete("é"))
    with pytest.raises(NotFound, match="é"):
        await value(store.get("é"))
    for key in ("", "a/b", ".", ".."):
        with pytest.raises(InvalidArgument, match="slash"):
            await value(store.get(key))


async def test_regions(client: Either) -> None:
    root = await value(client.create_repo())
    await value(client.create_instance(root, "roi", "roi"))
    roi, spans = client.roi(root, "roi"), [[0, 1, 1, 2], [1, 0, 0, 0]]
    await value(roi.put_spans(spans))
    assert (await value(roi.spans())).tolist() == spans
    assert (await value(roi.contains([(32, 32, 0), (31, 31, 31), (5, 6, 40)]))).tolist() == [True, False, True]
    mask = client.roi_mask(root, "roi")
    wanted = np.zeros((96, 64, 64), np.uint8)
    wanted[32:96, 32:64, 0:32] = 1
    wanted[0:32, 0:32, 32:64] = 1
    assert np.array_equal(await value(mask[0, 0:96, 0:64, 0:64]), wanted)
    assert (mask.shape, mask.dtype.name, mask.axiskeys) == ((1, None, None, None), "uint8", "cxyz")
    turned = client.roi_mask(root, "roi", order="zyx")
    assert np.array_equal(await value(turned[0:64, 0:64, 0:96]), wanted.T)
    await value(roi.clear())
    assert len(await value(roi.spans())) == 0


def test_values_and_regions_by_pydvid(server: Server) -> None:
    with Client(server.base) as client:
        root = client.create_repo()
        client.create_instance(root, "roi", "roi")
        client.roi(root, "roi").put_spans([[0, 0, 1, 1]])
    connection = HTTPConnection(server.base.removeprefix("http://"))
    keyvalue.create_new(connection, root, "kv")
    keyvalue.put_value(connection, root, "kv", "greeting", "hello")
    keyvalue.put_value(connection, root, "kv", "other", b"bytes")
    assert keyvalue.get_value(connection, root, "kv", "greeting") == b"hello"
    assert keyvalue.get_value_response(connection, root, "kv", "other").read() == b"bytes"
    keyvalue.del_value(connection, root, "kv", "other")
    assert keyvalue.get_keys(connection, root, "kv") == ["greeting"]
    with pytest.raises(DvidHttpError, match="404"):
        keyvalue.get_value_response(connection, root, "kv", "other")
    assert voxels.RoiMaskAccessor(connection, root, "roi")[0, 30:34, 3, 5].tolist() == [0, 0, 1, 1]
    connection.close()


def quickstart(host: str) -> None:
    """pydvid's, with the names that Python 3 has for print and httplib."""
    import http.client as httplib
    import json

    import numpy

    from wkdvid.client.pydvid import general, voxels

    # Open a connection to DVID
    connection = httplib.HTTPConnection(host, timeout=5.0)

    # Get detailed dataset info: /api/datasets/info
    dataset_details = general.get_repos_info(connection)
    print(json.dumps(dataset_details, indent=4))

    # Create a new remote volume
    uuid = "abcde"
    voxels_metadata = voxels.VoxelsMetadata.create_default_metadata((4, 0, 0, 0), numpy.uint8, "cxyz", 1.0, "")
    voxels.create_new(connection, uuid, "my_volume", voxels_metadata)

    # Use the VoxelsAccessor convenience class to manipulate a particular data volume
    dvid_volume = voxels.VoxelsAccessor(connection, uuid, "my_volume")
    print(dvid_volume.axiskeys, dvid_volume.dtype, dvid_volume.minindex, dvid_volume.shape)

    # Add some data
    updated_data = numpy.ones((4, 100, 100, 100), dtype=numpy.uint8)  # Must include all channels.
    dvid_volume[:, 10:110, 20:120, 30:130] = updated_data
    # OR:
    dvid_volume.post_ndarray((0, 10, 20, 30), (4, 110, 120, 130), updated_data)

    # Read from it (First axis is channel.)
    cutout_array = dvid_volume[:, 10:110, 20:120, 30:130]
    # OR:
    cutout_array = dvid_volume.get_ndarray((0, 10, 20, 30), (4, 110, 120, 130))

    assert isinstance(cutout_array, numpy.ndarray)
    assert cutout_array.shape == (4, 100, 100, 100)
    assert (cutout_array == updated_data).all()
    connection.close()


def test_the_quickstart_of_pydvid(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with Client(server.base) as client:
        root = client.create_repo("quickstart", root="abcde" + uuids.uuid4().hex[5:])
    quickstart(server.base.removeprefix("http://"))
    assert root in (shown := capsys.readouterr().out)
    assert shown.splitlines()[-1] == "cxyz uint8 (0, 0, 0, 0) (4, None, None, None)"


sides = st.tuples(st.integers(-40, 70), st.integers(1, 60))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes=st.lists(st.tuples(sides, sides, sides), min_size=1, max_size=3))
def test_pydvid_writes_boxes_wherever_they_are(server: Server, boxes: list[Any]) -> None:
    with Client(server.base) as client:
        root = client.create_repo()
    connection = HTTPConnection(server.base.removeprefix("http://"))
    metadata = VoxelsMetadata.create_default_metadata((1, 0, 0, 0), np.uint8, "cxyz", 1.0, "")
    voxels.create_new(connection, root, "v", metadata)
    volume, model = voxels.VoxelsAccessor(connection, root, "v"), np.zeros((1, 170, 170, 170), np.uint8)
    for number, box in enumerate(boxes, 1):
        start, size = [a for a, _ in box], [n for _, n in box]
        stop = [a + n for a, n in box]
        volume.post_ndarray((0, *start), (1, *stop), np.full((1, *size), number, np.uint8))
        x, y, z = (slice(a + 40, b + 40) for a, b in zip(start, stop, strict=True))
        model[0, x, y, z] = number
    lows, highs = (
        [min(a for a, _ in side) for side in zip(*boxes, strict=True)],
        [max(a + n for a, n in side) for side in zip(*boxes, strict=True)],
    )
    assert (volume.minindex, volume.shape) == ((0, *lows), (1, *highs))
    assert np.array_equal(volume[:, -40:130, -40:130, -40:130], model)
    connection.close()
