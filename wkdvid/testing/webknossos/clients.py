"""What the ``webknossos`` package and the browser call: webknossos.md C.3."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from wkdvid.testing.webknossos.requests import NOT_FOUND, Reply, Request, error_reply, json_reply
from wkdvid.testing.webknossos.state import Generation, Json, Key, Row, State, User

ENVELOPES_SINCE = 15
COMPACT_SINCE = 16
_DATASET = re.compile(r"datasets/(?P<id>[0-9a-f]{24})")
_DISAMBIGUATE = re.compile(r"datasets/disambiguate/(?P<organization>[^/]+)/(?P<name>[^/]+)/toId")


def client_reply(state: State, request: Request, version: int, route: str) -> Reply:
    """The answer to ``/api/v{version}/{route}``."""
    if version not in state.api:
        text = "This WEBKNOSSOS instance does not support the requested HTTP API version"
        return error_reply(text, HTTPStatus.NOT_FOUND)
    if found := _DATASET.fullmatch(route):
        return _readable(state, request, state.row_of(found["id"]), lambda key, row: _info(state, key, row, version))
    if found := _DISAMBIGUATE.fullmatch(route):
        key = (found["organization"], found["name"])
        row = state.rows.get(key)
        return _readable(state, request, None if row is None else (key, row), _names)
    answer = _ANSWERS.get((request.method, route))
    return NOT_FOUND if answer is None else answer(state, request, version)


def _readable(
    state: State, request: Request, found: tuple[Key, Row] | None, describe: Callable[[Key, Row], Mapping[str, Json]]
) -> Reply:
    tokens = (request.token, request.query.get("sharingToken", ""))
    if found is None or not found[1].is_active or not any(state.may_read(token, found[0]) for token in tokens):
        return error_reply("Dataset could not be found, or access was denied", HTTPStatus.NOT_FOUND)
    return json_reply(describe(*found))


def _names(key: Key, row: Row) -> dict[str, Json]:
    return {"id": row.id, "name": key[1], "organization": key[0], "directoryName": key[1]}


def _info(state: State, key: Key, row: Row, version: int) -> dict[str, Json]:
    return {
        "id": row.id,
        "name": key[1],
        "isPublic": "/".join(key) in state.public,
        "folderId": "0" * 24,
        "allowedTeams": [],
        "tags": [],
        "directoryName": key[1],
        "owningOrganization": key[0],
        "dataStore": _datastore(state),
        "dataSource": _shown(row.document, version),
        "created": 0,
    }


def _datastore(state: State) -> dict[str, Json]:
    return {"name": state.name, "url": state.public_url or state.datastore_url, "allowsUpload": False}


def _shown(document: Mapping[str, Any], version: int) -> Mapping[str, Json]:
    """Without large ids where the version cannot write them."""
    if version >= ENVELOPES_SINCE or "status" in document:
        return document
    layers = [
        {name: value for name, value in layer.items() if name != "largestSegmentId" or type(value) is int}
        for layer in document["dataLayers"]
    ]
    return {**document, "dataLayers": layers}


def _build_info(state: State, request: Request, version: int) -> Reply:
    """Servers of 2019 say nothing of versions."""
    versions = {"currentApiVersion": state.api[-1], "oldestSupportedApiVersion": state.api[0]}
    return json_reply(
        {
            "webknossos": {"name": "webknossos", "version": state.generation.value},
            "localDataStoreEnabled": False,
            "localTracingStoreEnabled": False,
            **({} if state.generation is Generation.CONNECT else {"httpApiVersioning": versions}),
        }
    )


def _list(state: State, request: Request, version: int) -> Reply:
    organization, wanted = request.query.get("organizationId"), request.query.get("searchQuery", "")
    found = [
        (key, row)
        for key, row in state.rows.items()
        if row.is_active and state.may_read(request.token, key) and organization in (None, key[0]) and wanted in key[1]
    ]
    compact = version >= COMPACT_SINCE or request.query.get("compact") == "true"
    items = [
        {"id": row.id, "name": key[1], "tags": []} if compact else _info(state, key, row, version) for key, row in found
    ]
    return json_reply(items)


def _user(state: State, request: Request, version: int) -> Reply:
    user = state.users.get(request.token)
    return error_reply("Please log in", HTTPStatus.UNAUTHORIZED) if user is None else json_reply(_shown_user(user))


def _shown_user(user: User) -> dict[str, Json]:
    return {
        "id": "1" * 24,
        "email": user.email,
        "organization": user.organization,
        "firstName": "A",
        "lastName": "User",
        "created": 0,
        "lastActivity": 0,
        "isActive": True,
        "isAdmin": user.is_admin,
        "isDatasetManager": user.is_admin,
        "teams": [],
        "experiences": {},
    }


def _datastores(state: State, request: Request, version: int) -> Reply:
    return json_reply([_datastore(state)])


def _generate_token(state: State, request: Request, version: int) -> Reply:
    """Who is not logged in gets one that stands for nobody."""
    return json_reply({"token": request.token if request.token in state.users else "nobody's"})


_ANSWERS: Mapping[tuple[str, str], Callable[[State, Request, int], Reply]] = {
    ("GET", "buildinfo"): _build_info,
    ("GET", "datasets"): _list,
    ("GET", "user"): _user,
    ("GET", "datastores"): _datastores,
    ("POST", "userToken/generate"): _generate_token,
}
