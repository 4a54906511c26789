"""DVID's protobuf messages (proto3) of keys and values, which are all made of fields with a length.

message KeyValue { string key = 1; bytes value = 2; }
message KeyValues { repeated KeyValue kvs = 1; }
message Keys { repeated string keys = 1; }
"""

from __future__ import annotations

from collections.abc import Iterator

from wkdvid.errors import InvalidRequest

_KEY, _VALUE, _MEMBER = 1, 2, 1
_LENGTH = 2
"""The wire type of a field that says its length first."""
_MOST_BITS = 63


def keys(data: bytes) -> list[str]:
    """
    Raises:
        InvalidRequest: no Keys message.
    """
    return [_text(member) for _, member in _fields(memoryview(data), (_MEMBER,))]


def key_values(data: bytes) -> dict[str, bytes]:
    """Of a key that comes twice the last value.

    Raises:
        InvalidRequest: no KeyValues message.
    """
    found: dict[str, bytes] = {}
    for _, member in _fields(memoryview(data), (_MEMBER,)):
        fields = dict(_fields(member, (_KEY, _VALUE)))
        found[_text(fields.get(_KEY, memoryview(b"")))] = bytes(fields.get(_VALUE, b""))
    return found


def member(key: str, value: bytes) -> bytes:
    """A KeyValue as one of the members that KeyValues are, one after the other."""
    fields = [_field(number, data) for number, data in ((_KEY, key.encode()), (_VALUE, value)) if data]
    return _field(_MEMBER, b"".join(fields))


def _fields(data: memoryview, known: tuple[int, ...]) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        length, at = _varint(data, at)
        if tag & 7 != _LENGTH or tag >> 3 not in known or length > len(data) - at:
            raise InvalidRequest(f"no such protobuf message: field {tag >> 3} of type {tag & 7} before byte {at}")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number, in groups of 7 bits, the lowest first, and where it ends."""
    number = 0
    for shift in range(0, _MOST_BITS, 7):
        if at >= len(data):
            break
        byte = data[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
    raise InvalidRequest(f"no such protobuf message: a number is cut at byte {at}")


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("no such protobuf message: a key is not UTF-8") from error


def _field(number: int, data: bytes) -> bytes:
    head, length = bytearray([number << 3 | _LENGTH]), len(data)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return b"".join((head, bytes([length]), data))
