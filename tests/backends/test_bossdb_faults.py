"""A BossDB that fails, dawdles, refuses or lies: never as data, never cached, never waited for long."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import blosc
import numpy as np
import pytest

from tests.backends.bosses import annotation, backends_for, entry, experiment, image, open_all, open_channel
from wkdvid.backends.bossdb import connection
from wkdvid.backends.registry import Backends
from wkdvid.core.geometry import Box
from wkdvid.core.secrets import Secrets
from wkdvid.core.volume import Volume
from wkdvid.errors import AuthRejected, BackendError, CorruptChunk, InvalidEntry, UpstreamUnavailable
from wkdvid.testing.bossdb import BossDouble
from wkdvid.testing.volume_suite import check, open_with, read_recovered

CUBOID = Box((0, 0, 0), (512, 40, 16))
NEIGHBOUR = Box((0, 0, 16), (512, 40, 32))
BYTES = CUBOID.voxels


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries: there are many of them here."""
    monkeypatch.setattr(connection, "PAUSES_S", (0.03, 0.05))
    monkeypatch.setattr(connection, "SHORTEST_PAUSE_S", 0.01)


@pytest.fixture
def double() -> Iterator[BossDouble]:
    with BossDouble(experiment(image(), annotation())) as double:
        yield double


def stored(double: BossDouble, box: Box = CUBOID) -> np.ndarray[Any, Any]:
    array = double.experiment.channels[0].array
    x, y, z = (slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
    return array[None, x, y, z]


async def check_recovery(double: BossDouble, volume: Volume) -> None:
    """All is well again: so are both the cuboid that failed and its neighbour."""
    double.faults.fail()
    double.faults.delay_s, double.faults.spoil, double.faults.missing_bytes = 0, bytes, 0
    check(await volume.read(0, CUBOID), stored(double))
    check(await volume.read(0, NEIGHBOUR), stored(double, NEIGHBOUR))
    await volume.aclose()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_two_failures_are_tried_again(double: BossDouble, status: int) -> None:
    """F1, F3, F4"""
    volume = await open_channel(double)
    double.faults.fail(status, status)
    check(await volume.read(0, CUBOID), stored(double))
    check(await volume.read(0, CUBOID), stored(double))
    assert len(double.cutouts) == 3
    await volume.aclose()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_failure_that_lasts_is_no_data(double: BossDouble, status: int) -> None:
    """F2, F4"""
    volume = await open_channel(double)
    double.faults.fail_for_ever(status)
    with pytest.raises(UpstreamUnavailable, match=f"cutout/lab/brain/em/0/.* answers with status {status}$"):
        await volume.read(0, CUBOID)
    assert len(double.cutouts) == 3
    await check_recovery(double, volume)


async def test_retry_after_is_heeded(double: BossDouble) -> None:
    """F3"""
    volume = await open_channel(double)
    double.faults.fail(429)
    double.faults.headers = {"Retry-After": "1"}
    begin = asyncio.get_running_loop().time()
    check(await volume.read(0, CUBOID), stored(double))
    assert asyncio.get_running_loop().time() - begin >= 1
    await volume.aclose()


@pytest.mark.parametrize("status", [401, 403])
async def test_refusal_is_not_tried_again(double: BossDouble, status: int) -> None:
    """F5"""
    volume = await open_channel(double)
    double.faults.fail_for_ever(status)
    with pytest.raises(AuthRejected):
        await volume.read(0, CUBOID)
    assert len(double.cutouts) == 1
    await check_recovery(double, volume)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, CorruptChunk), (413, CorruptChunk), (302, CorruptChunk), (404, UpstreamUnavailable)]
)
async def test_what_a_second_try_would_not_better(double: BossDouble, status: int, kind: type[BackendError]) -> None:
    """A redirect is not followed; a channel that is gone is not one that is empty (F7, F9, F25)."""
    volume = await open_channel(double)
    double.faults.fail_for_ever(status)
    double.faults.headers = {"Location": "http://169.254.169.254/"}
    with pytest.raises(kind, match=f"status {status}"):
        await volume.read(0, CUBOID)
    assert len(double.cutouts) == 1
    await check_recovery(double, volume)


