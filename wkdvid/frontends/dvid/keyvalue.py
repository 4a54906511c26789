"""The endpoints of keyvalue instances, whether clients write their values or a source has them."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from wkdvid.codecs import keyvalue_protobuf
from wkdvid.core.body_cache import Body
from wkdvid.core.keyvalues import KeyValues
from wkdvid.core.stored_values import StoredValues, items, key_pages
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import JSON, OCTETS, TEXT, Answer, Call, Endpoints, together
from wkdvid.frontends.dvid.instances import ValuesInstance
from wkdvid.frontends.dvid.made import COMMON
from wkdvid.frontends.dvid.status import UnknownEndpoint
from wkdvid.frontends.ranges import parse_range

Item: TypeAlias = tuple[str, bytes | None]

PLAIN = "text/plain; charset=utf-8"
RANGES = {"Accept-Ranges": "bytes"}
HELP = """\
{name}: values by keys. Below /api/node/<uuid>/{name}/

    key/<key>                      GET, also with a Range header or ?byte_start=&byte_end=; POST, DELETE
    keys                           GET: all keys, as JSON
    keyrange/<first>/<last>        GET: those from first to last, both included
    keyrangevalues/<first>/<last>  GET: with their values, as protobuf, or ?json=true (&check=true), ?tar=true
    keyvalues                      GET with the keys as body, POST with keys and values as body: protobuf
    info | help
"""


async def help_text(call: Call[ValuesInstance]) -> Answer:
    return Answer(HELP.format(name=call.instance.name).encode(), TEXT)


# ---- one value ----------------------------------------------------------------------------------------------------


async def get_value(call: Call[ValuesInstance]) -> Answer:
    key = _key(call)
    value = await _values(call).get(key)
    return _value(call, value) if value else _refused(404, f"Key {_quoted(key)} not found")


def _value(call: Call[ValuesInstance], value: bytes) -> Answer:
    asked = parse_range(call.byte_range)
    if asked is None:
        first, last = (call.query.get(name) for name in ("byte_start", "byte_end"))
        if not first or not last:
            return Answer(value, headers=RANGES)
        begin, end = parse.integer(first, "Atoi"), parse.integer(last, "Atoi")
        if not 0 <= begin <= end:
            raise InvalidRequest(f"byte_start={begin} and byte_end={end} are no range of bytes")
        return Answer(value[begin : end + 1], headers=RANGES) if begin < len(value) else _outside(begin, value)
    part = asked.of(len(value))
    if part is None:
        return _outside(asked.first or 0, value)
    told = {**RANGES, "Content-Range": f"bytes {part.start}-{part.stop - 1}/{len(value)}"}
    return Answer(value[part.start : part.stop], status=206, headers=told)


def _outside(begin: int, value: bytes) -> Answer:
    told = f"Range start {begin} is outside value with {len(value)} bytes"
    return _refused(416, told, {"Content-Range": f"bytes */{len(value)}"})


def _refused(status: int, told: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Texts that DVID sends without the path."""
    return Answer(f"{told}\n".encode(), PLAIN, status, headers=headers)


async def post_value(call: Call[ValuesInstance]) -> Answer:
    await _writable(call).put({_key(call): call.body})
    return Answer()


async def delete_value(call: Call[ValuesInstance]) -> Answer:
    await _writable(call).put({_key(call): None})
    return Answer()


async def refuse_put(call: Call[ValuesInstance]) -> Answer:
    raise UnsupportedRequest('key endpoint does not support "put" HTTP verb')


async def get_legacy(call: Call[ValuesInstance]) -> Answer:
    """As pydvid asks: the key stands where newer clients write the endpoint."""
    found = await _values(call).get(call.endpoint) if not call.parts else None
    if not found:
        raise UnknownEndpoint(call.endpoint)
    return _value(call, found)


async def post_legacy(call: Call[ValuesInstance]) -> Answer:
    if call.parts:
        raise UnknownEndpoint(call.endpoint)
    await _writable(call).put({call.endpoint: call.body})
    return Answer()


def _key(call: Call[Any]) -> str:
    """As DVID has it, ``a%2Fb`` is ``a/b``, of which ``a`` is the key."""
    key = call.parts[0].partition("/")[0] if call.parts else ""
    if not key:
        raise InvalidRequest("expect key string to follow 'key' endpoint")
    return key


def _quoted(key: str) -> str:
    return orjson.dumps(key).decode()


def _values(call: Call[ValuesInstance]) -> KeyValues:
    return call.instance.values(call.services.limits)


def _writable(call: Call[ValuesInstance]) -> StoredValues:
    values = _values(call)
    if not isinstance(values, StoredValues):
        raise UnsupportedRequest(f'Data "{call.instance.name}" is read only: it shows what a source has')
    return values


