"""Bodies of requests to clio's API, as JSON schemas."""

from __future__ import annotations

from typing import Any

from wkdvid.frontends.home.operations.operation import STRING, Schema


def listed(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def members(required: str = "", **properties: Schema) -> Schema:
    """An object.

    Args:
        required: Names of those that must be there.
    """
    made: dict[str, Any] = {"type": "object", "properties": properties}
    return {**made, "required": required.split()} if required else made


def by_name(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def one_or_many(one: Schema) -> Schema:
    return {"anyOf": [one, listed(one)]}


INTEGER: Schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
TEXTS = listed(STRING)
OBJECT: Schema = {"type": "object"}
PLACE = listed(NUMBER, minItems=3, maxItems=3)

DATASETS = by_name(
    members("description", description=STRING, tag={**STRING, "pattern": r"^v?\d{1,3}(\.\d{1,3}){0,2}$"}, public=FLAG)
)
USERS = by_name(members(global_roles=TEXTS, datasets=by_name(TEXTS), groups=TEXTS, disabled=FLAG, name=STRING))
ANNOTATIONS = one_or_many(
    members(
        "kind pos",
        kind={"type": "string", "enum": ["point", "lineseg", "sphere"]},
        pos=listed(INTEGER, minItems=3, maxItems=6),
        prop=OBJECT,
        tags=TEXTS,
        title=STRING,
        description=STRING,
    )
)
ATLAS = members("title user", title=STRING, user=STRING, description=STRING, verified=FLAG)
RECORDS = one_or_many(members("bodyid", bodyid={"type": "integer", "minimum": 1, "maximum": 2**63 - 1}))
QUERY: Schema = {"anyOf": [OBJECT, listed(OBJECT, minItems=1)]}
VERSION = members("tag", tag=STRING, uuid={**STRING, "pattern": "^[0-9a-f]{1,40}$"})
PULL = members("pull", pull={**STRING, "pattern": "^kv/[^/]+/[^/]+$"})
VOLUMES = by_name(members("bucket path", bucket=STRING, path=STRING, description=STRING))
CYPHER = members("cypher dataset", cypher=STRING, dataset=STRING)
TRANSFER = members(
    "dataset model_name center", dataset=STRING, model_name=STRING, center=PLACE, layer=STRING, size=PLACE
)
