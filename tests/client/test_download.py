from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.client.answers import answering
from tests.client.either import Either, opened, value
from tests.dvid.shelf import UUID, Shelf, cut
from wkdvid.client import Client, InvalidArgument, InvalidSelection, Refused
from wkdvid.client.calls import Call, Reply
from wkdvid.client.transport import HttpxSync

SUFFIXES = ("npy", "zarr")


def read(path: Path) -> np.ndarray[Any, Any]:
    if path.suffix == ".npy":
        array: np.ndarray[Any, Any] = np.load(path)
        return array
    return np.asarray(zarr.open_array(str(path), mode="r")[...])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkdvid.client.voxels.PIECE_BYTES", 64**3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("order", ["cxyz", "zyx"])
async def test_a_volume_on_disk(client: Either, shelf: Shelf, tmp_path: Path, order: str, suffix: str) -> None:
    volume = await opened(client, "ramp", order=order, dtype=np.uint16)
    path = tmp_path / "new" / f"ramp.{suffix}"
    assert await value(volume.download(path)) == path
    ramp = shelf.arrays["ramp"]
    found = read(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, ramp[None] if order == "cxyz" else ramp.T)
    if suffix == "zarr":
        array = zarr.open_array(str(path), mode="r")
        assert (array.attrs["uuid"], array.attrs["resolution"], array.attrs["axes"]) == (
            UUID,
            [8, 8, 8] if order == "zyx" else [1, 8, 8, 8],
            order,
        )
        assert array.chunks == ((64, 64, 64) if order == "zyx" else (1, 64, 64, 64))


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_box_on_disk(client: Either, shelf: Shelf, tmp_path: Path, suffix: str) -> None:
    """Neither its begin nor its end is that of a block, and a part lies outside."""
    volume = await opened(client, "rgb", order="zyxc")
    path = tmp_path / f"box.{suffix}"
    await value(volume.download(str(path), np.array([-5, 3, 2, 0]), (10, 20, 30, 4), progress=True))
    assert np.array_equal(read(path)[..., :3], cut(shelf.arrays["rgb"], (2, 3, -5), (28, 17, 15)).transpose(2, 1, 0, 3))
    moved = await opened(client, "moved")
    await value(moved.download(tmp_path / f"moved.{suffix}"))
    assert np.array_equal(read(tmp_path / f"moved.{suffix}")[0], shelf.moved)


class Counting(HttpxSync):
    """Which boxes are asked for; no more than ``most`` are answered."""

    most = 10**6

    def send(self, call: Call[Any]) -> Reply:
        with self._lock:
            if "/raw/" in call.path:
                if len(self.asked) >= self.most:
                    raise Interrupted
                self.asked.append(call.path)
        return super().send(call)

    def __init__(self, transport: HttpxSync) -> None:
        super().__init__(transport.settings)
        self.asked: list[str] = []
        self._lock = threading.Lock()


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_download_goes_on(shelf: Shelf, sync_client: Client, tmp_path: Path, suffix: str) -> None:
    path, journal = tmp_path / f"ramp.{suffix}", tmp_path / f"ramp.{suffix}.progress"
    volume = sync_client.voxels(UUID, "ramp", order="zyx")
    assert isinstance(volume.transport, HttpxSync)
    volume.transport = first = Counting(volume.transport)
    first.most = 3
    with pytest.raises(Interrupted):
        volume.download(path)
    done = len(journal.read_text().splitlines()) - 1
    assert done == 3
    with journal.open("a") as file:
        file.write("0_0_6")  # a line that was not finished
    volume.transport = second = Counting(first)
    volume.download(path)
    assert len(second.asked) == 8 - done
    assert np.array_equal(read(path), shelf.arrays["ramp"].T)
    volume.transport = third = Counting(first)
    volume.download(path)
    assert third.asked == []
    assert len(journal.read_text().splitlines()) == 9
    for transport in (first, second, third):
        transport.close()


