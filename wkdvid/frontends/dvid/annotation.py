"""The endpoints of annotation instances."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import orjson

from wkdvid.core import points
from wkdvid.core.body_cache import Body
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.repositories import DataInstance
from wkdvid.core.stored_values import StoredValues
from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import JSON, TEXT, Answer, Call, Endpoints, together
from wkdvid.frontends.dvid.instances import StoredInstance, Version, VoxelInstance
from wkdvid.frontends.dvid.made import COMMON, made_instance
from wkdvid.frontends.dvid.points import labels_at

Pages: TypeAlias = AsyncIterator[Sequence[str]]
"""Keys of elements."""

HELP = """\
{name}: annotations, points with a kind, tags, properties and relations. Below /api/node/<uuid>/{name}/

    elements                     POST [{{"Pos": [x, y, z], "Kind": "Note", "Tags": [], "Prop": {{}}, "Rels": []}}, ...]
    elements/<size>/<offset>     GET: those in a box
    blocks/<size>/<offset>       GET: those in the blocks of 64^3 that a box touches, by block
    all-elements                 GET: all, by block
    tag/<tag>, label/<label>     GET: those with a tag, or within a body of the labelmap it is synced with;
                                 ?relationships=true
    element/<x_y_z>              DELETE
    move/<x_y_z>/<x_y_z>         POST
    sync                         POST {{"sync": "<labelmap>"}}
    info | help