async def test_silence_ends_at_the_deadline(double: BossDouble) -> None:
    """F10"""
    volume = await open_channel(double, backends=backends_for(double, deadline_s=2))
    double.faults.delay_s = 60
    for answer in await asyncio.gather(*(volume.read(0, CUBOID) for _ in range(8)), return_exceptions=True):
        assert isinstance(answer, UpstreamUnavailable)
    double.faults.delay_s = 0
    await read_recovered(volume)
    await check_recovery(double, volume)


async def test_a_byte_at_a_time_ends_at_the_deadline(double: BossDouble) -> None:
    """F11"""
    volume = await open_channel(double, backends=backends_for(double, deadline_s=2))
    double.faults.pause_s = 0.2
    with pytest.raises(UpstreamUnavailable, match=r"no answer within 2 s"):
        await volume.read(0, CUBOID)
    double.faults.pause_s = 0
    await read_recovered(volume)
    await volume.aclose()


async def test_two_hundred_silent_reads_leave_nothing() -> None:
    """F10: neither tasks nor the slots for requests."""
    with BossDouble(experiment(image(size=(2, 2, 200 * 16)))) as double:
        volume = await open_channel(double, backends=backends_for(double, deadline_s=2))
        await volume.read(0, Box((0, 0, 0), (2, 2, 1)))
        before = len(asyncio.all_tasks())
        double.faults.delay_s = 60
        reads = [volume.read(0, Box((0, 0, z), (2, 2, z + 1))) for z in range(16, 3200, 16)]
        for answer in await asyncio.gather(*reads, return_exceptions=True):
            assert isinstance(answer, UpstreamUnavailable)
        double.faults.delay_s = 0
        check(await read_recovered(volume), double.experiment.channels[0].array[None])
        assert len(asyncio.all_tasks()) == before
        await volume.aclose()


async def test_silence_of_the_documents_ends_at_the_deadline(double: BossDouble) -> None:
    double.faults.where, double.faults.delay_s = "/downsample/", 60
    with pytest.raises(UpstreamUnavailable, match=r"no answer within 0\.3 s"):
        await open_channel(double, backends=backends_for(double, deadline_s=0.3))


async def test_host_that_is_gone() -> None:
    """F12"""
    with BossDouble(experiment()) as double:
        volume = await open_channel(double)
    with pytest.raises(UpstreamUnavailable, match="the host cannot be connected to"):
        await volume.read(0, CUBOID)
    await volume.aclose()
    with pytest.raises(UpstreamUnavailable, match=f"http://{double.host}/ .*the host cannot be connected to"):
        await open_channel(double)


async def test_host_that_cannot_speak_tls(double: BossDouble) -> None:
    """F12"""
    options = {**entry(double, channel="em"), "domain": f"https://{double.host}"}
    with pytest.raises(UpstreamUnavailable, match="no secure connection can be made"):
        await open_with(backends_for(double), "boss", options)


async def test_answer_that_breaks_off_is_tried_again_and_not_decoded(double: BossDouble) -> None:
    """F12, F13"""
    volume = await open_channel(double)
    double.faults.missing_bytes = 10
    with pytest.raises(UpstreamUnavailable, match="the source broke off"):
        await volume.read(0, CUBOID)
    assert len(double.cutouts) == 3
    await check_recovery(double, volume)


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda frame: b"",
    "a login page": lambda frame: b"<!DOCTYPE html><html><body>Please log in</body></html>",
    "half a frame": lambda frame: frame[: len(frame) // 2],
    "a byte short": lambda frame: frame[:-1],
    "a byte more": lambda frame: frame + b"\0",
    "voxels one short": lambda frame: blosc.compress(bytes(BYTES - 1), typesize=1),
    "voxels one more": lambda frame: blosc.compress(bytes(BYTES + 1), typesize=1),
    "no voxels": lambda frame: blosc.compress(b"", typesize=1),
    "a bomb": lambda frame: blosc.compress(bytes(1 << 28), typesize=1),
    "far too much": lambda frame: bytes(4 * BYTES),
    "flipped header": lambda frame: bytes([frame[0] ^ 0xFF]) + frame[1:],
}


