from __future__ import annotations

import asyncio
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client.either import Either, opened, value
from tests.dvid.shelf import UUID, Shelf, cut
from wkdvid.client import (
    AsyncClient,
    Busy,
    Client,
    InvalidArgument,
    InvalidSelection,
    Refused,
    VoxelsAccessor,
    VoxelsMetadata,
)

IMAGES = ("ramp", "em16", "em32", "em64", "field", "rgb")
LABELS = ("labels", "cells")


def expected(shelf: Shelf, name: str) -> np.ndarray[Any, Any]:
    """(c, x, y, z) of the instance's type."""
    array = shelf.arrays[name]
    if array.ndim == 4:
        alpha = np.full((*array.shape[:3], 1), 255, np.uint8)
        return np.concatenate((array, alpha), axis=3).transpose(3, 0, 1, 2)
    return (array.astype(np.uint64) if name in LABELS else array)[None]


@pytest.mark.parametrize("name", [*IMAGES, *LABELS])
async def test_a_whole_volume(client: Either, shelf: Shelf, name: str) -> None:
    volume = await opened(client, name)
    wanted = expected(shelf, name)
    found = await value(volume[:])
    assert np.array_equal(found, wanted)
    assert (found.dtype, volume.dtype, volume.shape) == (wanted.dtype, wanted.dtype, wanted.shape)
    assert (volume.minindex, volume.axiskeys, volume.ndim) == ((0, 0, 0, 0), "cxyz", 4)
    assert found.flags.f_contiguous
    assert found.flags.writeable


async def test_metadata_of_the_ramp(client: Either) -> None:  # H9
    metadata = (await opened(client, "ramp")).voxels_metadata
    axes = [(a["Label"], a["Size"], a["Offset"], a["Units"], a["Resolution"]) for a in metadata["Axes"]]
    assert axes == [("X", 100, 0, "nanometers", 8), ("Y", 80, 0, "nanometers", 8), ("Z", 70, 0, "nanometers", 8)]
    assert (metadata.shape, metadata.minindex, metadata.axiskeys) == ((1, 100, 80, 70), (0, 0, 0, 0), "cxyz")
    assert metadata.block_size == (64, 64, 64)
    assert VoxelsMetadata(metadata.to_json()) == metadata


async def test_server_and_repository(client: Either) -> None:
    assert (await value(client.server_info()))["DVID Version"].startswith("v")
    assert "uint8blk" in await value(client.server_types())
    assert (await value(client.repos_info()))[UUID] == await value(client.repo_info(UUID))
    assert await value(client.branch_versions(UUID)) == [UUID]
    assert await value(client.is_locked(UUID)) is True
    assert (await value(client.note(UUID)), await value(client.log(UUID))) == ("", [])
    assert (await value(client.instance_info(f"{UUID[:6]}:master", "ramp")))["Base"]["Name"] == "ramp"


async def test_boxes_beyond_the_volume_hold_zeros(client: Either, shelf: Shelf) -> None:
    volume = await opened(client, "ramp")
    wanted = cut(shelf.arrays["ramp"], (-5, 70, 60), (20, 20, 20))
    assert np.array_equal(await value(volume[0, -5:15, 70:90, 60:80]), wanted)
    moved = await opened(client, "moved")
    assert (moved.minindex, moved.shape) == ((0, -20, 10, -100), (1, 20, 50, -60))
    assert np.array_equal(await value(moved.get_ndarray(moved.minindex, (1, 20, 50, -60))), shelf.moved[None])
    assert np.array_equal(await value(moved[0, -20, 10:50, -100:-60]), shelf.moved[0])


coordinates = st.integers(-12, 52)


@st.composite
def slices(draw: st.DrawFn, count: int) -> tuple[Any, ...]:
    """Of axes of 40 or fewer voxels, and beyond."""
    parts: list[Any] = []
    for _ in range(count):
        start, length = draw(coordinates), draw(st.integers(1, 30))
        step = draw(st.sampled_from((None, 1, 2, 7)))
        parts.append(draw(st.sampled_from((start, slice(start, start + length, step)))))
    return tuple(parts)


