"""Points with what is said of them, as DVID's annotation instances have them, kept as values by keys.

An element is the JSON ``{"Pos": [x, y, z], "Kind", "Tags": [...], "Prop": {...}, "Rels": [{"Rel", "To": [x, y, z]}]}``.
Its key begins with its block of 64 voxels a side, so that those of a box are near each other, in the order z, y, x; of
each tag there is a key too, without a value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from wkdvid.core.geometry import Box, Vec3, divide_down
from wkdvid.core.stored_values import PAGE, Change, Read, StoredValues, items, key_pages
from wkdvid.errors import InvalidRequest, NotFound

Element: TypeAlias = dict[str, Any]

SIDE = 64
BLOCK: Vec3 = (SIDE, SIDE, SIDE)
KINDS = frozenset({"Unknown", "PostSyn", "PreSyn", "Gap", "Note"})
RELATIONS = frozenset({"UnknownRelationship", "PostSynTo", "PreSynTo", "ConvergentTo", "GroupedWith"})
TAG_BYTES = 400
"""In UTF-8, of which a key holds each byte as two digits."""
_INT32 = range(-(2**31), 2**31)
_ELEMENT, _TAG = "e", "t"
_AFTER = "~"
"""After every digit."""


# ---- elements as JSON ---------------------------------------------------------------------------------------------


def parse_elements(body: bytes) -> list[Element]:
    """
    Raises:
        InvalidRequest: not a JSON list of elements; the message says which is wrong.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"elements: not valid JSON: {error.msg}") from error
    if not isinstance(found, list):
        raise InvalidRequest("elements: expected a JSON list")
    return [_element(each, f"elements[{number}]") for number, each in enumerate(found)]


def _element(given: object, where: str) -> Element:
    if not isinstance(given, dict):
        raise InvalidRequest(f"{where}: expected an object")
    kind = given.get("Kind") or "Unknown"
    _require(kind in KINDS, f"{where}.Kind", f"one of {', '.join(sorted(KINDS))}")
    tags, prop, rels = given.get("Tags") or [], given.get("Prop") or {}, given.get("Rels") or []
    _require(isinstance(tags, list) and all(map(_is_tag, tags)), f"{where}.Tags", f"texts of 1 to {TAG_BYTES} bytes")
    texts = isinstance(prop, dict) and all(isinstance(text, str) for text in prop.values())
    _require(texts, f"{where}.Prop", "an object of texts")
    _require(isinstance(rels, list), f"{where}.Rels", "a list")
    return {
        "Pos": _point(given.get("Pos"), f"{where}.Pos"),
        "Kind": kind,
        "Tags": list(dict.fromkeys(tags)),
        "Prop": prop,
        "Rels": [_relation(each, f"{where}.Rels[{number}]") for number, each in enumerate(rels)],
    }


