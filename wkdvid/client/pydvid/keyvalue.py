"""pydvid's ``keyvalue``."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPResponse
from typing import IO

from wkdvid.client.connection import create_instance
from wkdvid.client.keyvalue import KeyValue
from wkdvid.client.pydvid.transport import ConnectionTransport
from wkdvid.client.transport import Sync


def create_new(connection: HTTPConnection, uuid: str, data_name: str) -> None:
    ConnectionTransport(connection).run(create_instance(uuid, data_name, "keyvalue", {}))


def put_value(connection: HTTPConnection, uuid: str, data_name: str, key: str, value: str | bytes | IO[bytes]) -> None:
    """
    Args:
        value: Text is sent as UTF-8.
    """
    data = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else value.read()
    _store(connection, uuid, data_name).put(key, data)


def get_value(connection: HTTPConnection, uuid: str, data_name: str, key: str) -> bytes:
    return _store(connection, uuid, data_name).get(key)


def get_value_response(connection: HTTPConnection, uuid: str, data_name: str, key: str) -> HTTPResponse:
    """The answer with its body unread. All of it must be read before the connection is used again."""
    return ConnectionTransport(connection).stream(_store(connection, uuid, data_name).value(key))


def get_keys(connection: HTTPConnection, uuid: str, data_name: str) -> list[str]:
    return _store(connection, uuid, data_name).keys()


def del_value(connection: HTTPConnection, uuid: str, data_name: str, key: str) -> None:
    _store(connection, uuid, data_name).delete(key)


def _store(connection: HTTPConnection, uuid: str, data_name: str) -> KeyValue[Sync]:
    return KeyValue(ConnectionTransport(connection), uuid, data_name)