PROGRAM = """
import sys
from wkdvid.client import Client, voxels

voxels.PIECE_BYTES = 64**3
with Client(sys.argv[1], workers=2) as client:
    client.voxels(sys.argv[2], "ramp").download(sys.argv[3])
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_download_goes_on(shelf: Shelf, sync_client: Client, tmp_path: Path, suffix: str) -> None:
    """The process is killed when the server is asked for the fifth piece, of which it never sees the answer."""
    path = tmp_path / f"ramp.{suffix}"
    asked: list[str] = []

    def answer(_: str, target: str, __: bytes) -> tuple[int, bytes]:
        asked.append(target)
        while len(asked) > 5 and program.poll() is None:
            program.send_signal(signal.SIGKILL)
            program.wait()
        return 200, shelf.server.get(target).content

    with answering(answer) as server:
        arguments = [sys.executable, "-c", PROGRAM, server.base, UUID, str(path)]
        program = subprocess.Popen(arguments, start_new_session=True)
        assert program.wait(60) == -signal.SIGKILL
    done = len(Path(f"{path}.progress").read_text().splitlines()) - 1
    assert 0 < done < 8
    volume = sync_client.voxels(UUID, "ramp")
    assert isinstance(volume.transport, HttpxSync)
    volume.transport = counting = Counting(volume.transport)
    volume.download(path)
    counting.close()
    assert len(counting.asked) == 8 - done
    assert np.array_equal(read(path)[0], shelf.arrays["ramp"])


async def test_what_is_not_overwritten(client: Either, tmp_path: Path) -> None:
    volume = await opened(client, "field")
    with pytest.raises(InvalidArgument, match=r"\.npy, \.zarr"):
        await value(volume.download(tmp_path / "field.h5"))
    (tmp_path / "field.npy").write_text("mine")
    with pytest.raises(InvalidArgument, match="exists"):
        await value(volume.download(tmp_path / "field.npy"))
    assert (tmp_path / "field.npy").read_text() == "mine"
    other = tmp_path / "other.npy"
    await value(volume.download(other))
    for box in ((0, 0, 0, 0), (1, 5, 5, 5)), ((0, 5, 0, 0), None):
        with pytest.raises(InvalidArgument, match="another download"):
            await value(volume.download(other, *box))
    for journal in (b"\xff\xfe", b"\xff\xfe\n"):
        (tmp_path / "other.npy.progress").write_bytes(journal)
        with pytest.raises(InvalidArgument, match="progress"):
            await value(volume.download(other))
    empty = client.roi_mask(UUID, "roi")
    with pytest.raises(InvalidSelection, match="no voxels yet"):
        await value(empty.download(tmp_path / "mask.npy"))


async def test_a_failure_is_told_and_what_is_there_stays(client: Either, shelf: Shelf, tmp_path: Path) -> None:
    volume = await opened(client, "ramp")
    volume.name = "ramp/"
    with pytest.raises(Refused):
        await value(volume.download(tmp_path / "ramp.npy"))
    assert (tmp_path / "ramp.npy.progress").read_text().count("\n") == 1


def test_an_array_that_is_gone_is_downloaded_again(shelf: Shelf, sync_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "ramp.npy"
    volume = sync_client.voxels(UUID, "ramp")
    for _ in range(2):
        volume.download(path)
        assert np.array_equal(read(path)[0], shelf.arrays["ramp"])
        path.unlink()


def test_a_box_as_a_dask_array(shelf: Shelf, sync_client: Client) -> None:
    ramp = shelf.arrays["ramp"]
    array: Any = sync_client.voxels(UUID, "ramp", order="zyx").as_dask(chunks=(32, 80, 64))
    assert (array.shape, array.chunks[0], array.dtype) == ((70, 80, 100), (32, 32, 6), np.uint8)
    assert np.array_equal(array.compute(), ramp.T)
    assert np.array_equal(array[5:60:7, ::-1, 3].compute(), ramp.T[5:60:7, ::-1, 3])
    assert np.array_equal(array[[3, 1], 2].compute(), ramp.T[[3, 1], 2])
    moved: Any = sync_client.voxels(UUID, "moved").as_dask()
    assert np.array_equal(moved.compute()[0], shelf.moved)
    box = sync_client.voxels(UUID, "rgb").as_dask((0, 5, 5, 5), (4, 9, 12, 8), chunks=(1, 2, 7, 3))
    assert np.array_equal(box[1:3].compute(), sync_client.voxels(UUID, "rgb")[1:3, 5:9, 5:12, 5:8])
    assert array[5:5].compute().shape == (0, 80, 100)


def test_a_dask_array_is_computed_in_other_processes(shelf: Shelf, sync_client: Client) -> None:
    """As its chunks are pickled there."""
    import pickle

    array = sync_client.voxels(UUID, "ramp").as_dask()
    copy = pickle.loads(pickle.dumps(array))
    assert np.array_equal(copy.compute(scheduler="synchronous")[0], shelf.arrays["ramp"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_array_that_is_another_by_now_is_not_gone_on_with(sync_client: Client, tmp_path: Path, suffix: str) -> None:
    volume, path = sync_client.voxels(UUID, "ramp"), tmp_path / f"ramp.{suffix}"
    corners = ((0, 0, 0, 0), (1, 64, 64, 64))
    volume.download(path, *corners)
    if suffix == "npy":
        np.save(path, np.zeros(3, np.uint8))
    else:
        zarr.create_array(str(path), shape=(3,), dtype="u1", overwrite=True)
    with pytest.raises(InvalidArgument, match="to begin anew"):
        volume.download(path, *corners)
    (path if suffix == "npy" else path / "zarr.json").write_bytes(b"junk")
    with pytest.raises(InvalidArgument, match=path.name):
        volume.download(path, *corners)