def _relation(given: object, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidRequest(f"{where}: expected an object")
    name = given.get("Rel") or "UnknownRelationship"
    _require(name in RELATIONS, f"{where}.Rel", f"one of {', '.join(sorted(RELATIONS))}")
    return {"Rel": name, "To": _point(given.get("To"), f"{where}.To")}


def _point(given: object, where: str) -> list[int]:
    is_point = isinstance(given, list) and len(given) == 3 and all(type(n) is int and n in _INT32 for n in given)
    if not isinstance(given, list) or not is_point:
        raise InvalidRequest(f"{where}: expected [x, y, z] of 32-bit numbers")
    return given


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 0 < len(tag.encode()) <= TAG_BYTES


def _require(holds: bool, where: str, expected: str) -> None:
    if not holds:
        raise InvalidRequest(f"{where}: expected {expected}")


def without_relations(element: bytes) -> bytes:
    """An element as labels and tags list it."""
    found: Element = orjson.loads(element)
    del found["Rels"]
    return orjson.dumps(found)


# ---- keys ---------------------------------------------------------------------------------------------------------


def _place(point: Vec3) -> str:
    """Digits in the order z, y, x."""
    return "".join(f"{n + 2**31:08x}" for n in reversed(point))


def _position_digits(point: Sequence[int]) -> str:
    position = (point[0], point[1], point[2])
    return _place(divide_down(position, BLOCK)) + _place(position)


def _element_key(point: Sequence[int]) -> str:
    return _ELEMENT + _position_digits(point)


def _tag_prefix(tag: str) -> str:
    return f"{_TAG}{tag.encode().hex()}/"


def _numbers(digits: str) -> Vec3:
    z, y, x = (int(digits[at : at + 8], 16) - 2**31 for at in (0, 8, 16))
    return (x, y, z)


def block_of(key: str) -> Vec3:
    """Of an element."""
    return _numbers(key[1:25])


def position_of(key: str) -> Vec3:
    """Of an element."""
    return _numbers(key[25:])


# ---- changes ------------------------------------------------------------------------------------------------------


def posted(elements: Sequence[Element]) -> Change:
    """Add them, each in the place of the one that is at its position."""

    def change(read: Read) -> Mapping[str, bytes | None]:
        new = {_element_key(each["Pos"]): each for each in elements}
        old = read([*new])
        tags = {key: None for value in old.values() for key in _tag_keys(orjson.loads(value))}
        return {**tags, **_written(new.values())}

    return change


def deleted(position: Vec3) -> Change:
    """Take one away, and what its relations point back with.

    The change raises NotFound where there is none.
    """

    def change(read: Read) -> Mapping[str, bytes | None]:
        old = _found(read, position, "element")
        partners = _partners(read, old, position)
        for each in partners:
            each["Rels"] = [rel for rel in each["Rels"] if rel["To"] != list(position)]
        return {**_erased(old), **_written(partners)}

    return change


def moved(start: Vec3, end: Vec3) -> Change:
    """Give one another position, in the place of what is there, and let what it is related to point there.

    The change raises NotFound where there is none.
    """

    def change(read: Read) -> Mapping[str, bytes | None]:
        old = _found(read, start, "moved element")
        replaced = [orjson.loads(value) for value in read([_element_key(end)]).values()]
        partners = [each for each in _partners(read, old, start) if each["Pos"] != list(end)]
        for rel in (rel for each in (*partners, old) for rel in each["Rels"]):
            if rel["To"] == list(start):
                rel["To"] = list(end)
        erased = {key: None for each in (*replaced, old) for key in _erased(each)}
        return {**erased, **_written([*partners, {**old, "Pos": list(end)}])}

    return change


def _found(read: Read, position: Vec3, what: str) -> Element:
    value = read([_element_key(position)]).get(_element_key(position))
    if value is None:
        raise NotFound(f"Did not find {what} ({','.join(map(str, position))}) in datastore")
    element: Element = orjson.loads(value)
    return element


def _partners(read: Read, element: Element, position: Vec3) -> list[Element]:
    """What the element is related to, but for itself."""
    keys = {_element_key(rel["To"]) for rel in element["Rels"] if rel["To"] != list(position)}
    return [orjson.loads(value) for value in read(sorted(keys)).values()]


def _written(elements: Iterable[Element]) -> dict[str, bytes | None]:
    values: dict[str, bytes | None] = {}
    for each in elements:
        values |= dict.fromkeys(_tag_keys(each), b"")
        values[_element_key(each["Pos"])] = orjson.dumps(each)
    return values


def _erased(element: Element) -> dict[str, bytes | None]:
    return dict.fromkeys([_element_key(element["Pos"]), *_tag_keys(element)])


def _tag_keys(element: Element) -> list[str]:
    place = _position_digits(element["Pos"])
    return [_tag_prefix(tag) + place for tag in element["Tags"]]


# ---- what is where ------------------------------------------------------------------------------------------------


async def all_keys(values: StoredValues) -> AsyncIterator[Sequence[str]]:
    """Of all elements, in pages."""
    async for page in key_pages(values, _ELEMENT, _ELEMENT + _AFTER):
        yield page


async def keys_of_blocks(values: StoredValues, blocks: Box) -> AsyncIterator[Sequence[str]]:
    """Of the elements in a box of blocks, in pages. What lies between its rows is skipped, a page at the most."""
    x, y, z = blocks.stop
    at, last = _ELEMENT + _place(blocks.start), _ELEMENT + _place((x - 1, y - 1, z - 1)) + _AFTER
    while page := await values.keys(at, last, PAGE):
        yield [key for key in page if _is_inside(block_of(key), blocks)]
        at = max(page[-1] + "\0", _ELEMENT + _place(_next_inside(block_of(page[-1]), blocks)))


def _is_inside(point: Vec3, box: Box) -> bool:
    return all(a <= n < b for a, n, b in zip(box.start, point, box.stop, strict=True))


def _next_inside(block: Vec3, blocks: Box) -> Vec3:
    """The first block of a box that does not come before another one, in the order z, y, x."""
    (x, y, z), (x0, y0, _), (x1, y1, _) = block, blocks.start, blocks.stop
    if x >= x1:
        x, y = x0, y + 1
    if y >= y1:
        x, y, z = x0, y0, z + 1
    if y < y0:
        x, y = x0, y0
    return (max(x, x0), y, z)


async def keys_of_box(values: StoredValues, box: Box) -> AsyncIterator[Sequence[str]]:
    """Of the elements in a box of voxels, in pages."""
    async for page in keys_of_blocks(values, box.scaled_down(BLOCK)):
        yield [key for key in page if _is_inside(position_of(key), box)]


async def keys_of_tag(values: StoredValues, tag: str) -> AsyncIterator[Sequence[str]]:
    """Of the elements that have a tag, in pages."""
    prefix = _tag_prefix(tag)
    async for page in key_pages(values, prefix, prefix + _AFTER):
        yield [_ELEMENT + key[len(prefix) :] for key in page]


async def elements(values: StoredValues, keys: AsyncIterator[Sequence[str]]) -> AsyncIterator[tuple[str, bytes]]:
    """The elements of some keys, but for those that are deleted meanwhile."""
    async for page in keys:
        async for key, value in items(values, page):
            if value is not None:
                yield key, value
