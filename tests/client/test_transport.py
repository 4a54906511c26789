from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.answers import Answer, answering
from tests.client.either import Either, opened, value
from wkdvid.client import (
    AsyncClient,
    Busy,
    Client,
    ConnectionFailed,
    Denied,
    DvidError,
    HttpError,
    InvalidArgument,
    NotFound,
    ThrottleTimeoutException,
    UnexpectedResponse,
)
from wkdvid.client.calls import Call, Each, Reply
from wkdvid.client.decoding import octets
from wkdvid.client.retry import LONGEST_PAUSE_S, Retry, answered


def clients(base: str, **options: Any) -> list[Either]:
    return [Client(base, **options), AsyncClient(base, **options)]


async def close(client: Either) -> None:
    if isinstance(client, Client):
        client.close()
    else:
        await client.aclose()


async def test_a_busy_server_is_asked_again() -> None:
    statuses = iter([503, 503, 200] * 2)
    with answering(lambda *_: (next(statuses), b'{"a": "b"}')) as server:
        for client in clients(server.base, retry_interval=0.01):
            assert await value(client.server_info()) == {"a": "b"}
            await close(client)
        assert server.asked == ["GET /api/server/info?app=wkdvid.client"] * 6


async def test_a_server_that_stays_busy_is_given_up() -> None:
    with answering(lambda *_: (503, b"Server already running 1 throttled operations")) as server:
        for client in clients(server.base, retry_timeout=0.2, retry_interval=0.05):
            with pytest.raises(ThrottleTimeoutException, match="throttled operations") as caught:
                await value(client.server_info())
            assert caught.value.attempts > 1
            assert caught.value.waited_s >= 0.2
            await close(client)
        asked = len(server.asked)
        for client in clients(server.base, retry_timeout=0):
            with pytest.raises(Busy, match="asked 1 times"):
                await value(client.server_info())
            await close(client)
        assert len(server.asked) == asked + 2


def test_pauses_grow_with_a_jitter_and_end_in_time() -> None:
    retry = Retry(timeout_s=1000, interval_s=0.2)
    for attempt in range(1, 60):
        longest = min(0.2 * 2 ** (attempt - 1), LONGEST_PAUSE_S)
        pauses = {retry.pause_s(attempt, 0) for _ in range(20)}
        assert len(pauses) > 1
        assert all(longest / 2 <= pause <= 1.5 * longest for pause in pauses)
    assert retry.pause_s(50, 999.5) == 0.5


def test_a_server_that_is_busy_for_long_is_warned_of() -> None:
    steps = answered(Call(action="try", path="/", decode=octets), Retry(timeout_s=10, interval_s=0.001, warning_s=-1))
    next(steps)
    with pytest.warns(UserWarning, match="busy for"):
        steps.send(Reply(503, "busy", bytearray()))
    steps.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, HttpError), (401, Denied), (403, Denied), (404, NotFound), (500, HttpError), (302, HttpError)],
)
async def test_statuses_are_errors_of_their_kind(status: int, kind: type[HttpError]) -> None:
    with answering(lambda *_: (status, b"why " * 10_000)) as server:
        for client in clients(server.base, token="a secret", query={"admintoken": "another"}):
            with pytest.raises(kind) as caught:
                await value(client.server_info())
            assert (caught.value.status, len(caught.value.body)) == (status, 10_000)
            assert len(str(caught.value)) < 1000
            assert not {"secret", "another"} & set(repr(caught.value).replace("=", " ").split())
            assert pickle.loads(pickle.dumps(caught.value)).status == status
            await close(client)
        assert server.asked[0] == "GET /api/server/info?app=wkdvid.client&admintoken=another"
        assert server.headers[0]["Authorization"] == "Bearer a secret"


BAD: list[bytes] = [b"", b"[]", b"{", b"\xff", b'{"Base": 1}', b'{"Base": {"TypeName": 3}}', b"9" * 5000, b"[" * 10**5]
NO_LABELS = (b"[-1]", b"[1.5]", b'["5"]', b"[true]", b"[18446744073709551616]", b"[1, 2]", b"[[1]]", b"{}")


