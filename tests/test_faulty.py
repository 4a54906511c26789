"""The faulty web server, as another library's client sees it."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from wkdvid.testing.faulty import (
    BUSY,
    LOGIN_PAGE,
    RESET,
    SILENT,
    Answer,
    FileServer,
    Instead,
    broken_off,
    flipped,
    none,
    on,
    redirected,
)

CONTENT = b"0123456789"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "a b").write_bytes(CONTENT)
    with FileServer(tmp_path) as server:
        yield server


def get(server: FileServer, path: str = "a%20b", **headers: str) -> requests.Response:
    return requests.get(server.url + path, headers=headers, timeout=10, allow_redirects=False)


@pytest.mark.parametrize(
    ("part", "status", "content", "range_"),
    [
        ("", 200, CONTENT, None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
    ],
)
def test_parts(server: FileServer, part: str, status: int, content: bytes, range_: str | None) -> None:
    answer = get(server, Range=part)
    assert (answer.status_code, answer.content, answer.headers.get("Content-Range")) == (status, content, range_)
    assert [(asked.target, asked.path, asked.part) for asked in server.requests] == [("/a%20b", "a b", part)]
    assert server.sent_bytes == len(content)
    server.ranges = False
    assert get(server, Range=part).content == CONTENT


@pytest.mark.parametrize(
    ("instead", "status", "content"),
    [
        (503, 503, b""),
        (BUSY, 429, b""),
        (LOGIN_PAGE, 200, LOGIN_PAGE.body),
        (flipped(CONTENT, 9), 200, b"0323456789"),
        (redirected("/other"), 302, b""),
        (Answer(per_byte_s=0.001), 200, CONTENT),
    ],
)
def test_what_is_sent_instead(server: FileServer, instead: Instead, status: int, content: bytes) -> None:
    server.fault = on("a*", instead, times=2)
    assert get(server, "other").status_code == 404
    for _ in range(2):
        answer = get(server)
        assert (answer.status_code, answer.content) == (status, content)
    assert get(server).content == CONTENT
    assert (server.count("a b"), server.count("*"), server.count("z*")) == (3, 4, 0)


@pytest.mark.parametrize("instead", [RESET, broken_off(CONTENT), Answer(reset_after=3)])
def test_what_breaks_off(server: FileServer, instead: Instead) -> None:
    server.fault = on("*", instead)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(server)
    server.fault = none
    assert get(server).content == CONTENT


def test_it_ends_while_connections_are_silent(tmp_path: Path) -> None:
    """One thread, whatever there is of them, and none afterwards; the clients are told."""
    before = {*threading.enumerate()}  # some of which end meanwhile
    with ExitStack() as clients:
        with FileServer(tmp_path) as server:
            server.fault = on("*", SILENT)
            host, port = server.host.split(":")
            for _ in range(300):
                client = clients.enter_context(socket.create_connection((host, int(port)), timeout=10))
                client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            idle = clients.enter_context(socket.create_connection((host, int(port)), timeout=10))
            while len(server.requests) < 300:
                time.sleep(0.01)
            assert len({*threading.enumerate()} - before) == 1
        assert {*threading.enumerate()} <= before
        for connection in (client, idle):
            with pytest.raises(http.client.RemoteDisconnected):
                http.client.HTTPResponse(connection).begin()