ORDERS = st.sampled_from(("cxyz", "zyxc", "zyx"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=slices(3), order=ORDERS, channel=st.sampled_from((0, -1, slice(None), slice(0, 1))))
def test_slicing_is_numpys(shelf: Shelf, sync_client: Client, key: tuple[Any, ...], order: str, channel: Any) -> None:
    """Of an array in which index 0 is coordinate -12, so that numpy counts no negative ones from the end."""
    volume = sync_client.voxels(UUID, "field", order=order)
    padded = cut(shelf.arrays["field"], (-12,) * 3, (120,) * 3)
    moved = tuple(
        part + 12 if isinstance(part, int) else slice(part.start + 12, part.stop + 12, part.step) for part in key
    )
    if order == "cxyz":
        whole, ours, theirs = padded[None], (channel, *key), (channel, *moved)
    elif order == "zyxc":
        whole, ours, theirs = padded.T[..., None], (*key[::-1], channel), (*moved[::-1], channel)
    else:
        whole, ours, theirs = padded.T, key[::-1], moved[::-1]
    wanted = whole[theirs]
    found = volume[ours]
    assert np.array_equal(found, wanted)
    assert np.shape(found) == wanted.shape


async def test_a_volume_larger_than_a_request(client: Either, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkdvid.client.voxels.PIECE_BYTES", 64**3)
    volume = await opened(client, "ramp")
    assert np.array_equal(await value(volume[0, 3:99, -7:80]), cut(shelf.arrays["ramp"], (3, -7, 0), (96, 87, 70)))


async def test_progress_is_shown(client: Either, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    volume = await opened(client, "ramp")
    found = await value(volume.get_ndarray((0, 0, 0, 0), (1, 100, 80, 70), progress=True))
    assert np.array_equal(found[0], shelf.arrays["ramp"])
    assert "100%" in capsys.readouterr().err


def test_orders_types_and_scales(shelf: Shelf, sync_client: Client) -> None:
    ramp, cells = shelf.arrays["ramp"], shelf.arrays["cells"]
    wide = sync_client.voxels(UUID, "ramp", order="zyx", dtype=np.int32)
    found = wide[1:5, ..., 7]
    assert (wide.shape, wide.minindex, wide.axiskeys) == ((70, 80, 100), (0, 0, 0), "zyx")
    assert (found.dtype.name, found.shape) == ("int32", (4, 80))
    assert np.array_equal(found, ramp.T[1:5, ..., 7])
    assert wide[...].flags.c_contiguous
    assert sync_client.voxels(UUID, "rgb", order="zyxc").shape == (10, 20, 30, 4)
    small = sync_client.voxels(UUID, "cells", dtype=np.uint8)
    assert np.array_equal(small[0], cells)
    assert np.array_equal(np.asarray(small), cells[None])
    for name in ("ramp", "cells"):
        half = sync_client.voxels(UUID, name, scale=1)
        size = [-(-n // 2) for n in shelf.arrays[name].shape]
        assert half.shape == (1, *size)
        served = shelf.body(
            f"{'ramp_1' if name == 'ramp' else 'cells'}/raw/0_1_2/{'_'.join(map(str, size))}/0_0_0?scale=1"
        )
        assert half[...].tobytes("F") == served


@pytest.mark.parametrize("compression", ["lz4", "gzip", "google", "googlegzip"])
async def test_compressions_of_labels(client: Either, shelf: Shelf, compression: str) -> None:
    volume = await opened(client, "labels", compression=compression)
    assert np.array_equal(await value(volume[0]), shelf.arrays["labels"])
    assert np.array_equal(await value(volume[0, 5:30, 1, 2:4]), shelf.arrays["labels"][5:30, 1, 2:4])


async def test_labels_at_points(client: Either) -> None:
    labels = client.labels(UUID, "labels")
    between: Any = (12, 4, 3.5)
    for call in (lambda: labels.label(between), lambda: labels.labels([between])):
        with pytest.raises(InvalidSelection):
            await value(call())
    assert await value(labels.label((12, 4, 3))) == 77
    found = await value(labels.labels([(12, 4, 3), (0, 0, 0), (40, 40, 40)]))
    assert (found.dtype.name, found.tolist()) == ("uint64", [77, 0, 10**12])
    assert (await value(labels.labels(np.array([[12, 4, 3]]).tolist()))).tolist() == [77]
    assert (await value(labels.mapping([77]))).tolist() == [77]


async def test_blocks(client: Either, shelf: Shelf) -> None:
    ramp, volume = shelf.arrays["ramp"], await opened(client, "ramp")
    blocks = await value(volume.specificblocks([(1, 1, 1), (0, 0, 0), (9, 9, 9)]))
    assert blocks.keys() == {(0, 0, 0), (1, 1, 1)}
    assert np.array_equal(blocks[1, 1, 1], cut(ramp, (64, 64, 64), (64, 64, 64)))
    whole = await value(volume.subvolblocks((0, 0, 0), (128, 128, 128)))
    assert len(whole) == 8
    assert all(
        np.array_equal(block, cut(ramp, (64 * x, 64 * y, 64 * z), (64,) * 3)) for (x, y, z), block in whole.items()
    )
    jpeg = await value(volume.specificblocks([(0, 0, 0)], compression="jpeg"))
    assert np.abs(jpeg[0, 0, 0].astype(int) - ramp[:64, :64, :64]).max() <= 28
    assert await value(volume.specificblocks([])) == {}
    colors = await value((await opened(client, "rgb")).specificblocks([(0, 0, 0)]))
    assert np.array_equal(colors[0, 0, 0][:, :30, :20, :10], expected(shelf, "rgb"))


async def test_many_blocks_are_asked_for_in_several_requests(
    client: Either, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wkdvid.client.blocks.AT_ONCE", 3)
    volume = await opened(client, "ramp")
    found = await value(volume.specificblocks([(x, y, z) for x in range(2) for y in range(2) for z in range(2)]))
    assert len(found) == 8


@pytest.mark.parametrize("compression", ["", "blocks", "lz4", "gzip", "uncompressed"])
async def test_blocks_of_labels(client: Either, shelf: Shelf, compression: str) -> None:
    volume = await opened(client, "labels")
    for found in (
        await value(volume.specificblocks([(0, 0, 0), (5, 5, 5)], compression=compression)),
        await value(volume.subvolblocks((0, 0, 0), (64, 64, 64), compression=compression)),
    ):
        assert list(found) == [(0, 0, 0)]
        assert np.array_equal(found[0, 0, 0], shelf.arrays["labels"])


@pytest.mark.parametrize("name", [*IMAGES, "labels"])
async def test_slices_as_png(client: Either, shelf: Shelf, name: str) -> None:
    """All bits arrive, whatever the type."""
    volume, whole = await opened(client, name), expected(shelf, name)
    for plane, place, axes in (
        ("xy", (slice(3, 10), slice(2, 7), 5), (0, 1)),
        ("yz", (4, slice(2, 7), slice(1, 9)), (1, 2)),
    ):
        wanted = whole[(slice(None), *place)].T
        size = (wanted.shape[1], wanted.shape[0])
        offset = [part if isinstance(part, int) else part.start for part in place]
        found = await value(volume.read_slice(plane, size, offset))
        assert found.dtype == whole.dtype, axes
        assert np.array_equal(found, wanted[..., 0] if len(whole) == 1 else wanted)


async def test_slices_as_jpeg(client: Either, shelf: Shelf) -> None:
    volume = await opened(client, "ramp")
    image = await value(volume.slice_image("xy", (50, 40), (0, 0, 3), "jpg:95"))
    assert image.startswith(b"\xff\xd8\xff")
    found = await value(volume.read_slice("xy", (50, 40), (0, 0, 3), "jpg:95"))
    assert np.abs(found.astype(int) - shelf.arrays["ramp"][:50, :40, 3].T).mean() < 3
    colors = await opened(client, "rgb")
    assert (await value(colors.read_slice("xy", (30, 20), (0, 0, 0), "jpg"))).shape == (20, 30, 4)


@pytest.mark.parametrize(
    "key",
    [
        (0, 0, 0, 0, 0),
        (..., 0, ...),
        (0, [1, 2]),
        (0, True),
        (0, None),
        (0, slice(5, 5)),
        (0, slice(9, 3)),
        (0, slice(0, 9, -1)),
        (0, slice(0, 9, 0)),
        (1,),
        (-2,),
        (slice(1, 1),),
        1.5,
    ],
)
def test_slicings_that_are_refused(sync_client: Client, key: Any) -> None:
    volume = sync_client.voxels(UUID, "ramp")
    with pytest.raises(InvalidSelection):
        volume[key]


def test_channels_can_be_chosen(shelf: Shelf, sync_client: Client) -> None:
    volume, whole = sync_client.voxels(UUID, "rgb"), expected(shelf, "rgb")
    for channel in (0, 2, -1, slice(0, 4, 2), slice(1, 3), slice(-2, None)):
        assert np.array_equal(volume[channel, 3:9, ..., 2], whole[channel, 3:9, ..., 2])
    assert [channel.shape for channel in volume] == [(30, 20, 10)] * 4


async def test_boxes_that_are_refused(client: Either) -> None:
    volume = await opened(client, "rgb")
    for start, stop in (
        ((0, 0, 0), (4, 9, 9)),
        ((1, 0, 0, 0), (4, 9, 9, 9)),
        ((0, 9, 0, 0), (4, 9, 9, 9)),
        ((0, 0, 0, 0), (4, 9, 9, 9.5)),
    ):
        with pytest.raises(InvalidSelection):
            await value(volume.get_ndarray(start, stop))
    with pytest.raises(InvalidSelection, match="download"):
        await value(volume.get_ndarray((0, 0, 0, 0), (4, 10**5, 10**5, 10**5)))


async def test_arguments_that_are_refused(client: Either) -> None:
    for options in ({"order": "xyz"}, {"compression": "zip"}, {"scale": -1}):
        with pytest.raises(InvalidArgument):
            await opened(client, "rgb", **options)
    with pytest.raises(InvalidArgument, match="zyxc"):
        await opened(client, "rgb", order="zyx")
    with pytest.raises(InvalidArgument, match="'lz4' is of labels; 'ramp' is uint8blk"):
        await opened(client, "ramp", compression="lz4")
    with pytest.raises(InvalidArgument, match="do not fit uint8"):
        await value((await opened(client, "labels", dtype=np.uint8))[:])
    with pytest.raises(InvalidArgument, match="without loss"):
        await value((await opened(client, "field", dtype=np.uint8))[:])
    volume = await opened(client, "ramp")
    with pytest.raises(InvalidArgument, match="lz4"):
        await value(volume.specificblocks([(0, 0, 0)], compression="lz4"))
    with pytest.raises(InvalidArgument, match="plane"):
        await value(volume.slice_image("xyz", (1, 1), (0, 0, 0)))


async def test_what_cannot_be_awaited_says_so(shelf: Shelf) -> None:
    async with AsyncClient(shelf.server.base) as client:
        volume: Any = await client.voxels(UUID, "ramp")
        with pytest.raises(InvalidArgument, match="assignment"):
            volume[...] = 0
        with pytest.raises(InvalidArgument, match="asarray"):
            np.asarray(volume)
        with pytest.raises(InvalidArgument, match="dask"):
            volume.as_dask()


def test_going_through_a_volume_ends(shelf: Shelf, sync_client: Client) -> None:
    """Outside there are zeros, without end."""
    planes = iter(sync_client.voxels(UUID, "rgb", order="zyxc"))
    whole = expected(shelf, "rgb").T
    assert all(np.array_equal(next(planes), plane) for plane in whole)
    assert next(planes, None) is None


async def test_what_the_server_refuses(client: Either) -> None:
    with pytest.raises(Refused) as caught:
        await opened(client, "nothing")
    error = caught.value
    assert (error.status, error.method, error.url) == (400, "GET", f"/api/node/{UUID}/nothing/info")
    assert error.text.startswith("invalid data instance name")
    assert "400 Bad Request: invalid data instance name" in str(error)


def test_both_clients_have_what_can_be_asked(shelf: Shelf) -> None:
    assert "exclusive" in (VoxelsAccessor.get_ndarray.__doc__ or "")
    with Client(shelf.server.base) as client:
        assert repr(client.labels(UUID, "labels")) == f"<Labels {UUID}/labels>"


async def test_throttled_reads_of_a_server_without_slots(client: Either, shelf: Shelf) -> None:
    shelf.server.post("/api/server/settings", json={"throttle": "0"})
    try:
        volume = await opened(client, "ramp", throttle=True)
        with Client(shelf.server.base, retry_timeout=0) as quick, pytest.raises(Busy):
            quick.voxels(UUID, "ramp", throttle=True)[:]
        loop = asyncio.get_running_loop()
        later = loop.run_in_executor(None, lambda: shelf.server.post("/api/server/settings", json={"throttle": "2"}))
        assert (await value(volume[:, :4, :4, :4])).shape == (1, 4, 4, 4)
        await later
    finally:
        shelf.server.post("/api/server/settings", json={"throttle": "8"})


def test_a_client_can_be_sent_to_another_process(shelf: Shelf, sync_client: Client) -> None:
    volume = pickle.loads(pickle.dumps(sync_client.voxels(UUID, "ramp", order="zyx")))
    assert volume[3, 2, 1] == shelf.arrays["ramp"][1, 2, 3]
    volume.transport.close()