@pytest.mark.parametrize("fault", SPOILED)
async def test_spoiled_frame_is_no_data(double: BossDouble, fault: str) -> None:
    """F14, F15, F26"""
    volume = await open_channel(double)
    double.faults.spoil = SPOILED[fault]
    with pytest.raises(CorruptChunk, match="cutout/lab/brain/em/0"):
        await volume.read(0, CUBOID)
    assert len(double.cutouts) == 1
    await check_recovery(double, volume)


async def test_each_cuboid_fails_alone(double: BossDouble) -> None:
    volume = await open_channel(double)
    double.faults.where = "/0:16/"
    double.faults.fail_for_ever(503)
    failed, good, outside = await volume.read_all(0, [CUBOID, NEIGHBOUR, Box((600, 0, 0), (632, 32, 32))])
    assert isinstance(failed, UpstreamUnavailable)
    assert not isinstance(good, BackendError)
    check(good, stored(double, NEIGHBOUR))
    assert not isinstance(outside, BackendError)
    assert not outside.any()
    await check_recovery(double, volume)


DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"<html>", "is not valid JSON"),
    "a list": (b"[]", "is not a JSON object"),
    "deep": (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "not valid JSON|nested more than"),
    "large": (b" " * (5 << 20), "sends more than 4194304 bytes"),
    "empty": (b"{}", "expected"),
}


@pytest.mark.parametrize("route", ["/experiment/brain", "/channel/em", "/coord/", "/downsample/"])
@pytest.mark.parametrize("fault", DOCUMENTS)
async def test_documents_that_are_none(double: BossDouble, route: str, fault: str) -> None:
    body, words = DOCUMENTS[fault]
    double.faults.where, double.faults.spoil = route, lambda _: body
    with pytest.raises((CorruptChunk, InvalidEntry), match=words):
        await open_channel(double)


@pytest.mark.parametrize(
    ("route", "changed", "words"),
    [
        ("/experiment/brain", {"channels": "em"}, "channels: expected a list, got 'em'"),
        ("/experiment/brain", {"channels": ["em", "../x"]}, "channels: expected letters"),
        ("/experiment/brain", {"coord_frame": "a/b"}, "coord_frame: expected letters"),
        ("/experiment/brain", {"num_time_samples": 0}, "num_time_samples: expected a whole number, 1 or more, got 0"),
        ("/channel/em", {"datatype": "uint32"}, "datatype: expected one of uint8, uint16, uint64, got 'uint32'"),
        ("/channel/em", {"type": ["image"]}, "type: expected image or annotation"),
        ("/channel/em", {"base_resolution": True}, "base_resolution: expected a whole number"),
        ("/channel/em", {"base_resolution": 3}, "does not describe resolution 3, the base"),
        ("/coord/", {"x_stop": 0}, r"the frame from \(0, 0, 0\) to \(0, 40, 37\) has no voxels"),
        ("/coord/", {"z_start": -1}, r"start: expected three whole numbers \[x, y, z\], 0 or more"),
        ("/coord/", {"y_start": 0.5}, "start: expected three whole numbers"),
        ("/coord/", {"z_stop": 1e300}, "stop: expected three whole numbers"),
        ("/coord/", {"voxel_unit": "furlongs"}, "voxel_unit: unknown unit 'furlongs'"),
        ("/coord/", {"x_voxel_size": 0}, "voxel_size: expected three positive numbers"),
        ("/downsample/", {"voxel_size": []}, "voxel_size: expected an object"),
        (
            "/downsample/",
            {"voxel_size": {"0": [4, 4, 40], "1": [7, 7, 40]}},
            "level 1 has voxels of .* no whole multiple",
        ),
        ("/downsample/", {"extent": {"0": [530, 40, 0]}}, "extent.0: expected three whole numbers"),
        ("/downsample/", {"extent": {"1": [265, 20, 37]}}, "does not describe resolution 0"),
        ("/downsample/", {"cuboid_size": {"0": [512, 512]}}, "cuboid_size.0: expected three whole numbers"),
    ],
)
async def test_documents_that_say_what_cannot_be(
    double: BossDouble, route: str, changed: dict[str, Any], words: str
) -> None:
    double.faults.where = route
    double.faults.spoil = lambda body: json.dumps({**json.loads(body), **changed}).encode()
    with pytest.raises(InvalidEntry, match=words):
        await open_channel(double)


