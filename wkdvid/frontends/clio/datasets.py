"""Documents of datasets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from wkdvid.core.users import READ
from wkdvid.errors import Forbidden, InvalidRequest
from wkdvid.frontends.clio.calls import Access, Answer, Call, Route, Unprocessable, etag, is_name, problem

_VERSION = re.compile(r"v?(\d{1,6})(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?")


async def listed(call: Call) -> Mapping[str, Any]:
    """Those that the caller may read."""
    found, public = {}, await call.clio.public()
    for held, document in (await call.clio.datasets.all()).items():
        if call.user.has_role(READ, held, public=held in public):
            found[call.clio.names.shown(held)] = _shown(call, document)
    return found


async def one(call: Call) -> Answer:
    document = (await call.clio.datasets.all()).get(call.dataset)
    if document is None:
        raise InvalidRequest(f"dataset {call.parts['dataset']!r} has no document")
    updated = await call.clio.datasets.updated(call.dataset)
    return Answer(orjson.dumps(_shown(call, document)), headers={} if updated is None else {"ETag": etag(updated)})


def _shown(call: Call, document: Mapping[str, Any]) -> Any:
    return document if call.flag("templates") else expanded(document)


async def put(call: Call) -> None:
    documents = call.json()
    if not isinstance(documents, dict):
        raise Unprocessable([problem(("body",), "Input should be an object of datasets", "dict_type")])
    wrong = [
        problem(("body", name, "description"), "Field required, of a name of up to 300 characters", "missing")
        for name, document in documents.items()
        if not isinstance(document, dict) or not isinstance(document.get("description"), str) or not is_name(name)
    ]
    if wrong:
        raise Unprocessable(wrong)
    held = {call.clio.names.held(name): document for name, document in documents.items()}
    await call.clio.datasets.put(held, call.user.email, refuse_older, call.seen(len(documents)))


async def remove(call: Call) -> None:
    names = call.json()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Unprocessable([problem(("body",), "Input should be a list of names", "list_type")])
    held = [call.clio.names.held(name) for name in names]
    for name in held:
        if not call.user.administers(name):
            raise Forbidden(f"no permission to remove dataset {call.clio.names.shown(name)[:200]}")
    await call.clio.datasets.remove(held, call.user.email)


def refuse_older(name: str, stored: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    """
    Raises:
        InvalidRequest: its tag is that of an older version than what is stored.
    """
    before, after = (stored or {}).get("tag"), wanted.get("tag")
    if isinstance(before, str) and isinstance(after, str) and version_number(before) > version_number(after):
        raise InvalidRequest(f"dataset {name!r}: tag {after!r} is older than {before!r}, which is stored")


def version_number(tag: str) -> int:
    """Of ``v1.2.3``: major * 10^6 + minor * 10^3 + patch (clio.md C.2).

    Raises:
        InvalidRequest: no such tag.
    """
    found = _VERSION.fullmatch(tag)
    if found is None:
        raise InvalidRequest(f"tag {tag[:40]!r} is not of the form v1, v1.2 or v1.2.3")
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major * 10**6 + minor * 10**3 + patch


def expanded(document: Mapping[str, Any]) -> Any:
    """``{tag}`` and ``{uuid}`` in every text and key replaced by the document's own, where it has them."""
    own = {f"{{{name}}}": document[name] for name in ("tag", "uuid") if isinstance(document.get(name), str)}

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            for template, text in own.items():
                value = value.replace(template, text)
            return value
        if isinstance(value, dict):
            return {fill(key): fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    return fill(dict(document))


ROUTES = (
    Route(("GET",), "/datasets", listed, Access.USER),
    Route(("POST", "PUT"), "/datasets", put, Access.ADMIN),
    Route(("DELETE",), "/datasets", remove, Access.DATASET_ADMIN),
    Route(("GET",), "/datasets/<dataset>", one, Access.READ),
)