"""


async def help_text(call: Call[StoredInstance]) -> Answer:
    return Answer(HELP.format(name=call.instance.name).encode(), TEXT)


# ---- changes ------------------------------------------------------------------------------------------------------


async def post_elements(call: Call[StoredInstance]) -> Answer:
    elements = await call.services.apart(points.parse_elements, call.body)
    await call.instance.stored.change(points.posted(elements))
    return Answer()


async def delete_element(call: Call[StoredInstance]) -> Answer:
    if not call.parts:
        raise InvalidRequest("Must include coordinate after DELETE on 'element' endpoint.")
    await call.instance.stored.change(points.deleted(parse.voxel(call.parts[0])))
    return Answer()


async def refuse_element(call: Call[StoredInstance]) -> Answer:
    raise InvalidRequest("Only DELETE action is available on 'element' endpoint.")


async def move_element(call: Call[StoredInstance]) -> Answer:
    if len(call.parts) < 2:
        raise InvalidRequest("Must include 'from' and 'to' coordinate after 'move' endpoint.")
    start, end = parse.voxel(call.parts[0]), parse.voxel(call.parts[1])
    await call.instance.stored.change(points.moved(start, end))
    return Answer()


async def refuse_move(call: Call[StoredInstance]) -> Answer:
    raise InvalidRequest("Only POST action is available on 'move' endpoint.")


async def post_sync(call: Call[StoredInstance]) -> Answer:
    """With which labelmap ``label/`` goes; joined with what is there, or with ``replace=true`` instead of it."""
    names = _sync_names(call.body)
    known = call.instance.repository.instances
    if unknown := [name for name in names if name not in known]:
        raise NotFound(f'invalid data instance name "{unknown[0][:80]}"')
    data = _data(call)
    before = [] if call.query.get("replace") == "true" else data.settings.get("syncs", [])
    await call.services.repositories.set_settings(data.data_uuid, {"syncs": list(dict.fromkeys([*before, *names]))})
    return Answer()


def _sync_names(body: bytes) -> list[str]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"Malformed JSON request in sync request: {error.msg}") from error
    if not isinstance(found, dict) or not isinstance(found.get("sync"), str):
        raise InvalidRequest("Could not find 'sync' value in POSTed JSON to sync request.")
    return [name for name in found["sync"].split(",") if name]


def _data(call: Call[StoredInstance]) -> DataInstance:
    data = call.instance.data
    if data is None:
        raise TypeError("annotations are of what clients have made")
    return data


# ---- what is where ------------------------------------------------------------------------------------------------


async def elements(call: Call[StoredInstance]) -> Answer:
    return _listed(call.instance.stored, points.keys_of_box(call.instance.stored, _box(call)), nothing=b"null")


async def blocks(call: Call[StoredInstance]) -> Answer:
    wanted = _box(call).scaled_down(points.BLOCK)
    return _by_block(call.instance.stored, points.keys_of_blocks(call.instance.stored, wanted))


async def all_elements(call: Call[StoredInstance]) -> Answer:
    return _by_block(call.instance.stored, points.all_keys(call.instance.stored))


async def tagged(call: Call[StoredInstance]) -> Answer:
    if not call.parts or not call.parts[0]:
        raise InvalidRequest("Must include tag string after 'tag' endpoint.")
    values = call.instance.stored
    return _listed(values, points.keys_of_tag(values, call.parts[0]), **_relations(call))


async def of_label(call: Call[StoredInstance]) -> Answer:
    """The elements at voxels of a label, as the labelmap that this is synced with has them now."""
    if not call.parts:
        raise InvalidRequest("Must include label after 'label' endpoint.")
    label = parse.label(call.parts[0])
    if label == 0:
        raise InvalidRequest("Label 0 is protected background value and cannot be used for query.")
    return _listed(call.instance.stored, _keys_of_label(call, label), **_relations(call))


async def _keys_of_label(call: Call[StoredInstance], label: int) -> Pages:
    labelmap = await _labelmap(call)
    if labelmap is not None:
        async for page in points.all_keys(call.instance.stored):
            places = [points.position_of(key) for key in page]
            found = await labels_at(call.services, labelmap, labelmap.scale, places)
            yield [key for key, at in zip(page, found, strict=True) if at == label]


async def _labelmap(call: Call[StoredInstance]) -> VoxelInstance | None:
    at = Version(call.instance.repository, call.instance.node)
    for name in _data(call).settings.get("syncs", ()):
        data = at.repository.instances.get(name)
        one = await made_instance(call.services, at, data) if data is not None else None
        if isinstance(one, VoxelInstance) and one.is_labels:
            return one
    return None


def _box(call: Call[StoredInstance]) -> Box:
    if len(call.parts) < 2:
        raise InvalidRequest(f"Expect size and offset to follow '{call.endpoint}' in GET request")
    return parse.subvolume(call.parts[0], call.parts[1])


def _relations(call: Call[StoredInstance]) -> dict[str, Any]:
    return {"relations": call.query.get("relationships") == "true"}


def _listed(values: StoredValues, pages: Pages, *, nothing: bytes = b"[]", relations: bool = True) -> Answer:
    async def parts() -> AsyncIterator[Body]:
        before = b"["
        async for _, element in points.elements(values, pages):
            yield before + (element if relations else points.without_relations(element))
            before = b","
        yield b"]" if before == b"," else nothing

    return Answer(content_type=JSON, parts=together(parts()))


def _by_block(values: StoredValues, pages: Pages) -> Answer:
    """``{"x,y,z": [...], ...}``: their keys have the order of the blocks."""

    async def parts() -> AsyncIterator[Body]:
        last: Vec3 | None = None
        async for key, element in points.elements(values, pages):
            block = points.block_of(key)
            if block == last:
                yield b"," + element
            else:
                yield b'%b"%d,%d,%d":[%b' % (b"{" if last is None else b"],", *block, element)
            last = block
        yield b"{}" if last is None else b"]}"

    return Answer(content_type=JSON, parts=together(parts()))


ENDPOINTS = Endpoints(
    handlers={
        **COMMON.handlers,
        "help": help_text,
        "elements": elements,
        "blocks": blocks,
        "all-elements": all_elements,
        "tag": tagged,
        "label": of_label,
        "element": refuse_element,
        "move": refuse_move,
    },
    changing={
        "POST": {**COMMON.changing.get("POST", {}), "elements": post_elements, "move": move_element, "sync": post_sync},
        "DELETE": {"element": delete_element},
    },
    not_offered=frozenset({"blocks", "labels", "reload"}),
    post_texts={
        "tag": "Only GET action is available on 'tag' endpoint.",
        "label": "Only GET action is available on 'label' endpoint.",
        "all-elements": "Only GET is available on 'all-elements' endpoint.",
        "element": "Only DELETE action is available on 'element' endpoint.",
    },
)