async def test_cuboids_that_would_fill_the_memory_are_not_asked_for(double: BossDouble) -> None:
    """F26"""
    double.faults.where = "/downsample/"
    double.faults.spoil = lambda body: json.dumps(
        {**json.loads(body), "cuboid_size": {str(r): [1 << 50] * 3 for r in range(3)}}
    ).encode()
    volume = await open_channel(double)
    assert max(np.prod(level.chunk_shape) for level in volume.info.levels) <= 1 << 26
    check(await volume.read(0, CUBOID), stored(double))
    await volume.aclose()


# Credentials


PASSWORD = "correct horse"
TOKEN = "f00d" * 10


def secrets(double: BossDouble, *, password: str = PASSWORD, urls: tuple[str, ...] = ()) -> Secrets:
    granted = dict.fromkeys(("$USER", "$PASSWORD", "$TOKEN"), urls or (double.url,))
    return Secrets(granted, {"USER": "jane", "PASSWORD": password, "TOKEN": TOKEN})


@pytest.fixture
def private() -> Iterator[BossDouble]:
    with BossDouble(experiment(image(public=False), image("em2", public=False))) as double:
        double.accounts.tokens.add(TOKEN)
        double.accounts.users["jane"] = PASSWORD
        yield double


def login(double: BossDouble) -> dict[str, Any]:
    return {"username": "$USER", "password": "$PASSWORD", "auth": double.realm}


def keys(double: BossDouble) -> set[str]:
    return {request.headers["Authorization"] for request in double.requests if "/v1/" in request.path}


async def test_token(private: BossDouble) -> None:
    layers = await open_all(private, backends_for(private, secrets=secrets(private)), token="$TOKEN")
    check(await layers["em"].read(0, CUBOID), stored(private))
    assert keys(private) == {f"Token {TOKEN}"}
    await layers["em"].aclose()


async def test_all_layers_log_in_once(private: BossDouble) -> None:
    layers = await open_all(private, backends_for(private, secrets=secrets(private)), **login(private))
    check(await layers["em"].read(0, CUBOID), stored(private))
    assert private.accounts.logins == 1
    assert keys(private) == {"Bearer access-1"}
    (form,) = [request.form for request in private.requests if "openid-connect" in request.path]
    assert form == {"grant_type": "password", "client_id": "endpoint", "username": "jane", "password": PASSWORD}
    await layers["em"].aclose()


async def open_private(double: BossDouble, **options: Any) -> Volume:
    return await open_channel(double, backends=backends_for(double, secrets=secrets(double)), **options)


async def test_token_is_renewed_before_it_expires(private: BossDouble) -> None:
    private.accounts.expires_in_s = 0.4
    volume = await open_private(private, **login(private))
    before, private.accounts.expires_in_s = private.accounts.logins, 300
    await asyncio.sleep(0.5)
    check(await volume.read(0, CUBOID), stored(private))
    assert private.accounts.logins == before + 1
    assert len(private.cutouts) == 1
    await volume.aclose()


