"""Annotations, against a dictionary of elements by position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeAlias

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.instances import Values, new_instance
from wkdvid.core import points
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.points import Element
from wkdvid.core.stored_values import StoredValues
from wkdvid.errors import NotFound
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.values import SqlValueStore

TAGS = ["a", "ab", "é/~"]

positions = st.tuples(*[st.sampled_from([-65, -64, -1, 0, 63, 64, 130])] * 3)
elements = st.fixed_dictionaries(
    {
        "Pos": positions.map(list),
        "Kind": st.sampled_from(sorted(points.KINDS)),
        "Tags": st.lists(st.sampled_from(TAGS), unique=True),
        "Prop": st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=1),
        "Rels": st.lists(st.fixed_dictionaries({"Rel": st.just("GroupedWith"), "To": positions.map(list)}), max_size=2),
    }
)
steps = st.one_of(
    st.tuples(st.just("post"), st.lists(elements, min_size=1, max_size=4)),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("move"), st.integers(0, 9), positions),
)


New: TypeAlias = Callable[[], Values]
"""Makes an empty instance."""


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[New]:
    url = f"sqlite:///{tmp_path_factory.mktemp('db') / 'wkdvid.db'}"
    migrate(url)
    engine, store = open_engine(url), SqlValueStore(open_engine(url))
    yield lambda: new_instance(engine, store)
    store.close()
    engine.dispose()


class Model:
    def __init__(self) -> None:
        self.elements: dict[Vec3, Element] = {}

    def at(self, number: int) -> Vec3:
        """One of those that are there, or a place where none is."""
        known = sorted(self.elements)
        return known[number] if number < len(known) else (7, 7, 7)

    def post(self, posted: list[Element]) -> None:
        self.elements |= {_position(each): _copy(each) for each in posted}

    def delete(self, position: Vec3) -> None:
        old = self.elements.pop(position)
        for rel in old["Rels"]:
            partner = self.elements.get(_tuple(rel["To"]))
            if partner is not None:
                partner["Rels"] = [each for each in partner["Rels"] if _tuple(each["To"]) != position]

    def move(self, start: Vec3, end: Vec3) -> None:
        old = self.elements[start]
        related = [old, *(self.elements.get(_tuple(rel["To"])) for rel in old["Rels"])]
        for rel in (rel for each in related if each is not None for rel in each["Rels"]):
            if _tuple(rel["To"]) == start:
                rel["To"] = list(end)
        del self.elements[start]
        self.elements[end] = {**old, "Pos": list(end)}

    def inside(self, box: Box) -> list[Element]:
        held = (each for position, each in self.elements.items() if _in(position, box))
        return sorted(held, key=lambda each: (_block(_position(each)), each["Pos"][::-1]))


def _copy(element: Element) -> Element:
    copied: Element = orjson.loads(orjson.dumps(element))
    return copied


def _tuple(point: Sequence[int]) -> Vec3:
    return (point[0], point[1], point[2])


def _position(element: Element) -> Vec3:
    return _tuple(element["Pos"])


def _block(position: Vec3) -> Vec3:
    x, y, z = (n // 64 for n in position)
    return (z, y, x)


def _in(position: Vec3, box: Box) -> bool:
    return all(a <= n < b for a, n, b in zip(box.start, position, box.stop, strict=True))


async def listed(values: StoredValues, keys: AsyncIterator[Sequence[str]]) -> list[Element]:
    return [orjson.loads(element) async for _, element in points.elements(values, keys)]


async def step(place: StoredValues, model: Model, name: str, *given: Any) -> None:
    """The same to both."""
    if name == "post":
        await place.change(points.posted(points.parse_elements(orjson.dumps(given[0]))))
        return model.post(given[0])
    position = model.at(given[0])
    change = points.deleted(position) if name == "delete" else points.moved(position, given[1])
    if position not in model.elements:
        with pytest.raises(NotFound, match=r"Did not find .*element \(7,7,7\)"):
            await place.change(change)
        return None
    await place.change(change)
    return model.delete(position) if name == "delete" else model.move(position, given[1])


@settings(max_examples=25, deadline=None)
@given(done=st.lists(steps, max_size=6), start=positions, size=st.tuples(*[st.integers(1, 200)] * 3))
def test_elements_are_where_they_were_put(values: New, done: list[Any], start: Vec3, size: Vec3) -> None:
    place, model = values()("leaf"), Model()

    async def run() -> None:
        for name, *arguments in done:
            await step(place, model, name, *arguments)
        everything = Box((-200, -200, -200), (200, 200, 200))
        box = Box.at(start, size)
        assert await listed(place, points.all_keys(place)) == model.inside(everything)
        assert await listed(place, points.keys_of_box(place, box)) == model.inside(box)
        assert await listed(place, points.keys_of_blocks(place, box.scaled_down(points.BLOCK))) == model.inside(
            box.scaled_down(points.BLOCK).scaled_up(points.BLOCK)
        )
        for tag in TAGS:
            tagged = [each for each in model.inside(everything) if tag in each["Tags"]]
            assert await listed(place, points.keys_of_tag(place, tag)) == tagged

    asyncio.run(run())


async def test_a_box_among_many_elements_is_found_in_few_pages(values: New, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkdvid.core.points.PAGE", 10)
    place = values()("root")
    grid = [{"Pos": [x * 64, y * 64, z * 64]} for x in range(12) for y in range(12) for z in range(12)]
    await place.change(points.posted(points.parse_elements(orjson.dumps(grid))))
    asked = 0
    keys = place.keys

    async def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return await keys(*arguments)

    monkeypatch.setattr(place, "keys", counted)
    found = await listed(place, points.keys_of_box(place, Box((64, 64, 64), (128, 256, 256))))
    assert [each["Pos"] for each in found] == [[64, y, z] for z in (64, 128, 192) for y in (64, 128, 192)]
    assert asked <= 10


async def test_of_changes_at_a_time_none_is_lost(values: New) -> None:
    """Each takes one of the partners away from the same element."""
    place = values()("root")
    around = [[n, 1, 1] for n in range(20)]
    hub = {"Pos": [9, 9, 9], "Rels": [{"Rel": "GroupedWith", "To": to} for to in around]}
    back = [{"Rel": "GroupedWith", "To": hub["Pos"]}]
    posted = [hub, *({"Pos": to, "Rels": back} for to in around)]
    await place.change(points.posted(points.parse_elements(orjson.dumps(posted))))
    await asyncio.gather(*(place.change(points.deleted((n, 1, 1))) for n in range(20)))
    assert [each["Rels"] for each in await listed(place, points.all_keys(place))] == [[]]


def test_keys_tell_the_block_and_the_position() -> None:
    key = points._element_key((-1, 64, -(2**31)))
    assert (points.block_of(key), points.position_of(key)) == ((-1, 1, -(2**25)), (-1, 64, -(2**31)))
