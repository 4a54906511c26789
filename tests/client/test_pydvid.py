"""Scripts written for pydvid, but for their import lines and what Python 3 calls ``http.client``."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import numpy as np
import pytest

from tests.client.answers import Answer, answering
from tests.dvid.shelf import UUID, Shelf, cut, wire_bytes
from wkdvid.client.pydvid import general, keyvalue, voxels
from wkdvid.client.pydvid.dvid_connection import DvidConnection
from wkdvid.client.pydvid.errors import DvidHttpError, UnexpectedResponseError
from wkdvid.client.pydvid.voxels import RoiMaskAccessor, VoxelsAccessor, VoxelsMetadata, VoxelsNddataCodec


@pytest.fixture
def connection(shelf: Shelf) -> Iterator[HTTPConnection]:
    connection = HTTPConnection(shelf.server.base.removeprefix("http://"), timeout=60)
    yield connection
    connection.close()


def test_general(connection: HTTPConnection) -> None:
    assert "DVID datastore" in general.get_server_info(connection)
    assert {"grayscale8", "keyvalue"} <= general.get_server_types(connection).keys()
    assert UUID in general.get_repos_info(connection)


def test_reading(shelf: Shelf, connection: HTTPConnection) -> None:
    ramp = shelf.arrays["ramp"]
    volume = VoxelsAccessor(connection, UUID, "ramp", query_args={"attenuation": 3}, throttle=True)
    assert (volume.shape, volume.minindex, volume.dtype.name, volume.axiskeys) == (
        (1, 100, 80, 70),
        (0,) * 4,
        "uint8",
        "cxyz",
    )
    assert (volume.uuid, volume.data_name, volume.voxels_metadata["Axes"][0]["Label"]) == (UUID, "ramp", "X")
    assert np.array_equal(volume[...], ramp[None])
    assert np.array_equal(volume[0, 3:50:7, 9], ramp[3:50:7, 9])
    start, stop = (0, -1, 2, 3), (1, 20, 30, 40)
    wanted = cut(ramp, (-1, 2, 3), (21, 28, 37))[None]
    assert np.array_equal(volume.get_ndarray(start, stop), wanted)
    metadata = voxels.get_metadata(connection, UUID, "ramp")
    assert metadata == volume.voxels_metadata
    found = voxels.get_ndarray(connection, UUID, "ramp", "raw", metadata, np.array(start), np.array(stop), {}, False)
    assert np.array_equal(found, wanted)
    response = voxels.get_subvolume_response(connection, UUID, "ramp", "raw", start, stop, throttle=True)
    assert response.read() == wire_bytes(wanted[0])
    jpeg = voxels.get_subvolume_response(connection, UUID, "ramp", "raw", start, stop, "jpeg", {"app": "x"})
    assert jpeg.read().startswith(b"\xff\xd8")


def test_errors(connection: HTTPConnection) -> None:
    with pytest.raises(DvidHttpError) as caught:
        voxels.get_metadata(connection, UUID, "nothing")
    error = caught.value
    assert (error.status_code, error.reason, error.method) == (400, "Bad Request", "GET")
    assert error.request_uri == f"/api/node/{UUID}/nothing/metadata"
    assert error.response_body.startswith("invalid data instance name")
    assert "While attempting" in str(error)
    assert error.response_body in str(error)
    with pytest.raises(DvidHttpError):
        voxels.get_subvolume_response(connection, UUID, "nothing", "raw", (0, 0, 0, 0), (1, 1, 1, 1))
    assert general.get_repos_info(connection), "the connection can be used after a failure"


METADATA = VoxelsMetadata.create_default_metadata((1, 10, 10, 10), np.uint8, "cxyz", 1.0, "")


def test_a_busy_server() -> None:
    with answering(lambda *_: (503, b"busy")) as server:
        connection = HTTPConnection(server.base.removeprefix("http://"))
        for timeout, attempts in ((0, 1), (0.1, 2)):
            volume = VoxelsAccessor(
                connection, "abc", "v", retry_timeout=timeout, retry_interval=0.02, _metadata=METADATA
            )
            with pytest.raises(VoxelsAccessor.ThrottleTimeoutException) as caught:
                volume[:]
            assert caught.value.attempts >= attempts
            with pytest.raises(VoxelsAccessor.ThrottleTimeoutException):
                volume.post_ndarray((0,) * 4, (1,) * 4, np.ones((1,) * 4, np.uint8))
        with pytest.raises(DvidHttpError, match="503"):
            general.get_server_info(connection)
        with pytest.raises(DvidHttpError, match="503"):
            VoxelsAccessor(connection, "abc", "v", retry_timeout=0)
        connection.close()


def test_bodies_that_are_no_answers() -> None:
    def answer(_: str, target: str, __: bytes) -> Answer:
        return 200, bytes(1001) if "/raw/" in target else b"{"

    with answering(answer) as server:
        connection = HTTPConnection(server.base.removeprefix("http://"))
        with pytest.raises(UnexpectedResponseError, match="longer than 1000"):
            voxels.get_ndarray(connection, "abc", "v", "raw", METADATA, (0, 0, 0, 0), (1, 10, 10, 10))
        with pytest.raises(UnexpectedResponseError):
            general.get_server_info(connection)
        connection.close()


def test_requests_are_those_of_pydvid() -> None:
    """For a server of its time: names, paths and bodies (dvid.md E2)."""
    bodies: list[bytes] = []

    def answer(method: str, target: str, body: bytes) -> Answer:
        bodies.append(body)
        return 200, b'["a"]' if target.endswith("/keys") else b"\1\1"

    with answering(answer) as server:
        connection = HTTPConnection(server.base.removeprefix("http://"))
        metadata = VoxelsMetadata.create_default_metadata((4, 0, 0, 0), np.uint8, "cxyz", 1.0, "")
        voxels.create_new(connection, "abc", "v", metadata)
        keyvalue.create_new(connection, "abc", "kv")
        keyvalue.put_value(connection, "abc", "kv", "a key", "text é")
        keyvalue.put_value(connection, "abc", "kv", "b", io.BytesIO(b"stream"))
        assert keyvalue.get_value(connection, "abc", "kv", "b") == b"\1\1"
        assert keyvalue.get_value_response(connection, "abc", "kv", "b").read() == b"\1\1"
        assert keyvalue.get_keys(connection, "abc", "kv") == ["a"]
        keyvalue.del_value(connection, "abc", "kv", "b")
        mask = RoiMaskAccessor(connection, "abc", "roi", throttle=True)
        assert mask[0, 5:7, 3, -1].tolist() == [1, 1]
        connection.close()
    assert server.asked == [
        "POST /api/repo/abc/instance",
        "POST /api/repo/abc/instance",
        "POST /api/node/abc/kv/key/a%20key",
        "POST /api/node/abc/kv/key/b",
        "GET /api/node/abc/kv/key/b",
        "GET /api/node/abc/kv/key/b",
        "GET /api/node/abc/kv/keys",
        "DELETE /api/node/abc/kv/key/b",
        "GET /api/node/abc/roi/mask/0_1_2/2_1_1/5_3_-1?throttle=on",
    ]
    assert json.loads(bodies[0]) == {
        "dataname": "v",
        "typename": "rgba8",
        "BlockSize": "32,32,32",
        "VoxelSize": "1.0,1.0,1.0",
        "VoxelUnits": "nanometers,nanometers,nanometers",
    }
    assert json.loads(bodies[1]) == {"dataname": "kv", "typename": "keyvalue"}
    assert bodies[2:4] == ["text é".encode(), b"stream"]


def test_a_connection_for_each_thread(shelf: Shelf) -> None:
    connection = DvidConnection(shelf.server.base.removeprefix("http://"), timeout=60)
    found: list[bool] = []

    def read() -> None:
        volume = VoxelsAccessor(connection, UUID, "ramp")  # type: ignore[arg-type]
        found.extend(np.array_equal(volume[:], shelf.arrays["ramp"][None]) for _ in range(5))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20
    connection.close()


def test_the_codec() -> None:
    array = np.arange(4 * 3 * 2 * 5, dtype=np.uint16).reshape(4, 3, 2, 5)
    codec = VoxelsNddataCodec(np.uint16)
    stream = codec.create_encoded_stream_from_ndarray(array)
    assert np.array_equal(codec.decode_to_ndarray(stream, array.shape), array)
    assert stream.read() == b""
    sent = io.BytesIO()
    codec.encode_from_ndarray(sent, array)
    assert sent.getvalue() == array.tobytes("F")
    assert codec.calculate_buffer_len(array.shape) == len(sent.getvalue())
    with pytest.raises(ValueError, match="uint8"):
        codec.encode_from_ndarray(sent, array.astype(np.uint8))
    with pytest.raises(ValueError, match="expected"):
        codec.decode_to_ndarray(io.BytesIO(b"short"), (1, 9))


class Dataset:
    """As h5py's are: that much of them."""

    def __init__(self, attrs: dict[str, str]) -> None:
        self.attrs, self.shape, self.dtype = attrs, (1, 10, 10, 10), np.dtype(np.uint8)


def test_metadata_of_a_dataset_of_hdf5() -> None:
    assert VoxelsMetadata.create_from_h5_dataset(Dataset({})) == METADATA
    other = VoxelsMetadata.create_default_metadata((4, 5, 6, 7), np.uint8, "cxyz", 8.0, "nanometers")
    assert VoxelsMetadata.create_from_h5_dataset(Dataset({"dvid_metadata": other.to_json()})) == other