async def test_token_that_is_refused_is_renewed_once(private: BossDouble) -> None:
    """F32"""
    volume = await open_private(private, **login(private))
    private.accounts.expire_all()
    boxes = [CUBOID, NEIGHBOUR, Box((512, 0, 0), (530, 40, 16))]
    for found, box in zip(await volume.read_all(0, boxes), boxes, strict=True):
        assert not isinstance(found, BackendError)
        check(found, stored(private, box))
    assert private.accounts.logins == 2
    private.faults.fail_for_ever(401)
    with pytest.raises(AuthRejected):
        await volume.read(0, Box((0, 0, 32), (512, 40, 37)))
    assert private.accounts.logins == 3
    await volume.aclose()


@pytest.mark.parametrize("status", [500, 503, 401])
async def test_login_server_that_fails(private: BossDouble, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """F32: the dataset's status is "credentials", and nothing that is said holds a secret."""
    caplog.set_level(logging.DEBUG)
    volume = await open_private(private, **login(private))
    private.accounts.expire_all()
    private.faults.where = "openid-connect"
    private.faults.fail_for_ever(status)
    with pytest.raises(AuthRejected, match=f"credentials: the login server answers with status {status}") as refused:
        await volume.read(0, CUBOID)
    asked = len([request for request in private.requests if "openid-connect" in request.path])
    with pytest.raises(AuthRejected):
        await volume.read(0, NEIGHBOUR)
    assert len([request for request in private.requests if "openid-connect" in request.path]) == asked
    said = f"{refused.value!r} {refused.value.__cause__!r} {caplog.text}"
    assert PASSWORD not in said
    assert "access-1" not in said
    await volume.aclose()


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"access_token": "a\\nb", "expires_in": 5}', b'{"expires_in": 5}']
)
async def test_login_server_that_gives_no_token(private: BossDouble, body: bytes) -> None:
    private.faults.where, private.faults.spoil = "openid-connect", lambda _: body
    with pytest.raises(AuthRejected, match="the login server's answer holds no token"):
        await open_private(private, **login(private))


async def test_wrong_password(private: BossDouble) -> None:
    backends = backends_for(private, secrets=secrets(private, password="wrong"))
    with pytest.raises(AuthRejected, match="credentials: the login server answers with status 401"):
        await open_channel(private, backends=backends, **login(private))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": TOKEN}, "token: a secret does not stand in an entry: write"),
        ({"username": "jane", "password": PASSWORD}, "username: a secret does not stand in an entry"),
        ({"username": "$USER", "password": PASSWORD}, "password: a secret does not stand in an entry"),
        ({"username": "$USER"}, "password: a secret does not stand in an entry"),
        ({"token": "$TOKEN", "password": "$PASSWORD"}, "either a token, or a username"),
        ({"username": "$USER", "password": "$PASSWORD", "auth": None}, "auth: expected the URL of a Keycloak realm"),
        ({"username": "$USER", "password": "$PASSWORD", "auth": "http://10.1.1.1/"}, "http to '10.1.1.1' is refused"),
    ],
)
async def test_credentials_that_are_refused(private: BossDouble, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEntry, match=words) as refused:
        await open_private(private, **{"auth": private.realm, **options})
    assert PASSWORD not in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("granted", ["/auth/realms/BOSS", "/v1"])
async def test_both_hosts_have_to_be_granted(private: BossDouble, granted: str) -> None:
    backends = backends_for(private, secrets=secrets(private, urls=(private.url + granted,)))
    with pytest.raises(InvalidEntry, match=r"username: \$USER is not granted for http://127\.0\.0\.1"):
        await open_channel(private, backends=backends, **login(private))


async def test_usual_login_host_is_beside_the_api(private: BossDouble) -> None:
    """Nothing is asked of either: the secrets are granted for neither."""
    options = {**entry(private, channel="em"), **login(private), "domain": "https://api.example.org"}
    del options["auth"]
    backends: Backends = backends_for(private, secrets=secrets(private))
    with pytest.raises((InvalidEntry, UpstreamUnavailable), match=r"auth\.example\.org|'api\.example\.org'"):
        await open_with(backends, "boss", options)