@pytest.mark.parametrize("body", BAD, ids=lambda body: body[:12].decode("latin-1"))
async def test_bodies_that_are_no_answers(body: bytes) -> None:
    with answering(lambda *_: (200, body)) as server:
        for client in clients(server.base):
            with pytest.raises(UnexpectedResponse):
                await opened(client, "name", "abc")
            if body != b"[]":
                with pytest.raises(UnexpectedResponse):
                    await value(client.labels("abc", "name").labels([(1, 2, 3)]))
            await close(client)


async def test_labels_that_are_none() -> None:
    bodies = iter(NO_LABELS * 2)
    with answering(lambda *_: (200, next(bodies))) as server:
        for client in clients(server.base):
            for _ in NO_LABELS:
                with pytest.raises(UnexpectedResponse):
                    await value(client.labels("abc", "name").sizes([1]))
            await close(client)


INFO = b"""{"Base": {"TypeName": "uint8blk"}, "Extended": {"Values": [{"DataType": "uint8", "Label": ""}],
"VoxelSize": [1, 1, 1], "VoxelUnits": ["", "", ""], "MinPoint": [0, 0, 0], "MaxPoint": [9, 9, 9]}}"""


@pytest.mark.parametrize("length", [0, 999, 1001, 100_000])
async def test_voxels_of_another_length_are_refused(length: int) -> None:
    def answer(_: str, target: str, __: bytes) -> Answer:
        return 200, INFO if "/info" in target else bytes(length)

    with answering(answer) as server:
        for client in clients(server.base):
            volume = await opened(client, "name", "abc")
            with pytest.raises(UnexpectedResponse, match="1000"):
                await value(volume[:])
            await close(client)


async def test_blocks_that_are_damaged_are_refused() -> None:
    for body in (b"abc", bytes(12) + b"\x04\0\0\0abcd", bytes(12) + b"\xff\xff\xff\x7f", bytes(40_000)):
        with answering(lambda _, target, __, body=body: (200, INFO if "/info" in target else body)) as server:  # type: ignore[misc]
            for client in clients(server.base):
                volume = await opened(client, "name", "abc")
                with pytest.raises(UnexpectedResponse):
                    await value(volume.specificblocks([(0, 0, 0)]))
                with pytest.raises(UnexpectedResponse):
                    await value(volume.read_slice("xy", (5, 5), (0, 0, 0)))
                await close(client)


async def test_answers_that_break_off() -> None:
    with answering(lambda *_: (200, b"broken:")) as server:
        for client in clients(server.base):
            with pytest.raises(ConnectionFailed, match="ask for info"):
                await value(client.server_info())
            await close(client)


async def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = f"127.0.0.1:{taken.getsockname()[1]}"
        for client in clients(base):
            with pytest.raises(ConnectionFailed) as caught:
                await value(client.server_info())
            assert caught.value.__cause__ is not None
            await close(client)


async def test_silence_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for client in clients(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.05):
            with pytest.raises(ConnectionFailed, match=r"ReadTimeout|timed out"):
                await value(client.server_info())
            await close(client)


@pytest.mark.parametrize("url", ["", "http://", "ftp://host", "http://host:port"])
def test_addresses_that_are_none(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidArgument, match="address"):
            kind(url)


async def test_the_first_failure_of_many_is_the_error() -> None:
    def answer(_: str, target: str, __: bytes) -> Answer:
        number = int(target[1:].partition("?")[0])
        if number > 7:
            time.sleep(0.2)  # the failure of the seventh is known before
        return 404 if number == 7 else 200, b""

    with answering(answer) as server:
        for client in clients(server.base, workers=3):

            def calls() -> Iterator[Call[None]]:
                for i in range(100):
                    yield Call(action="try", path=f"/{i}", decode=lambda _: None)

            def all_of_them() -> Iterator[object]:
                yield Each(calls())

            with pytest.raises(NotFound):
                await value(client.transport.run(all_of_them()))  # type: ignore[arg-type]
            await close(client)
        assert 16 <= len(server.asked) <= 30


def test_all_errors_are_of_one_family() -> None:
    assert issubclass(Busy, HttpError)
    for kind in (HttpError, ConnectionFailed, UnexpectedResponse, InvalidArgument):
        assert issubclass(kind, DvidError)
