"""The endpoints of ``annotations``: what users have annotated over clio's API, as DVID's elements, to be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from wkdvid.core.body_cache import Body
from wkdvid.core.geometry import Box
from wkdvid.core.limits import Limits
from wkdvid.errors import InvalidRequest, TooLarge
from wkdvid.export.annotations.elements import BLOCK, block_of, elements
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.calls import JSON, TEXT, Answer, Call, Endpoints, json_answer, together
from wkdvid.frontends.dvid.instances import AnnotationsInstance
from wkdvid.frontends.dvid.made import COMMON

MOST = 250_000
"""Elements that are sorted by their blocks for one answer."""
HELP = """\
{name}: annotations made over clio's API; not to be changed here. A line or a sphere is two elements that are
grouped with each other. Below /api/node/<uuid>/{name}/

    elements/<size>/<offset>     those in a box
    blocks/<size>/<offset>       those in the blocks of 64^3 that a box touches, by block
    all-elements                 all, by block
    tag/<tag>                    those with a tag
    info | help
"""


async def help_text(call: Call[AnnotationsInstance]) -> Answer:
    return Answer(HELP.format(name=call.instance.name).encode(), TEXT)


async def in_box(call: Call[AnnotationsInstance]) -> Answer:
    return _listed(call.services.limits, _found(call, _box(call)), nothing=b"null")


async def blocks(call: Call[AnnotationsInstance]) -> Answer:
    touched = _box(call).scaled_down((BLOCK, BLOCK, BLOCK))
    (x, y, z), (a, b, c) = touched.start, touched.stop
    return await _by_block(_found(call, Box((x * BLOCK, y * BLOCK, z * BLOCK), (a * BLOCK, b * BLOCK, c * BLOCK))))


async def all_elements(call: Call[AnnotationsInstance]) -> Answer:
    return await _by_block(_found(call, None))


async def tagged(call: Call[AnnotationsInstance]) -> Answer:
    if not call.parts or not call.parts[0]:
        raise InvalidRequest("Must include tag string after 'tag' endpoint.")
    return _listed(
        call.services.limits, _found(call, None, call.parts[0]), relations=call.query.get("relationships") == "true"
    )


def _box(call: Call[AnnotationsInstance]) -> Box:
    if len(call.parts) < 2:
        raise InvalidRequest(f"Expect size and offset to follow '{call.endpoint}' in GET request")
    return parse.subvolume(call.parts[0], call.parts[1])


async def _found(
    call: Call[AnnotationsInstance], box: Box | None, tag: str | None = None
) -> AsyncIterator[Mapping[str, Any]]:
    async for page in call.instance.view.pages(box):
        for one in page:
            for element in elements(one, box):
                if tag is None or tag in element["Tags"]:
                    yield element


def _listed(
    limits: Limits, found: AsyncIterator[Mapping[str, Any]], *, nothing: bytes = b"[]", relations: bool = True
) -> Answer:
    async def parts() -> AsyncIterator[Body]:
        before = b"["
        async for element in found:
            shown = element if relations else {name: value for name, value in element.items() if name != "Rels"}
            yield before + orjson.dumps(shown)
            before = b","
        yield b"]" if before == b"," else nothing

    return Answer(content_type=JSON, parts=together(parts(), limits))


async def _by_block(found: AsyncIterator[Mapping[str, Any]]) -> Answer:
    """
    Raises:
        TooLarge: there are too many to hold.
    """
    blocks: dict[str, list[Mapping[str, Any]]] = {}
    count = 0
    async for element in found:
        count += 1
        if count > MOST:
            raise TooLarge(f"more than {MOST} elements: ask for those of a box, elements/<size>/<offset>")
        blocks.setdefault(",".join(map(str, block_of(element["Pos"]))), []).append(element)
    return json_answer(blocks)


ENDPOINTS = Endpoints(
    handlers={
        **COMMON.handlers,
        "help": help_text,
        "elements": in_box,
        "blocks": blocks,
        "all-elements": all_elements,
        "tag": tagged,
    },
    not_offered=frozenset({"elements", "element", "move", "sync", "tags", "blocks", "labels", "label", "reload"}),
)