# ---- keys ---------------------------------------------------------------------------------------------------------


async def keys(call: Call[ValuesInstance]) -> Answer:
    return _key_list(call, "", None)


async def key_range(call: Call[ValuesInstance]) -> Answer:
    return _key_list(call, *_bounds(call))


def _key_list(call: Call[ValuesInstance], first: str, last: str | None) -> Answer:
    async def parts() -> AsyncIterator[Body]:
        before = b"["
        async for page in key_pages(_values(call), first, last):
            if page:
                yield before + orjson.dumps(page)[1:-1]
                before = b","
        yield b"]" if before == b"," else b"[]"

    return Answer(content_type=JSON, parts=together(parts(), call.services.limits))


def _bounds(call: Call[ValuesInstance]) -> tuple[str, str]:
    if len(call.parts) < 2:
        raise InvalidRequest(f"expect beginning and end keys to follow '{call.endpoint}' endpoint")
    return call.parts[0], call.parts[1]


# ---- many values --------------------------------------------------------------------------------------------------


async def key_range_values(call: Call[ValuesInstance]) -> Answer:
    values, (first, last) = _values(call), _bounds(call)

    async def found() -> AsyncIterator[Item]:
        async for page in key_pages(values, first, last):
            async for item in items(values, page):
                if item[1] is not None:  # deleted meanwhile
                    yield item

    return _many(call, found())


async def key_values(call: Call[ValuesInstance]) -> Answer:
    is_json = _form(call) != "protobuf"
    wanted = _json_keys(call.body) if is_json else keyvalue_protobuf.keys(call.body)
    return _many(call, items(_values(call), wanted))


async def post_key_values(call: Call[ValuesInstance]) -> Answer:
    await _writable(call).put(keyvalue_protobuf.key_values(call.body))
    return Answer()


def _form(call: Call[ValuesInstance]) -> str:
    tar = "true" in {call.query.get("jsontar"), call.query.get("tar")}
    if tar and call.query.get("json") == "true":
        raise InvalidRequest("can only specify tar or json output, not both")
    return "tar" if tar else "json" if call.query.get("json") == "true" else "protobuf"


def _json_keys(body: bytes) -> Sequence[str]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"keys: not valid JSON: {error.msg}") from error
    if not isinstance(found, list) or not all(isinstance(key, str) for key in found):
        raise InvalidRequest("keys: expected a JSON list of strings")
    return found


def _many(call: Call[ValuesInstance], found: AsyncIterator[Item]) -> Answer:
    form, limits = _form(call), call.services.limits
    if form == "json":
        return Answer(content_type=JSON, parts=together(_json(found, check=call.query.get("check") == "true"), limits))
    if form == "tar":
        return Answer(content_type="application/tar", parts=together(_tar(found), limits))
    return Answer(content_type=OCTETS, parts=together(_protobuf(found), limits))


async def _json(found: AsyncIterator[Item], *, check: bool) -> AsyncIterator[bytes]:
    """Values are sent as they are, unless they are to be checked: what is no JSON then ends the answer."""
    before = b"{"
    async for key, value in found:
        if check and value and not _is_json(value):
            raise InvalidRequest(f"bad JSON for key {_quoted(key)}")
        yield b"".join((before, orjson.dumps(key), b":", value or b"{}"))
        before = b","
    yield b"}" if before == b"," else b"{}"


def _is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


async def _tar(found: AsyncIterator[Item]) -> AsyncIterator[bytes]:
    async for key, value in found:
        data = value or b""
        entry = tarfile.TarInfo(key)
        entry.size, entry.mode = len(data), 0o755
        yield b"".join((entry.tobuf(tarfile.PAX_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE)))
    yield bytes(2 * tarfile.BLOCKSIZE)


async def _protobuf(found: AsyncIterator[Item]) -> AsyncIterator[bytes]:
    async for key, value in found:
        yield keyvalue_protobuf.member(key, value or b"")


ENDPOINTS = Endpoints(
    handlers={
        **COMMON.handlers,
        "help": help_text,
        "key": get_value,
        "keys": keys,
        "keyrange": key_range,
        "keyrangevalues": key_range_values,
        "keyvalues": key_values,
    },
    changing={
        "POST": {**COMMON.changing.get("POST", {}), "key": post_value, "keyvalues": post_key_values},
        "DELETE": {"key": delete_value},
        "PUT": {"key": refuse_put},
    },
    large=frozenset({post_value, post_key_values, post_legacy}),
    others={"GET": get_legacy, "POST": post_legacy},
)
