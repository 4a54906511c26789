"""Typed annotations over SQLite and PostgreSQL, against a dictionary; what touches a box, against all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.databases import new_database
from wkdvid.core.annotations import INT64, KINDS, Annotation, Selection, bounds
from wkdvid.core.geometry import Box
from wkdvid.metadata.clio import annotations as module
from wkdvid.metadata.clio.annotations import Annotations, Puts
from wkdvid.metadata.clio.cells import cell_of, ranges_of
from wkdvid.metadata.engine import open_engine, transaction
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import typed_annotations

DATASET, BY = "lab/brain", "by@t.com"
EMAILS = ("a@t.com", "b@t.com")
PAGE = 7


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    opened = open_engine(new_database(request, tmp_path_factory.mktemp("db")))
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def store(engine: sa.Engine) -> Iterator[Annotations]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE", PAGE)
        yield Annotations(Queries(engine))


def empty(engine: sa.Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(sa.delete(typed_annotations))


def merge(stored: Mapping[str, object], given: Mapping[str, object]) -> Mapping[str, object]:
    return {**stored, **given}


async def listed(store: Annotations, wanted: Selection) -> list[Annotation]:
    return [one async for page in store.pages(wanted) for one in page]


def kept(found: Sequence[Annotation]) -> dict[tuple[str, str], Annotation]:
    assert len({(one.email, one.key) for one in found}) == len(found)
    return {(one.email, one.key): one for one in found}


NEAR = st.integers(-70, 70)
FAR = st.sampled_from([INT64[0], INT64[0] + 1, -(2**40), -(2**25), 2**25, 2**30 + 5, INT64[-2], INT64[-1]])
COORDINATES = NEAR | st.integers(-5000, 5000) | st.integers(-(2**24), 2**24) | FAR


def of_kind(kind: str, numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Annotation]:
    size = KINDS[kind][1]
    fields = st.dictionaries(st.sampled_from(["title", "description"]), st.text(max_size=3), max_size=2)
    return st.builds(
        lambda email, pos, fields: Annotation(email=email, kind=kind, pos=tuple(pos), fields=fields),
        st.sampled_from(EMAILS),
        st.lists(numbers, min_size=size, max_size=size),
        fields,
    )


SOME = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: of_kind(kind, COORDINATES))
CROWDED = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: of_kind(kind, st.integers(0, 1)))


@settings(max_examples=12)
@given(batches=st.lists(st.tuples(st.booleans(), st.lists(CROWDED, max_size=3 * PAGE)), max_size=3))
def test_what_is_put_is_there(
    engine: sa.Engine, store: Annotations, batches: Sequence[tuple[bool, Sequence[Annotation]]]
) -> None:
    empty(engine)
    model: dict[tuple[str, str], Annotation] = {}
    for merges, some in batches:
        assert asyncio.run(store.put(DATASET, Puts(some, merge if merges else None), BY)) == len(some)
        for one in some:
            before = model.get((one.email, one.key))
            fields = {**before.fields, **one.fields} if merges and before else one.fields
            model[one.email, one.key] = Annotation(email=one.email, kind=one.kind, pos=one.pos, fields=fields)
    assert kept(asyncio.run(listed(store, Selection(dataset=DATASET, emails=None)))) == model
    of_one = kept(asyncio.run(listed(store, Selection(dataset=DATASET, emails=EMAILS[:1], kind="point"))))
    assert of_one == {at: one for at, one in model.items() if one.email == EMAILS[0] and one.kind == "point"}
    assert asyncio.run(listed(store, Selection(dataset="lab/other", emails=None))) == []


def touches(one: Annotation, box: Box) -> bool:
    low, high = bounds(one.kind, one.pos)
    return all(a < stop and b >= start for a, b, start, stop in zip(low, high, box.start, box.stop, strict=True))


BOXES = st.tuples(*[st.tuples(COORDINATES, COORDINATES).map(sorted)] * 3).map(
    lambda spans: Box((spans[0][0], spans[1][0], spans[2][0]), (spans[0][1], spans[1][1], spans[2][1]))
)


@settings(max_examples=25)
@given(some=st.lists(SOME, max_size=40), boxes=st.lists(BOXES, min_size=1, max_size=6))
def test_what_touches_a_box(
    engine: sa.Engine, store: Annotations, some: Sequence[Annotation], boxes: Sequence[Box]
) -> None:
    empty(engine)
    asyncio.run(store.put(DATASET, Puts(some), BY))
    for box in boxes:
        found = kept(asyncio.run(listed(store, Selection(dataset=DATASET, emails=None, box=box))))
        wanted = [one for one in some if touches(one, box)] if box.voxels else []
        assert found.keys() == {(one.email, one.key) for one in wanted}


@given(one=SOME, boxes=st.lists(BOXES, min_size=1, max_size=8))
def test_cells_hold_all_that_touches(one: Annotation, boxes: Sequence[Box]) -> None:
    cell = cell_of(*bounds(one.kind, one.pos))
    assert 0 <= cell < 2**63
    for box in boxes:
        ranges = ranges_of(box, cell)
        assert ranges == sorted(ranges)
        if box.voxels and touches(one, box):
            assert sum(first <= cell <= last for first, last in ranges) == 1


def test_few_cells_are_asked_for() -> None:
    for side in (1, 100, 3_000, 10**6):
        box = Box.at((12_345, 67_890, 23_456), (side, side, side))
        assert len(ranges_of(box, cell_of((0, 0, 0), (2**22, 0, 0)))) <= 27 * 8


@given(st.lists(st.integers(INT64[0], INT64[-1]), min_size=6, max_size=6))
def test_a_sphere_is_within_its_box(pos: list[int]) -> None:
    low, high = bounds("sphere", pos)
    for axis in range(3):
        twice_centre = pos[axis] + pos[axis + 3]
        square = sum((pos[i] - pos[i + 3]) ** 2 for i in range(3))  # of the diameter
        assert low[axis] == INT64[0] or (
            twice_centre - 2 * low[axis] >= 0 and (twice_centre - 2 * low[axis]) ** 2 >= square
        )
        assert high[axis] == INT64[-1] or (2 * high[axis] - twice_centre) ** 2 >= square
        assert low[axis] <= min(pos[axis], pos[axis + 3]) <= max(pos[axis], pos[axis + 3]) <= high[axis]


async def test_numbers_stay(engine: sa.Engine, store: Annotations) -> None:
    empty(engine)
    everything = Selection(dataset=DATASET, emails=None)
    points = [Annotation(email=EMAILS[0], kind="point", pos=(n, 0, 0)) for n in range(20)]
    await store.put(DATASET, Puts(points), BY)
    before = {one.key: one.number for one in await listed(store, everything)}
    await store.put(DATASET, Puts(points), BY)
    assert {one.key: one.number for one in await listed(store, everything)} == before
    number = before["Pt7_0_0"]
    assert number is not None
    assert await store.find(everything, number) == points[7]
    assert await store.find(Selection(dataset=DATASET, emails=EMAILS[1:]), number) is None
    thinned = await listed(store, Selection(dataset=DATASET, emails=None, every=2, but_every=4))
    assert {one.number for one in thinned} == {n for n in before.values() if n is not None and n % 4 == 2}
    assert (await store.summaries(everything))["point"].high == (19, 0, 0)


async def test_two_who_merge_into_nothing_lose_nothing(engine: sa.Engine, store: Annotations) -> None:
    empty(engine)

    async def add(n: int) -> None:
        one = Annotation(email=EMAILS[0], kind="point", pos=(0, 0, 0), fields={"prop": {str(n): n}})
        await store.put(DATASET, Puts([one], lambda a, b: {"prop": {**a["prop"], **b["prop"]}}), BY)

    await asyncio.gather(*map(add, range(8)))
    (found,) = await listed(store, Selection(dataset=DATASET, emails=None))
    assert found.fields == {"prop": {str(n): n for n in range(8)}}


async def test_moving(engine: sa.Engine, store: Annotations) -> None:
    empty(engine)
    for moved_from, x in ((None, 1), ("Pt1_0_0", 2), ("Pt2_0_0", 2)):
        one = Annotation(email=EMAILS[0], kind="point", pos=(x, 0, 0))
        await store.put(DATASET, Puts([one]), BY, moved_from)
    assert [one.key for one in await listed(store, Selection(dataset=DATASET, emails=None))] == ["Pt2_0_0"]
