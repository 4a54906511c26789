"""How many requests a caller may send, by its address and by its token."""

from __future__ import annotations

import contextlib
import json
import select
import socket

import pytest

from tests.access.conftest import BURST
from tests.access.routes import SESSION, TOKEN
from tests.servers import Server

FLOOD = 60
LINK = f"link-{'0' * 16}-{'0' * 32}"


def first_refusal(server: Server, head: str) -> str:
    """What is answered to the first that is refused of many requests at once.

    Args:
        head: Request line and headers, with ``{i}`` for the number of the request.
    """
    host, port = server.base.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(FLOOD)]
        for i, connection in enumerate(connections):
            connection.sendall(head.format(i=i).encode())
        while connections:
            for connection in select.select(connections, [], [], 60)[0]:
                connections.remove(connection)
                answer: str = connection.recv(65536).decode()
                if answer.startswith("HTTP/1.1 429 "):
                    return answer
    raise AssertionError("none was refused")


def health(server: Server, forwarded_for: str | None) -> int:
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    return SESSION.get(f"{server.base}/data/health", headers=headers, timeout=60).status_code


def test_one_address_has_so_many_requests_and_no_others_are_refused_for_it(guarded: Server) -> None:
    head = "GET /data/health HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"
    lines, _, body = first_refusal(guarded, head).partition("\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines.splitlines()[1:])
    assert int(headers["retry-after"]) >= 1
    assert headers["access-control-allow-origin"] == "*"  # or viewers take it for data that is not there
    assert (json.loads(body)["code"], "limits.address_rate" in body) == ("too_many_requests", True)
    probe = SESSION.get(f"{guarded.base}/health/live", headers={"X-Forwarded-For": "198.51.100.1"}, timeout=60)
    assert probe.status_code == 200
    assert health(guarded, "198.51.100.2") == 200
    assert {health(guarded, None) for _ in range(3 * BURST)} == {200}  # of this machine


def test_who_waits_for_each_answer_is_not_refused(guarded: Server) -> None:
    assert [health(guarded, "198.51.100.3") for _ in range(BURST + 1)] == [200] * (BURST + 1)


def test_dvids_clients_are_refused_in_its_way_when_they_have_sent_their_body(guarded: Server) -> None:
    head = "POST /api/node/a/b/raw/0_1_2 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.4\r\n"
    answer = first_refusal(guarded, f"{head}Content-Length: 50000\r\n\r\n{'x' * 50000}")
    assert "content-type: text/plain" in answer
    assert "connection: keep-alive" in answer


def test_one_user_has_so_many_requests_wherever_they_come_from(guarded: Server) -> None:
    line = "GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.{i}\r\n\r\n"
    path = f"/data/health?token={TOKEN}"
    assert "limits.user_rate" in first_refusal(guarded, line.replace("{path}", path))
    with pytest.raises(AssertionError, match="none was refused"):  # it may have many readers
        first_refusal(guarded, line.replace("{path}", f"/shared/{LINK}/data/health"))
