"""The routes of clio's API, below whichever prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wkdvid.frontends.home.operations import schemas
from wkdvid.frontends.home.operations.operation import JSON, OCTETS, TEXT, Operation, Parameter, Schema

_GONE = "null, whether or not it was there."
_REFUSED = (400, 413, 422)
"""What a body may be answered with."""
_ANY: Schema = {}
_NO_QUERY: Mapping[str, str | Parameter] = {}


def _get(
    summary: str, answer: str, query: Mapping[str, str | Parameter] = _NO_QUERY, fails: Sequence[int] = ()
) -> Operation:
    return Operation(summary, answer, query=query, fails=fails)


def _post(
    summary: str,
    answer: str = "null",
    query: Mapping[str, str | Parameter] = _NO_QUERY,
    schema: Schema = _ANY,
    fails: Sequence[int] = _REFUSED,
) -> Operation:
    return Operation(summary, answer, query=query, body=JSON, schema=schema, fails=fails)


def _delete(summary: str, query: Mapping[str, str | Parameter] = _NO_QUERY) -> Operation:
    return Operation(summary, _GONE, query=query, fails=(400, 422))


def _delete_named(summary: str) -> Operation:
    return Operation(summary, _GONE, body=JSON, schema=schemas.TEXTS, fails=_REFUSED)


_AT = {axis: Parameter(f"{axis} of the place", schemas.INTEGER, required=True) for axis in "xyz"}
_PERHAPS_AT = {axis: Parameter(f"{axis} of an annotation of the first version", schemas.INTEGER) for axis in "xyz"}
_TEMPLATES = {"templates": Parameter("true: {tag} and {uuid} as they are stored", schemas.FLAG)}
_TIMESTAMP = {"timestamp": Parameter("true: with _timestamp", schemas.FLAG)}
_CONDITIONAL = {"conditional": "names of fields, with commas between them, that keep what they have"}
_RULES = {
    name: Parameter(meaning, schemas.INTEGER)
    for name, meaning in (
        ("max_dist", "how far a signature may be, and how far apart matches are; 100"),
        ("max_ham", "matches differ in fewer bits; 8"),
        ("limit", "signatures that are looked at; 200"),
    )
}
_WHOSE = {
    "groups": "names, with commas between them",
    "user": "of whom, or all; for administrators",
    "box": "x0,y0,z0,x1,y1,z1: those that touch it",
}
_RECORDS = {
    "version": "a tag",
    "show": "user, time or all: who or when each field was changed",
    "fields": "names of fields, with commas between them",
    "id_field": "name of the field that is the id; bodyid",
}
_NEURONS = "/json-annotations/{dataset}/{type}"


def _written(path: str, operation: Operation) -> Mapping[str, Operation]:
    return {f"{method} {path}": operation for method in ("POST", "PUT")}


_ROOT: Mapping[str, Operation] = {
    "GET /login": Operation(
        "Log in with a browser",
        "To the provider.",
        TEXT,
        {
            "redirect": Parameter("where to go then: an allowed origin, or a path here", required=True),
            "provider": "which, where there are several; else a page asks",
        },
        success=302,
        fails=(400, 422),
    ),
    "GET /login/callback": Operation(
        "Where the provider leads back to", "To where the login began.", TEXT, success=302, fails=(400, 401)
    ),
    **{
        f"{method} /logout": Operation("Log out", "Back.", TEXT, {"redirect": "where to go"}, success=302, fails=(400,))
        for method in ("GET", "POST")
    },
    "GET /profile": _get("Who one is", "The user."),
    "GET /dataset-access": _get(
        "Whether one may read a dataset",
        "access, roles",
        query={"dataset": Parameter("its name", required=True)},
        fails=(422,),
    ),
    "GET /cache/{name}/{path}": Operation(
        "Read a file of a transferred volume, or the part that Range names", "Bytes.", OCTETS, fails=(404, 416)
    ),
}
_DATASETS: Mapping[str, Operation] = {
    "GET /datasets": _get("List documents of datasets that one may read", "By name.", query=_TEMPLATES, fails=(422,)),
    **_written("/datasets", _post("Add or replace documents of datasets, all or none", schema=schemas.DATASETS)),
    "DELETE /datasets": _delete_named("Remove documents of datasets"),
    "GET /datasets/{dataset}": _get("The document of a dataset", "It.", query=_TEMPLATES, fails=(400, 422)),
}
_USERS: Mapping[str, Operation] = {
    "GET /roles": _get("Who one is, with roles by dataset", "The user."),
    "GET /users": _get("List all users", "By email."),
    **_written("/users", _post("Add users or change their roles, all or none", schema=schemas.USERS)),
    "DELETE /users": _delete_named("Remove users"),
    "POST /server/token": Operation(
        "A token of this server for whoever is logged in", "A JWT, as JSON text.", fails=()
    ),
    **{
        f"POST {path}": Operation("Nothing: changes are seen by themselves", "null", fails=())
        for path in ("/server/refresh-caches", "/refresh-caches")
    },
}
_ANNOTATIONS: Mapping[str, Operation] = {
    "GET /annotations/{dataset}": _get(
        "List one's annotations, or those of groups; below the older prefixes those of the first version",
        "A list; of the first version an object, by place.",
        query={**_WHOSE, "format": "dict: an object, by key"},
        fails=(400, 422),
    ),
    **_written(
        "/annotations/{dataset}",
        _post(
            "Store an annotation or a list of them; of the first version one object, where x, y and z are given",
            "Its key, or keys; null of the first version.",
            query={
                **_PERHAPS_AT,
                "move_key": "of an annotation that goes away",
                "replace": Parameter("false: fields that are not sent stay", schemas.FLAG),
                **_CONDITIONAL,
            },
            schema=schemas.ANNOTATIONS,
        ),
    ),
    "DELETE /annotations/{dataset}": _delete("Remove one's annotation of the first version", query=_AT),
    "DELETE /annotations/{dataset}/{key}": _delete("Remove an annotation", query={"user_email": "whose; one's own"}),
    "GET /atlas/{dataset}": _get("List one's atlas entries", "By place."),
    "GET /atlas/all": _get("List verified atlas entries and one's own, of all datasets", "A list."),
    **_written("/atlas/{dataset}", _post("Store an atlas entry", "The entry.", query=_AT, schema=schemas.ATLAS)),
    "DELETE /atlas/{dataset}": _delete("Remove one's atlas entry", query=_AT),
    "POST /atlas-verify/{id}": Operation("Verify an atlas entry, or not any more", "The entry.", fails=(404,)),
    "GET /savedsearches/{dataset}": _get("List one's saved searches", "By place."),
    **_written("/savedsearches/{dataset}", _post("Save a search", query=_AT, schema=schemas.OBJECT)),
    "DELETE /savedsearches/{dataset}": _delete("Remove one's saved search", query=_AT),
}
_PRECOMPUTED = "GET /annotations/{dataset}/precomputed/{kind}"
_FORMS: Mapping[str, Operation] = {
    "GET /annotations/{dataset}/export/{form}": Operation(
        "Annotations in the form of another program", "As the form is.", "*/*", _WHOSE, fails=(400, 404, 413, 422)
    ),
    "POST /annotations/{dataset}/import": Operation(
        "Store the annotations of a file, all or none",
        "How many, and what is wrong with which line.",
        query={
            "format": Parameter("csv or nml", required=True),
            **{
                name: Parameter(meaning, schemas.FLAG)
                for name, meaning in (
                    ("dry_run", "true: only say what is wrong"),
                    ("skip_errors", "true: leave out what is wrong"),
                    ("replace", "false: fields that are not sent stay"),
                )
            },
            **_CONDITIONAL,
        },
        body=OCTETS,
        schema={"type": "string", "format": "binary"},
        fails=_REFUSED,
    ),
    f"{_PRECOMPUTED}/info": _get("Annotations of a kind, for Neuroglancer", "Its info.", _WHOSE, fails=(400, 404, 422)),
    f"{_PRECOMPUTED}/by_id/{{number}}": Operation(
        "One annotation, for Neuroglancer", "Its bytes.", OCTETS, _WHOSE, fails=(400, 404, 422)
    ),
    f"{_PRECOMPUTED}/spatial/{{grid}}/{{cell}}": Operation(
        "The annotations of a cell, for Neuroglancer", "Their bytes.", OCTETS, _WHOSE, fails=(400, 404, 422)
    ),
}
_VALUES: Mapping[str, Operation] = {
    "GET /kv/{scope}": _get("List one's values of a scope", "By key.", query=_TIMESTAMP, fails=(422,)),
    "GET /kv/{scope}/{key}": _get("Read one's value", "It.", query=_TIMESTAMP, fails=(404, 422)),
    "POST /kv/{scope}/{key}": _post("Store a value"),
    "DELETE /kv/{scope}/{key}": _delete("Remove one's value"),
    "GET /pull-request": _get(
        "List what was handed in", "By user, scope and key.", query={"user_email": "whose; all: everybody's"}
    ),
    "POST /pull-request": _post("Hand in a value", schema=schemas.PULL, fails=(400, 404, 413)),
    "POST /site-reports": _post("Report on a site"),
    "GET /audit": _get("List changes, the newest first", "A list.", fails=(422,)),
}
_JSON_ANNOTATIONS: Mapping[str, Operation] = {
    f"GET {_NEURONS}/fields": _get("List names of fields", "A list."),
    f"GET {_NEURONS}/versions": _get("List versions", "UUID by tag, newest first.", fails=(404,)),
    f"POST {_NEURONS}/versions": _post("Begin a version", "UUID by tag.", schema=schemas.VERSION),
    f"GET {_NEURONS}/head_tag": _get("Tag of the newest version", "A text.", fails=(404,)),
    f"GET {_NEURONS}/head_uuid": _get("UUID of the newest version", "A text.", fails=(404,)),
    f"GET {_NEURONS}/tag_to_uuid/{{tag}}": _get("UUID of a version", "A text.", fails=(404,)),
    f"GET {_NEURONS}/uuid_to_tag/{{uuid}}": _get("Tag of a version", "A text.", fails=(400, 404)),
    f"GET {_NEURONS}/all": _get(
        "List records, by id",
        "A list.",
        query={**_RECORDS, "cursor": "the last id that is known", "size": "how many"},
        fails=(400, 422),
    ),
    f"GET {_NEURONS}/id-number/{{ids}}": _get(
        "Read records", "A list.", query={**_RECORDS, "changes": "true: with their earlier states"}, fails=(400,)
    ),
    f"DELETE {_NEURONS}/id-number/{{ids}}": _delete("Remove records"),
    f"POST {_NEURONS}/query": _post(
        "Find records by their fields",
        "A list.",
        query={**_RECORDS, "onlyid": Parameter("true: ids alone", schemas.FLAG)},
        schema=schemas.QUERY,
    ),
    **_written(
        _NEURONS,
        _post(
            "Change fields of records, all or none; a null removes one",
            query={
                "replace": Parameter("true: fields that are not sent go away", schemas.FLAG),
                **_CONDITIONAL,
                "version": "a tag",
                "designated_user": "whose doing it is",
                "id_field": "name of the field that is the id; bodyid",
            },
            schema=schemas.RECORDS,
        ),
    ),
}
_VOLUMES: Mapping[str, Operation] = {
    "GET /volumes": _get("List the volumes that one may read", "By name."),
    **_written("/volumes", _post("Add or replace volumes", schema=schemas.VOLUMES, fails=(400, 413, 422, 502))),
    "DELETE /volumes": _delete_named("Remove volumes"),
    "GET /volumes/{dataset}": _get("Where a volume is", "bucket, path", fails=(400,)),
    "GET /volumes/proxy/{dataset}/{path}": Operation(
        "Read a file of a volume, or the part that Range names",
        "Bytes.",
        OCTETS,
        fails=(400, 401, 403, 404, 413, 416, 502),
    ),
    "POST /neuprint/{dataset}": _post(
        "Hand a Cypher query on to the dataset's neuPrint", "neuPrint's answer.", schema=schemas.CYPHER
    ),
}
_IMAGES: Mapping[str, Operation] = {
    "GET /signatures/atlocation/{dataset}": _get(
        "The signature nearest to a place",
        "point, signature; or message, why there is none.",
        query={**_AT, **_RULES},
        fails=(400, 422, 502),
    ),
    "GET /signatures/likelocation/{dataset}": _get(
        "Places that look like one",
        "matches of point, dist and score; or message.",
        query={**_AT, **_RULES},
        fails=(400, 422, 502),
    ),
    "POST /transfer": _post(
        "Run a model on a cube of an image, and wait for it",
        "addr: a link to Neuroglancer that shows what it made.",
        schema=schemas.TRANSFER,
        fails=(400, 404, 413, 422),
    ),
}
CLIO: Mapping[str, Operation] = {
    **_ROOT,
    **_DATASETS,
    **_USERS,
    **_ANNOTATIONS,
    **_FORMS,
    **_VALUES,
    **_JSON_ANNOTATIONS,
    **_VOLUMES,
    **_IMAGES,
}
"""By method and path, the path without a prefix."""
