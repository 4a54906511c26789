"""What can be changed of an instance of voxels besides its voxels: where they are, their size, its tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from wkdvid.core.geometry import Vec3
from wkdvid.core.repositories import DataInstance
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid.calls import Answer, Call, Handler, json_answer
from wkdvid.frontends.dvid.instances import Instance
from wkdvid.frontends.dvid.new_instance import checked_voxel_size, extent_of

INT32 = range(-(2**31), 2**31)
LONGEST_TAG = 1000


def _data(call: Call[Instance]) -> DataInstance:
    data = call.instance.data
    if data is None:
        raise TypeError("a registered dataset's node is locked, so nothing of it is changed")
    return data


def _json(call: Call[Instance]) -> Any:
    """
    Raises:
        InvalidRequest: not JSON.
    """
    try:
        return orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"Malformed JSON request in body: {error.msg} at column {error.colno}") from error


async def post_extents(call: Call[Instance]) -> Answer:
    """``{"MinPoint": [x, y, z], "MaxPoint": [x, y, z]}``, both inclusive; what is not named is 0."""
    body = _json(call)
    if not isinstance(body, dict):
        raise InvalidRequest('expected {"MinPoint": [x, y, z], "MaxPoint": [x, y, z]}')
    extent = extent_of(_point(body, "MinPoint"), _point(body, "MaxPoint"))
    version = call.instance.node.version
    await call.services.repositories.set_extent(_data(call).data_uuid, version, extent, grow=False)
    return Answer()


def _point(body: Mapping[str, Any], name: str) -> Vec3:
    point = body.get(name, [0, 0, 0])
    if not isinstance(point, list) or len(point) != 3 or not all(type(n) is int and n in INT32 for n in point):
        raise InvalidRequest(f"{name}: expected three whole numbers of 32 bits")
    return (point[0], point[1], point[2])


async def post_resolution(call: Call[Instance]) -> Answer:
    """``[x, y, z]``: sides of a voxel in nanometres."""
    body = _json(call)
    if not isinstance(body, list) or len(body) != 3 or not all(type(n) in {int, float} for n in body):
        raise InvalidRequest("expected three numbers, the sides of a voxel in nanometers")
    size = checked_voxel_size((float(body[0]), float(body[1]), float(body[2])))
    await call.services.repositories.set_settings(_data(call).data_uuid, {"voxel_size": size})
    return Answer()


async def tags(call: Call[Instance]) -> Answer:
    known = call.instance.data.tags if call.instance.data is not None else None
    return json_answer({"Tags": None if known is None else dict(known)})


async def post_tags(call: Call[Instance]) -> Answer:
    """An object of texts, joined with the tags that there are; ``replace=true``: instead of them."""
    body, data = _json(call), _data(call)
    if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
        raise InvalidRequest("expected a JSON object of texts")
    if any(len(key) + len(value) > LONGEST_TAG for key, value in body.items()):
        raise InvalidRequest(f"a tag has at most {LONGEST_TAG} characters, with its key")
    replace = call.query.get("replace") in {"true", "on"}
    await call.services.repositories.set_tags(data.data_uuid, body, replace=replace)
    return Answer()


CHANGING: Mapping[str, Handler] = {"extents": post_extents, "resolution": post_resolution, "tags": post_tags}
"""By POST."""
