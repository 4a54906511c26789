"""The routes of JSON annotations, ``/json-annotations/<dataset>/<type>/...`` (clio.md A.2, C.3)."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.frontends.clio.calls import Access, Answer, Call, Route, Unprocessable, problem
from wkdvid.frontends.clio.datasets import version_number
from wkdvid.frontends.clio.neurons.queries import compiled, ids_of
from wkdvid.frontends.clio.neurons.records import ID, record_id, shown, updated
from wkdvid.metadata.clio.neurons import NEWEST, PAGE, Collection, State

MOST_IDS = 10_000
_UUID = re.compile(r"[0-9a-f]{1,40}")


def _collection(call: Call) -> Collection:
    return Collection(call.dataset, call.parts["type"])


def _id_field(call: Call) -> str:
    return call.query.get("id_field") or ID


def _shown(call: Call) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    fields = [name for name in call.query.get("fields", "").split(",") if name]
    return partial(shown, show=call.query.get("show", ""), fields=fields)


# ---- versions -----------------------------------------------------------------------------------------------------


async def _version(call: Call) -> int | None:
    """As the request names it; None: it names none, or the newest.

    Raises:
        InvalidRequest: a tag that there is not.
    """
    text = call.query.get("version", "")
    document = (await call.clio.datasets.all()).get(call.dataset) or {}
    if not text or text == document.get("tag"):
        return None
    tags = await call.clio.neurons.tags(_collection(call))
    if tags and text not in tags:
        raise InvalidRequest(f"Bad version {text[:80]} used for dataset {call.parts['dataset']}")
    return version_number(text)


async def tags(call: Call) -> Mapping[str, str]:
    """UUID by tag, newest first."""
    found = await call.clio.neurons.tags(_collection(call))
    if not found:
        raise NotFound(f"dataset {call.parts['dataset']} has no versions")
    return dict(reversed(list(found.items())))


async def head_tag(call: Call) -> str:
    return next(iter(await tags(call)))


async def head_uuid(call: Call) -> str:
    return next(iter((await tags(call)).values()))


async def tag_to_uuid(call: Call) -> str:
    found = (await tags(call)).get(call.parts["tag"])
    if found is None:
        raise NotFound(f"no tag {call.parts['tag'][:80]!r}")
    return found


async def uuid_to_tag(call: Call) -> str:
    """The UUID may be the beginning of the stored one, or begin with it."""
    wanted = call.parts["uuid"]
    found = [tag for tag, uuid in (await tags(call)).items() if uuid.startswith(wanted) or wanted.startswith(uuid)]
    if not found:
        raise NotFound(f"no version has UUID {wanted[:80]!r}")
    if len(found) > 1:
        raise InvalidRequest(f"more than one version has a UUID like {wanted[:80]!r}: {', '.join(found)}")
    return found[0]


async def put_tag(call: Call) -> Mapping[str, str]:
    """``{"tag": "v0.5", "uuid": "..."}``: the newest version from now on."""
    body = call.json()
    tag, uuid = (body.get("tag"), body.get("uuid") or secrets.token_hex(16)) if isinstance(body, dict) else (None, "")
    if not isinstance(tag, str) or not isinstance(uuid, str) or not _UUID.fullmatch(uuid):
        raise Unprocessable([problem(("body",), 'expected {"tag": "v0.5", "uuid": HEX DIGITS}', "dict_type")])
    version_number(tag)
    await call.clio.neurons.put_tag(_collection(call), tag, uuid, call.user.email)
    return {tag: uuid}


# ---- reading ------------------------------------------------------------------------------------------------------


async def fields(call: Call) -> Sequence[str]:
    return await call.clio.neurons.fields(_collection(call))


async def everything(call: Call) -> Answer:
    """By id, from ``cursor`` (exclusive) on, ``size`` at most; records of nothing but an id are left out."""
    size = _number(call, "size")
    return Answer(_listed(_records(call, _number(call, "cursor") or 0, await _version(call)), _shown(call), size))


def _number(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Unprocessable([problem(("query", name), "expected a whole number, 0 or more", "int_parsing")])
    return int(text)


async def _records(call: Call, after: int, version: int | None) -> AsyncIterator[Mapping[str, Any]]:
    of = _collection(call)
    while True:
        page = await call.clio.neurons.page(of, after, NEWEST if version is None else version)
        for _, record in page:
            yield record
        if len(page) < PAGE:
            return
        after = page[-1][0]


async def _listed(
    records: AsyncIterator[Mapping[str, Any]], show: Callable[[Mapping[str, Any]], Any], size: int | None
) -> AsyncIterator[bytes]:
    """A JSON list in pieces."""
    count = 0
    async for record in records:
        found = show(record)
        if len(found) > 1 and (size is None or count < size):
            yield (b"," if count else b"[") + orjson.dumps(found)
            count += 1
    yield b"]" if count else b"[]"


async def by_id(call: Call) -> Sequence[Mapping[str, Any]]:
    ids = _ids(call.parts["ids"])
    if call.query.get("changes", "").lower() == "true":
        return [one for number in ids for one in await _changes(call, number)]
    found = await _read(call, ids)
    return [_shown(call)(found[number]) for number in ids if number in found]


async def _read(call: Call, ids: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
    version = await _version(call)
    return await call.clio.neurons.read(_collection(call), ids, NEWEST if version is None else version)


def _ids(text: str) -> Sequence[int]:
    words = text.split(",")
    if len(words) > MOST_IDS or not all(word.isascii() and word.isdigit() and len(word) < 20 for word in words):
        raise InvalidRequest(f"{text[:80]!r} is not a list of up to {MOST_IDS} whole numbers with commas between them")
    return [int(word) for word in words if int(word) < 2**63]


async def _changes(call: Call, number: int) -> Sequence[Mapping[str, Any]]:
    """The newest state, then what was before it."""

    def document(state: State) -> Mapping[str, Any]:
        return {} if state.record is None else _shown(call)(state.record)

    return [document(state) for state in await call.clio.neurons.history(_collection(call), number)]


async def query(call: Call) -> Any:
    body, id_field = call.json(), _id_field(call)
    ids = ids_of(body, id_field)
    if ids is not None:
        found = await _read(call, ids)
        return [_shown(call)(found[number]) for number in ids if number in found]
    matches, show = compiled(body), _shown(call)
    only_ids = call.flag("onlyid")
    records = _records(call, 0, await _version(call))
    if only_ids:
        return [record[id_field] async for record in records if id_field in record and matches(record)]
    return [show(record) async for record in records if matches(record)]


# ---- writing ------------------------------------------------------------------------------------------------------


async def put(call: Call) -> None:
    body, id_field = call.json(), _id_field(call)
    posted = body if isinstance(body, list) else [body]
    if not all(isinstance(one, dict) for one in posted):
        raise Unprocessable([problem(("body",), "expected an object of fields, or a list of such", "dict_type")])
    user = call.query.get("designated_user", "").lower() or call.user.email
    conditional = [name for key in ("conditional", "conditionals") for name in call.query.get(key, "").split(",")]
    change = partial(
        updated,
        user=user,
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        replace=call.flag("replace"),
        conditional=frozenset(conditional),
    )
    changes = [(record_id(one, id_field), partial(change, one)) for one in posted]
    await call.clio.neurons.put(_collection(call), changes, call.user.email, await _version(call))


async def remove(call: Call) -> None:
    for number in _ids(call.parts["ids"]):
        await call.clio.neurons.remove(_collection(call), number, call.user.email)


BASE = "/json-annotations/<dataset>/<type>"
ROUTES = (
    Route(("GET",), f"{BASE}/fields", fields, Access.READ),
    Route(("GET",), f"{BASE}/versions", tags, Access.READ),
    Route(("POST",), f"{BASE}/versions", put_tag, Access.ADMIN),
    Route(("GET",), f"{BASE}/head_tag", head_tag, Access.READ),
    Route(("GET",), f"{BASE}/head_uuid", head_uuid, Access.READ),
    Route(("GET",), f"{BASE}/tag_to_uuid/<tag>", tag_to_uuid, Access.READ),
    Route(("GET",), f"{BASE}/uuid_to_tag/<uuid>", uuid_to_tag, Access.READ),
    Route(("GET",), f"{BASE}/all", everything, Access.READ),
    Route(("GET",), f"{BASE}/id-number/<ids>", by_id, Access.READ),
    Route(("DELETE",), f"{BASE}/id-number/<ids>", remove, Access.WRITE),
    Route(("POST",), f"{BASE}/query", query, Access.READ),
    Route(("POST", "PUT"), BASE, put, Access.WRITE),
)
