"""Channels of a BossDB, read from the stand-in that the real client accepts (test_bossdb_double)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.arrays import labels, noise
from tests.backends.bosses import (
    SIZE,
    annotation,
    backends_for,
    entry,
    experiment,
    image,
    open_all,
    open_channel,
    stored_levels,
)
from tests.backends.conftest import S3
from tests.volumes import write_precomputed
from wkdvid.backends.bossdb.address import with_address
from wkdvid.backends.opening import Opener
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.volume import Volume
from wkdvid.errors import AuthRejected, InvalidEntry, InvalidRequest
from wkdvid.inspection.inspector import Inspector
from wkdvid.testing.bossdb import BossDouble, Channel, Experiment
from wkdvid.testing.volume_suite import ReadingSuite, StoredLevels, check, make_backends, open_with

ANISOTROPIC: Sequence[Vec3] = ((1, 1, 1), (2, 2, 1), (4, 4, 1))
ISOTROPIC: Sequence[Vec3] = ((1, 1, 1), (2, 2, 2), (4, 4, 4))


@dataclass(frozen=True, kw_only=True)
class Served(StoredLevels):
    double: BossDouble
    options: dict[str, Any]


def served(case: str) -> tuple[Experiment, Sequence[Vec3], dict[str, Any]]:
    """An experiment of one channel, the mags that are served of it, and options of its layer."""
    match case:
        case "uint8, anisotropic, z from 7 on":
            return experiment(image(), start=(0, 0, 7)), ANISOTROPIC, {}
        case "uint16, isotropic":
            return experiment(image(dtype="uint16"), isotropic=True), ISOTROPIC, {}
        case "uint64, frame from 11, 300, 5 on":
            return experiment(annotation("em"), start=(11, 300, 5)), ANISOTROPIC[:1], {}
        case "time series":
            array = np.stack([noise("uint16", SIZE, seed=t)[0] for t in range(3)])
            return experiment(Channel(name="em", array=array), levels=2), ANISOTROPIC[:2], {"t": 2}
    raise ValueError(case)


CASES = (
    "uint8, anisotropic, z from 7 on",
    "uint16, isotropic",
    "uint64, frame from 11, 300, 5 on",
    "time series",
)


class TestBoss(ReadingSuite):
    @pytest.fixture(scope="class", params=CASES)
    @classmethod
    def stored(cls, request: pytest.FixtureRequest) -> Iterator[Served]:
        held, mags, options = served(request.param)
        array = held.channels[0].array
        expected = array if array.ndim == 3 else array[options["t"]]
        with BossDouble(held) as double:
            levels = stored_levels(expected, held.start, mags)
            yield Served(levels=levels, double=double, options=options)

    @pytest.fixture
    async def volume(self, stored: Served) -> AsyncIterator[Volume]:
        volume = await open_channel(stored.double, **stored.options)
        yield volume
        await volume.aclose()


@pytest.fixture
def double() -> Iterator[BossDouble]:
    with BossDouble(experiment(image(), annotation(), image("em16", "uint16"))) as double:
        yield double


async def closed(*volumes: Volume) -> None:
    for volume in volumes:
        await volume.aclose()


async def test_every_channel_is_a_layer(double: BossDouble) -> None:
    layers = await open_all(double)
    infos = {name: volume.info for name, volume in layers.items()}
    assert {name: (info.category, info.dtype.str) for name, info in infos.items()} == {
        "em": ("color", "|u1"),
        "ids": ("segmentation", "<u8"),
        "em16": ("color", "<u2"),
    }
    for info in infos.values():
        assert info.voxel_size_nm == pytest.approx((4, 4, 40))
        assert [level.mag for level in info.levels] == list(ANISOTROPIC)
        assert [level.extent for level in info.levels] == [
            Box((0, 0, 0), stop) for stop in ((530, 40, 37), (265, 20, 37), (133, 10, 37))
        ]
        assert (info.levels[0].chunk_shape, info.levels[0].chunk_origin) == ((512, 512, 16), (0, 0, 0))
        assert info.notes == ()
    largest = double.experiment.channels[1].array
    assert largest.max() > 2**63
    check(await layers["ids"].read(0, Box((0, 0, 0), SIZE)), largest[None])
    assert {request.headers["Authorization"] for request in double.requests} == {"Token public"}
    await closed(*layers.values())


async def test_channels_that_the_entry_lists(double: BossDouble) -> None:
    assert list(await open_all(double, channels=["em16", "em"])) == ["em16", "em"]
    with pytest.raises(InvalidEntry, match=r"boss\.lab\.data: channels: .*no channel 'nothing'; it has em, ids, em16"):
        await open_all(double, channels=["nothing"])
    with pytest.raises(InvalidEntry, match="channel: is an option of a layer"):
        await open_all(double, channel="em")
    wrong: object
    for wrong in ("em", [], {"em": 1}):
        with pytest.raises(InvalidEntry, match="channels: expected a list of names, at least one"):
            await open_all(double, channels=wrong)


async def test_layers_that_the_entry_names(double: BossDouble) -> None:
    layers = {"grey": {"channel": "em", "voxel_size": [8, 8, 80]}, "ids": {"type": "image"}}
    found = await open_all(double, layers=layers)
    assert {name: (v.info.category, v.info.voxel_size_nm) for name, v in found.items()} == {
        "grey": ("color", (8, 8, 80)),
        "ids": ("color", (4, 4, 40)),
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"domain": "s3://bucket/x"}, "domain: expected the URL"),
        ({"domain": None}, "domain: expected the URL"),
        ({"domain": "https://host/?key=1"}, "domain: expected the URL"),
        ({"domain": "http://10.0.0.1"}, "http to '10.0.0.1' is refused"),
        ({"domain": "https://127.0.0.1:1"}, "not on the public internet"),
        ({"collection": "../x"}, "collection: expected letters"),
        ({"collection": "elsewhere"}, "no such experiment"),
        ({"experiment": 7}, "experiment: expected letters"),
        ({"experiment": "größe"}, "experiment: expected letters"),
        ({"channel": "nothing"}, "no such channel 'nothing'"),
        ({"channel": "em?x=1"}, "channel: expected letters"),
        ({"t": 1}, "t: expected a whole number from 0 to 0, got 1"),
        ({"t": True}, "t: expected a whole number"),
    ],
)
async def test_entries_that_do_not_fit(double: BossDouble, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEntry, match=words):
        await open_with(backends_for(double), "boss", {**entry(double, channel="em"), **options})


async def test_requests_are_cuboids_within_the_frame(double: BossDouble) -> None:
    volume = await open_channel(double)
    check(await volume.read(0, Box((500, -8, 8), (532, 24, 40))), padded(double, Box((500, -8, 8), (532, 24, 40))))
    xs, zs = ("0:512", "512:530"), ("0:16", "16:32", "32:37")
    assert sorted(double.cutouts) == sorted(f"/v1/cutout/lab/brain/em/0/{x}/0:40/{z}/" for x in xs for z in zs)
    await closed(volume)


def padded(double: BossDouble, box: Box) -> np.ndarray[Any, Any]:
    return stored_levels(double.experiment.channels[0].array, (0, 0, 0), ANISOTROPIC)[0].cut(box)


async def test_many_readers_of_a_cuboid_ask_once(double: BossDouble) -> None:
    volume = await open_channel(double)
    box = Box((3, 4, 5), (35, 36, 30))
    for array in await asyncio.gather(*(volume.read(0, box) for _ in range(64))):
        check(array, padded(double, box))
    assert sorted(double.cutouts) == [f"/v1/cutout/lab/brain/em/0/0:512/0:40/{z}/" for z in ("0:16", "16:32")]
    await volume.read(0, Box((100, 0, 0), (132, 32, 32)))
    assert len(double.cutouts) == 2
    await closed(volume)


async def test_opening_again_sees_what_changed(double: BossDouble) -> None:
    backends = backends_for(double)
    box = Box((0, 0, 0), SIZE)
    before = await open_channel(double, backends=backends)
    check(await before.read(0, box), double.experiment.channels[0].array[None])
    changed = Channel(name="em", array=noise("uint8", SIZE, seed=1)[0])
    double.experiment = replace(double.experiment, channels=(changed,))
    after = await open_channel(double, backends=backends)
    check(await after.read(0, box), changed.array[None])
    await closed(after)


async def test_what_is_let_go_can_be_read_and_leaves_nothing(double: BossDouble) -> None:
    backends = backends_for(double)
    before = await open_channel(double, backends=backends)
    after = await open_channel(double, backends=backends)
    await closed(after, after)
    check(await before.read(0, Box((0, 0, 0), SIZE)), double.experiment.channels[0].array[None])
    del before  # what is left of its session ends with the loop, or a warning fails this test


async def test_large_cuboids_are_asked_for_in_parts(double: BossDouble) -> None:
    limits = Limits(chunk_bytes=MIB)
    volume = await open_channel(double, "ids", make_backends(http_hosts=[double.host], limits=limits))
    assert volume.info.levels[0].chunk_shape == (128, 64, 16)
    check(await volume.read(0, Box((0, 0, 0), SIZE)), double.experiment.channels[1].array[None])
    await closed(volume)


@pytest.mark.parametrize("status", ["NOT_DOWNSAMPLED", "QUEUED", "IN_PROGRESS", "FAILED"])
async def test_channel_that_is_not_downsampled_serves_its_base(status: str) -> None:
    with BossDouble(experiment(image(downsample_status=status))) as double:
        volume = await open_channel(double)
        assert [level.mag for level in volume.info.levels] == [(1, 1, 1)]
        assert volume.info.notes == ("The channel is not downsampled: its base resolution is served alone.",)
        check(await volume.read(0, Box((0, 0, 0), SIZE)), double.experiment.channels[0].array[None])
        await closed(volume)


async def test_base_that_is_coarser_than_the_frame() -> None:
    channel = annotation(base_resolution=1)
    with BossDouble(experiment(channel)) as double:
        volume = await open_channel(double, "ids")
        assert volume.info.voxel_size_nm == pytest.approx((8, 8, 40))
        assert [level.mag for level in volume.info.levels] == [(1, 1, 1), (2, 2, 1)]
        for i, level in enumerate(stored_levels(channel.array, (0, 0, 0), ANISOTROPIC)[1:]):
            check(await volume.read(i, level.extent), level.array)
        await closed(volume)


async def test_coarse_levels_of_which_the_server_refuses_a_part_are_left_out() -> None:
    """It would be black there, though there is something."""
    with BossDouble(experiment(image(), start=(10, 0, 0))) as double:
        volume = await open_channel(double)
        assert [level.extent for level in volume.info.levels] == [Box((10, 0, 0), (540, 40, 37))]
        (note,) = volume.info.notes
        assert "begins at (10, 0, 0)" in note
        assert "2 of them are not served" in note
        await closed(volume)


async def test_voxels_that_differ_in_x_and_y_have_no_pyramid() -> None:
    """The server cannot describe one."""
    with BossDouble(experiment(image(), voxel_size=(0.5, 0.25, 2.0), voxel_unit="micrometers")) as double:
        volume = await open_channel(double)
        assert (volume.info.voxel_size_nm, len(volume.info.levels)) == ((500, 250, 2000), 1)
        assert volume.info.notes == (
            "The server does not describe the pyramid: its finest resolution is served alone.",
        )
        check(await volume.read(0, Box((0, 0, 0), SIZE)), double.experiment.channels[0].array[None])
        await closed(volume)


async def test_time_series_says_which_time_is_served() -> None:
    array = np.stack([noise("uint8", SIZE, seed=t)[0] for t in range(2)])
    with BossDouble(experiment(Channel(name="em", array=array))) as double:
        volume = await open_channel(double)
        assert volume.info.notes == ("The source has 2 time points; t = 0 is served.",)
        check(await volume.read(0, Box((0, 0, 0), SIZE)), array[:1])
        assert double.cutouts[0].endswith("/0:1/")
        with pytest.raises(InvalidEntry, match="t: expected a whole number from 0 to 1, got 2"):
            await open_channel(double, t=2)
        await closed(volume)


async def test_cloudvol_channels_are_read_from_their_bucket(tmp_path: Path, s3: S3) -> None:
    ids = labels("uint32", (70, 66, 20))[0]
    bucket, _, folder = s3.upload(write_precomputed(tmp_path, [((1, 1, 1), ids)])).removeprefix("s3://").partition("/")
    channel = replace(image("ids", "uint32"), type="annotation", storage_type="cloudvol", bucket=bucket, cv_path=folder)
    with BossDouble(experiment(image(), channel)) as double:
        backends = make_backends(http_hosts=[double.host], s3=s3.options)
        layers = await open_all(double, backends)
        assert (layers["ids"].info.format, layers["ids"].info.category) == ("precomputed", "segmentation")
        check(await layers["ids"].read(0, Box((0, 0, 0), (70, 66, 20))), ids[None])
        assert double.cutouts == []
        await closed(*layers.values())


@pytest.mark.parametrize("bucket", [None, "", "../x", "s3:///"])
async def test_cloudvol_channel_without_a_bucket_is_refused(bucket: str | None) -> None:
    held = experiment(image(storage_type="cloudvol", bucket=bucket, cv_path="x"))
    with BossDouble(held) as double, pytest.raises(InvalidEntry, match="bucket"):
        await open_channel(double)


async def test_private_channels_are_not_seen_by_the_public() -> None:
    with BossDouble(experiment(image(public=False), annotation())) as double:
        assert list(await open_all(double)) == ["ids"]
        with pytest.raises(AuthRejected, match="refuses to be read with these credentials"):
            await open_channel(double)


ADDRESSES = {
    "boss://{url}/lab/brain": ["em", "ids"],
    "boss://{url}/lab/brain/ids": ["ids"],
    "{url}/v1/collection/lab/experiment/brain/": ["em", "ids"],
    "{url}/v1/collection/lab/experiment/brain/channel/em": ["em"],
}


@pytest.mark.parametrize("address", ADDRESSES)
async def test_an_address_instead_of_names(address: str) -> None:
    with BossDouble(experiment(image(), annotation())) as double:
        source = address.format(url=double.url)
        opener = Opener(Guard((), frozenset({double.host})), Limits(), pool_bytes=MIB, deadline_s=20)
        found = await Inspector(opener).inspect({"source": source})
        assert found.backend == "boss"
        assert [layer.info.name for layer in found.layers] == ADDRESSES[address]
        volumes = await open_with(backends_for(double), "boss", {"source": source, "channel": "ids"})
        assert [volume.info.dtype.name for volume in volumes] == ["uint64"]
        await volumes[0].aclose()
        await found.aclose()


def test_a_host_alone_is_asked_over_https() -> None:
    options = with_address({"source": "boss://api.bossdb.io/Kasthuri/ac4", "t": 1})
    named = {"domain": "https://api.bossdb.io", "collection": "Kasthuri", "experiment": "ac4"}
    assert options == {**named, "t": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": 3}, "expected boss://HOST"),
        ({"source": "boss://api.bossdb.io/lab"}, "expected boss://HOST"),
        ({"source": "boss://gs://bucket/lab/brain"}, "expected boss://HOST"),
        ({"source": "https://api.bossdb.io/v1/collection/lab"}, "expected boss://HOST"),
        ({"source": "boss://api.bossdb.io/lab/brain", "domain": "https://h"}, "leave out domain"),
    ],
)
def test_addresses_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        with_address(options)
