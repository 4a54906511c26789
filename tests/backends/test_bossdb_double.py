"""The stand-in for BossDB: the real client, ``intern``, takes it for one, and it refuses what the server refuses."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import blosc
import imagecodecs
import numpy as np
import pytest
import requests
from intern import array
from intern.convenience.array import _BossDBVolumeProvider
from intern.convenience.uri import parse_fquri
from intern.remote.boss import BossRemote

from tests.backends.arrays import sampled
from tests.backends.bosses import annotation, experiment, image
from wkdvid.core.geometry import Box
from wkdvid.testing.bossdb import BossDouble, Channel, sample_experiment
from wkdvid.tissue import synthesize

PUBLIC = {"Authorization": "Token public"}


@pytest.fixture(scope="module")
def double() -> Iterator[BossDouble]:
    channels = (image(), annotation(), image("em16", "uint16"), image("hidden", public=False))
    with BossDouble(experiment(*channels, start=(3, 0, 7))) as double:
        double.accounts.tokens.add("f00d")
        yield double


@pytest.fixture(scope="module")
def remote(double: BossDouble) -> BossRemote:
    return BossRemote({"protocol": "http", "host": double.host, "token": "public"})


def zyx(channel: Channel) -> np.ndarray[Any, Any]:
    return channel.array.T


def test_intern_lists_and_describes(double: BossDouble, remote: BossRemote) -> None:
    assert remote.list_collections() == ["lab"]
    assert remote.list_experiments("lab") == ["brain"]
    assert remote.list_channels("lab", "brain") == ["em", "ids", "em16"]
    assert remote.list_coordinate_frames() == ["brain_frame"]
    channel = remote.get_channel("ids", "lab", "brain")
    assert (channel.type, channel.datatype, channel.downsample_status) == ("annotation", "uint64", "DOWNSAMPLED")
    assert remote.get_extents(remote.get_experiment("lab", "brain")) == [[3, 533], [0, 40], [7, 44]]
    frame = remote.get_coordinate_frame("brain_frame")
    assert (frame.x_voxel_size, frame.z_voxel_size, frame.voxel_unit) == (4, 40, "nanometers")
    assert remote.get_experiment("lab", "brain").num_hierarchy_levels == 3


@pytest.mark.parametrize("name", ["em", "ids", "em16"])
def test_intern_reads_cutouts(double: BossDouble, remote: BossRemote, name: str) -> None:
    channel = remote.get_channel(name, "lab", "brain")
    whole = remote.get_cutout(channel, 0, [3, 533], [0, 40], [7, 44], parallel=False)
    held = double.experiment.channel(name)
    assert held is not None
    np.testing.assert_array_equal(whole, zyx(held))
    part = remote.get_cutout(channel, 0, [10, 20], [5, 6], [40, 44], time_range=[0, 1], parallel=False)
    np.testing.assert_array_equal(part, zyx(held)[None, 33:37, 5:6, 7:17])


def test_intern_reads_as_an_array(double: BossDouble, remote: BossRemote) -> None:
    volume = array("bossdb://lab/brain/em", volume_provider=_BossDBVolumeProvider(remote))
    np.testing.assert_array_equal(volume[10:14, 0:40, 3:100], zyx(double.experiment.channels[0])[3:7, :, :97])


def test_intern_takes_a_whole_address(double: BossDouble) -> None:
    remote, channel = parse_fquri(f"bossdb://http://{double.host}/lab/brain/em", token="public")
    cutout = remote.get_cutout(channel, 0, [3, 8], [0, 5], [7, 9], parallel=False)
    np.testing.assert_array_equal(cutout, zyx(double.experiment.channels[0])[:2, :5, :5])


def test_intern_with_a_prefix_and_a_token_sees_what_is_private(double: BossDouble) -> None:
    remote = BossRemote({"protocol": "http", "host": f"{double.host}/prefix", "token": "f00d"})
    assert "hidden" in remote.list_channels("lab", "brain")


@pytest.mark.parametrize(("isotropic", "factors"), [(False, (4, 4, 1)), (True, (4, 4, 4))])
def test_intern_reads_coarse_resolutions(isotropic: bool, factors: tuple[int, int, int]) -> None:
    held = image()
    with BossDouble(experiment(held, isotropic=isotropic)) as double:
        remote = BossRemote({"protocol": "http", "host": double.host, "token": "public"})
        expected = sampled(held.array[None], factors)[0]
        x, y, z = expected.shape
        channel = remote.get_channel("em", "lab", "brain")
        cutout = remote.get_cutout(channel, 2, [0, x], [0, y], [0, z], parallel=False)
        np.testing.assert_array_equal(cutout, expected.T)
        document = requests.get(f"{double.url}/latest/downsample/lab/brain/em/", headers=PUBLIC, timeout=10).json()
        assert document["extent"]["2"] == [x, y, z]
        assert document["voxel_size"]["2"] == [16, 16, 40 * factors[2]]
        assert document["cuboid_size"]["2"] == [512, 512, 16]


def get(double: BossDouble, path: str, **headers: str) -> requests.Response:
    return requests.get(f"{double.url}/v1/{path}", headers={**PUBLIC, **headers}, timeout=10)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("cutout/lab/brain/em/0/2:5/0:1/7:8/", 400, 1001),
        ("cutout/lab/brain/em/0/3:534/0:1/7:8/", 400, 1001),
        ("cutout/lab/brain/em/0/5:5/0:1/7:8/", 400, 1001),
        ("cutout/lab/brain/em/1/0:2/0:1/7:8/", 400, 1001),
        ("cutout/lab/brain/em/3/3:5/0:1/7:8/", 400, 1002),
        ("cutout/lab/brain/em/10/3:5/0:1/7:8/", 400, 1002),
        ("cutout/lab/brain/em/0/3:5/0:1/", 400, 1000),
        ("cutout/lab/brain/em/0/3:5/0:1/a:8/", 400, 1000),
        ("cutout/lab/brain/em/0/3:5/0:1/7:8/1:2/", 400, 1000),
        ("cutout/lab/brain/hidden/0/3:5/0:1/7:8/", 403, 3001),
        ("cutout/lab/brain/none/0/3:5/0:1/7:8/", 404, 4000),
        ("collection/none", 404, 4000),
        ("collection/lab/experiment/none", 404, 4000),
        ("collection/lab/other/brain", 400, 1000),
        ("downsample/lab/brain", 400, 1000),
        ("coord/none", 404, 4000),
        ("elsewhere", 400, 9003),
    ],
)
def test_refusals(double: BossDouble, path: str, status: int, code: int) -> None:
    answer = get(double, path, Accept="application/blosc")
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (status, status, code)
    assert answer.json()["message"]


def test_beyond_the_extent_of_a_coarse_resolution_but_within_the_frame_are_zeros(double: BossDouble) -> None:
    answer = get(double, "cutout/lab/brain/em/2/200:210/20:25/7:9/")
    assert blosc.decompress(answer.content) == bytes(10 * 5 * 2)


def test_cutout_that_is_too_large() -> None:
    held = Channel(name="em", array=np.broadcast_to(np.uint16(1), (2048, 2048, 128)))
    with BossDouble(experiment(held)) as double:
        answer = get(double, "cutout/lab/brain/em/0/0:2048/0:2048/0:128/")
        assert (answer.status_code, answer.json()["code"]) == (413, 2000)


def test_anisotropic_voxels_that_differ_in_x_and_y_have_no_description(double: BossDouble) -> None:
    with BossDouble(replace(double.experiment, voxel_size=(4.0, 5.0, 40.0))) as odd:
        answer = get(odd, "downsample/lab/brain/em")
        assert (answer.status_code, answer.json()["code"]) == (400, 9001)


@pytest.mark.parametrize("header", ["", "Token nonsense", "Bearer nonsense", "public"])
def test_bad_credentials(double: BossDouble, header: str) -> None:
    answer = get(double, "collection/", Authorization=header)
    assert answer.status_code == 401
    assert "detail" in answer.json()


def test_encodings(double: BossDouble) -> None:
    box, expected = "10:20/5:15/7:10/", zyx(double.experiment.channels[0])[:3, 5:15, 7:17]
    for accept in ("*/*", "application/blosc"):
        answer = get(double, f"cutout/lab/brain/em/0/{box}", Accept=accept)
        assert answer.headers["Content-Type"] == "application/blosc"
        assert blosc.decompress(answer.content) == expected.tobytes()
    answer = get(double, f"cutout/lab/brain/em/0/{box}", Accept="application/npygz")
    np.testing.assert_array_equal(np.load(io.BytesIO(zlib.decompress(answer.content))), expected)
    answer = get(double, f"cutout/lab/brain/em/0/{box}", Accept="image/jpeg")
    assert imagecodecs.jpeg_decode(answer.content).shape == (30, 10)
    for path, code in ((f"em/0/{box}0:1/", 2005), (f"em16/0/{box}", 2001)):
        answer = get(double, f"cutout/lab/brain/{path}", Accept="image/jpeg")
        assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_keycloak(double: BossDouble) -> None:
    double.accounts.users["jane"] = "pass"
    form = {"grant_type": "password", "client_id": "endpoint", "username": "jane", "password": "pass"}
    for realm in ("boss", "BOSS"):
        url = f"{double.url}/auth/realms/{realm}/protocol/openid-connect"
        grant = requests.post(f"{url}/token", data=form, timeout=10).json()
        bearer = {"Authorization": f"Bearer {grant['access_token']}"}
        assert "hidden" in get(double, "collection/lab/experiment/brain", **bearer).json()["channels"]
        form_out = {"client_id": "endpoint", "refresh_token": grant["refresh_token"]}
        assert requests.post(f"{url}/logout", data=form_out, timeout=10).status_code == 204
        assert get(double, "collection/", **bearer).status_code == 401
        assert requests.post(f"{url}/token", data={**form, "password": "no"}, timeout=10).status_code == 401


def test_requests_are_recorded(double: BossDouble) -> None:
    get(double, "collection/lab?x=1", Accept="text/plain")
    last = double.requests[-1]
    assert (last.method, last.path, last.headers["Accept"]) == ("GET", "/v1/collection/lab", "text/plain")


def test_sample_is_the_tissue() -> None:
    em, cells = sample_experiment((70, 65, 30)).channels
    for channel, voxels in zip((em, cells), synthesize(Box((64, 0, 0), (70, 64, 30))), strict=True):
        np.testing.assert_array_equal(channel.array[64:, :64], voxels)
