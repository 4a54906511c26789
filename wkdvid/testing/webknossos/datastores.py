"""What a datastore calls: webknossos.md C.1 and C.2."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from http import HTTPStatus

from wkdvid.testing.webknossos.documents import Invalid, read_inventory, read_source
from wkdvid.testing.webknossos.requests import NOT_FOUND, Reply, Request, error_reply, json_reply
from wkdvid.testing.webknossos.state import Generation, Json, Key, State


def datastore_reply(state: State, request: Request, name: str, action: str, rest: str) -> Reply:
    """The answer to ``/api/datastores/{name}/{action}[/{rest}]``."""
    key = request.query.get("key", "")
    if name != state.name or not hmac.compare_digest(key.encode(), state.key.encode()):
        return _access(granted=False, text="Data store could not be found or accessed", status=HTTPStatus.FORBIDDEN)
    known = (request.method, action)
    if known == ("GET", "datasources") and state.generation is not Generation.CONNECT:
        return _source_of_id(state, rest)
    answer = None if rest else _ANSWERS.get(known)
    if answer is None or (action == "findDatasetId" and state.generation is Generation.CONNECT):
        return NOT_FOUND
    try:
        return answer(state, request)
    except (Invalid, ValueError, KeyError, TypeError) as error:
        return error_reply(f"JSON does not validate: {error}", HTTPStatus.BAD_REQUEST)


def _access(*, granted: bool, text: str, status: int) -> Reply:
    return json_reply({"granted": granted, **({} if granted else {"msg": text})}, status)


def _status(state: State, request: Request) -> Reply:
    state.datastore_url = request.json()["url"]
    return json_reply({})


def _sources(state: State, request: Request) -> Reply:
    documents = read_inventory(request.json(), state.generation)
    state.replace_all(documents, request.query.get("organizationId"))
    return json_reply({})


def _source(state: State, request: Request) -> Reply:
    document = request.json()
    state.put(read_source(document, state.generation), document)
    return json_reply({})


def _validate(state: State, request: Request) -> Reply:
    body, token = request.json(), request.query.get("token", "")
    legacy = state.generation is Generation.CONNECT
    resource = body.get("resourceId")
    if body["mode"] == "administrate":
        expected = "datasource" if legacy else "webknossos"
        if body["resourceType"] != expected or (legacy and resource != {"team": "", "name": ""}):
            raise Invalid("resourceType")
        granted = state.may_administrate(token)
    else:
        granted = _readable(state, token, body["resourceType"], resource)
    return _access(granted=granted, text=f"No {body['mode']} access", status=HTTPStatus.OK)


def _readable(state: State, token: str, kind: str, resource: Json) -> bool:
    if state.generation is Generation.CONNECT:
        if kind != "datasource":
            raise Invalid("resourceType")
        return state.may_read(token, (resource["team"], resource["name"]))
    if kind != "dataset" or not isinstance(resource, str):
        raise Invalid("resourceType")
    found = state.row_of(resource)
    return found is not None and state.may_read(token, found[0])


def _find_id(state: State, request: Request) -> Reply:
    key: Key = (request.query["organizationId"], request.query["datasetDirectoryName"])
    row = state.rows.get(key)
    return NOT_FOUND if row is None else json_reply(row.id)


def _source_of_id(state: State, dataset_id: str) -> Reply:
    found = state.row_of(dataset_id)
    return NOT_FOUND if found is None else json_reply(found[1].document)


_ANSWERS: Mapping[tuple[str, str], Callable[[State, Request], Reply]] = {
    ("PATCH", "status"): _status,
    ("PUT", "datasources"): _sources,
    ("PUT", "datasource"): _source,
    ("POST", "validateUserAccess"): _validate,
    ("GET", "findDatasetId"): _find_id,
}
