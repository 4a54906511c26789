"""pydvid's ``general``: what is asked of a server."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any

from wkdvid.client import decoding
from wkdvid.client.calls import Call
from wkdvid.client.pydvid.transport import ConnectionTransport


def get_server_info(connection: HTTPConnection) -> dict[str, Any]:
    return _get(connection, "/api/server/info")


def get_server_types(connection: HTTPConnection) -> dict[str, Any]:
    return _get(connection, "/api/server/types")


def get_repos_info(connection: HTTPConnection) -> dict[str, Any]:
    return _get(connection, "/api/repos/info")


def _get(connection: HTTPConnection, path: str) -> dict[str, Any]:
    call = Call(action=f"requesting json for: {path}", path=path, decode=decoding.json_of(dict))
    return ConnectionTransport(connection).run(call)
