"""Annotations as CSV, NML, Parquet, DVID's elements and Neuroglancer's: there and back, and what hostile files do."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkdvid.core.annotations import INT64, KINDS, Annotation, Selection, Summary, bounds
from wkdvid.core.geometry import Box
from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.export.annotations import csv_form, neuroglancer, nml, parquet, precomputed, streams
from wkdvid.export.annotations.elements import elements
from wkdvid.export.annotations.imports import MOST_TOLD, Source
from wkdvid.export.annotations.rows import Right, Wrong

ME = "me@t.com"
NUMBERS = st.integers(-100, 100) | st.integers(INT64[0], INT64[-1])
IN_XML = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters=[*map(chr, range(32)), "\ufffe", "\uffff"])
    | st.sampled_from("\t\n\r"),
    max_size=5,
)
LEADS = st.sampled_from(["", "=", "'", "'=", "+1", "-", "@", "\t", "'''-"])
TEXTS = st.builds(str.__add__, LEADS, IN_XML)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS, lambda one: st.lists(one, max_size=2)
)


def fields(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Those that are empty are as those that are not there."""
    return st.fixed_dictionaries(
        {},
        optional={
            "title": texts.filter(bool),
            "description": texts.filter(bool),
            "tags": st.lists(texts | st.integers(0, 9), min_size=1, max_size=3),
            "prop": st.dictionaries(texts, JSON, min_size=1, max_size=2),
        },
    )


def annotated(texts: st.SearchStrategy[str] = TEXTS) -> st.SearchStrategy[Annotation]:
    def of(kind: str) -> st.SearchStrategy[Annotation]:
        size = KINDS[kind][1]
        return st.builds(
            lambda email, pos, some: Annotation(email=email, kind=kind, pos=tuple(pos), fields=some),
            st.sampled_from([ME, "=other@t.com"]),
            st.lists(NUMBERS, min_size=size, max_size=size),
            fields(texts),
        )

    return st.sampled_from(sorted(KINDS)).flatmap(of)


SOME = st.lists(annotated(), max_size=5)
ODD = st.lists(annotated(st.text(max_size=5)), max_size=5)
POINT = Annotation(email=ME, kind="point", pos=(1, 2, 3))


async def paged(some: Sequence[Annotation]) -> AsyncIterator[Sequence[Annotation]]:
    for at in range(0, len(some), 2):
        yield some[at : at + 2]


async def whole(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])


def imported(form: str, body: bytes) -> list[Annotation]:
    source = Source(form, body, ME, for_others=True)
    report = source.check()
    assert report.problems == []
    found = list(source)
    assert len(found) == report.right
    return found


@settings(max_examples=30)
@given(some=ODD)
async def test_csv_there_and_back(some: Sequence[Annotation]) -> None:
    assert imported("csv", await whole(streams.as_csv(paged(some)))) == some


@settings(max_examples=30)
@given(some=SOME)
async def test_nml_there_and_back(some: Sequence[Annotation]) -> None:
    assert imported("nml", await whole(streams.as_nml(paged(some), "lab/brain", (4, 4, 40)))) == some


@settings(max_examples=30)
@given(some=ODD)
async def test_nml_is_xml_whatever_is_said(some: Sequence[Annotation]) -> None:
    body = await whole(streams.as_nml(paged(some), "lab/\x00<brain", (4, 4, 40)))
    assert [one.pos for one in imported("nml", body)] == [one.pos for one in some]


@settings(max_examples=20)
@given(some=ODD)
async def test_parquet_is_read_by_pyarrow(some: Sequence[Annotation]) -> None:
    rows = pq.read_table(io.BytesIO(await whole(streams.as_parquet(paged(some))))).to_pylist()
    for one, row in zip(some, rows, strict=True):
        assert [row[name] for name in ("x", "y", "z", "x2", "y2", "z2")][: len(one.pos)] == list(one.pos)
        assert (row["key"], row["kind"], row["user"]) == (one.key, one.kind, one.email)
        assert (row["title"], row["description"]) == (one.fields.get("title"), one.fields.get("description"))
        assert json.loads(row["prop"] or "null") == one.fields.get("prop")
        assert json.loads(row["tags"] or "null") == one.fields.get("tags")


@settings(max_examples=30)
@given(some=ODD)
async def test_elements_are_as_dvid_has_them(some: Sequence[Annotation]) -> None:
    found = json.loads(await whole(streams.as_elements(paged(some))))
    assert [tuple(each["Pos"]) for each in found] == [point for one in some for point in one.points]
    for each in found:
        assert all(isinstance(text, str) for text in [*each["Tags"], *each["Prop"].values()])
    line = Annotation(email=ME, kind="lineseg", pos=(0, 0, 0, 9, 9, 9))
    (end,) = elements(line, Box((5, 5, 5), (10, 10, 10)))
    assert (end["Pos"], end["Rels"]) == ((9, 9, 9), [{"Rel": "GroupedWith", "To": (0, 0, 0)}])


# ---- Neuroglancer's --------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    numbers=st.sets(st.integers(1, 10**6), min_size=1, max_size=30),
    kind=st.sampled_from(sorted(KINDS)),
    count=st.sampled_from([1, 5_000, 5_001, 10**6]),
    data=st.data(),
)
def test_each_annotation_is_of_one_level(numbers: set[int], kind: str, count: int, data: st.DataObject) -> None:
    size = KINDS[kind][1]
    places = st.lists(st.integers(-(10**5), 10**5), min_size=size, max_size=size)
    some = [Annotation(email=ME, kind=kind, pos=tuple(data.draw(places)), number=number) for number in sorted(numbers)]
    corners = [bounds(one.kind, one.pos) for one in some]
    low = tuple(min(corner[0][axis] for corner in corners) for axis in range(3))
    high = tuple(max(corner[1][axis] for corner in corners) for axis in range(3))
    info = precomputed.info(kind, Summary(count, low, high), (4.0, 4.0, 40.0))
    assert all(a <= b for a, b in zip(info["lower_bound"], low, strict=True))
    assert all(a > b for a, b in zip(info["upper_bound"], high, strict=True))
    for one, (first, last) in zip(some, corners, strict=True):
        levels = []
        for level in info["spatial"]:
            side = level["chunk_size"][0]
            extent = [b - a for a, b in zip(info["lower_bound"], info["upper_bound"], strict=True)]
            assert [cells * side for cells in level["grid_shape"]] == extent
            index = [(at - start) // side for at, start in zip(first, info["lower_bound"], strict=True)]
            _, _, key = level["key"].partition("/")
            cell = "_".join(map(str, index))
            shown = precomputed.in_cell(Selection(dataset="d", emails=None), kind, key, cell)
            assert shown.box is not None
            assert all(a < stop for a, stop in zip(first, shown.box.stop, strict=True))
            assert all(b >= start for b, start in zip(last, shown.box.start, strict=True))
            number = one.number or 0
            if number % shown.every == 0 and (shown.but_every is None or number % shown.but_every):
                levels.append(level)
        assert len(levels) == 1


@pytest.mark.parametrize(
    "key", ["", "x", "1.1.5.0.0.0", "21.0.30.0.0.0", "9.0.3.0.0.0", "1.0.99.0.0.0", "1.0.64.9.0.0"]
)
def test_no_such_cell(key: str) -> None:
    with pytest.raises(NotFound):
        precomputed.in_cell(Selection(dataset="d", emails=None), "point", key, "0_0_0")


def test_bytes_of_annotations() -> None:
    sphere = Annotation(email=ME, kind="sphere", pos=(0, 0, 0, 6, 8, 0), number=7)
    assert precomputed.one(sphere) == struct.pack("<6f", 3, 4, 0, 5, 5, 5)
    assert precomputed.many([sphere]) == struct.pack("<Q6fQ", 1, 3, 4, 0, 5, 5, 5, 7)
    assert precomputed.many([]) == bytes(8)


def test_a_state_that_holds_annotations() -> None:
    some = [
        POINT,
        Annotation(email=ME, kind="sphere", pos=(0, 0, 0, 6, 8, 0), fields={"title": "T", "description": "D"}),
    ]
    (layer,) = neuroglancer.state(some, (4, 4, 40), [])["layers"]
    assert layer["source"]["url"] == "local://annotations"
    assert layer["annotations"][0] == {"id": "me@t.com Pt1_2_3", "type": "point", "point": (1, 2, 3)}
    assert layer["annotations"][1]["radii"] == [5, 5, 5]
    assert layer["annotations"][1]["description"] == "T\nD"


# ---- what comes from others ------------------------------------------------------------------------------------------

CSV = b"""x,y,z,kind,x2,y2,z2,tags,prop,user
1,2,3,,,,,a; b,,
1.9,-2.9,3.,point,,,,,,
x,2,9223372036854775808,,,,,,,
1,2,3,box,,,,,,
1,2,3,lineseg,4,,6,,,
1,2,3,,,,,[1,,
1,2,3,,,,,,[],nobody
1,2,3
1,2,3,,,,,,"{}
",v@t.com
\xff,2,3,,,,,\xff,,
1,2,3,point,4,,,,,
"""


def test_csv_with_everything_wrong() -> None:
    source = Source("csv", CSV, ME, for_others=False)
    assert [(one.pos, one.fields) for one in source] == [((1, 2, 3), {"tags": ["a", "b"]}), ((1, -2, 3), {})]
    problems = {one.line: one.problem for one in source.check().problems}
    assert list(problems) == [4, 5, 6, 7, 8, 9, 10, 12, 13]
    assert problems[4].startswith("x: expected a whole number of 64 bits, got 'x'; z: ")
    assert problems[5] == "kind: expected one of point, lineseg, sphere, got 'box'"
    assert problems[6] == "y2: expected a whole number of 64 bits, got ''"
    assert problems[7].startswith("tags: not JSON")
    assert problems[8] == "prop: expected a JSON object; user: 'nobody' is no email address"
    assert problems[9] == "3 cells, where the header has 10"
    assert problems[10] == "user: no permission to add annotations for v@t.com"
    assert problems[12] == "not UTF-8"
    assert problems[13] == "x2: a point has none"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no column x, y, z"),
        (b"x,y\n", "no column z"),
        (b"x,y,z,w\n", r"unknown or repeated columns \['w'\]"),
        (b"x,y,z,z\n", "unknown or repeated"),
        (b'x,y,z\n1,2,"3\n4', "line 3: not CSV"),
        (b"x,y,z\n" + b"9" * 200_000, "line 2: not CSV: field larger"),
    ],
)
def test_no_csv(body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        Source("csv", body, ME, for_others=True).check()


def test_a_spreadsheet_is_given_no_formula() -> None:
    one = Annotation(email="=cmd@t.com", kind="point", pos=(-1, 0, 0), fields={"title": "=1+1", "description": "@SUM"})
    assert csv_form.rows([one]) == b"Pt-1_0_0,point,-1,0,0,,,,'=cmd@t.com,'=1+1,'@SUM,,\r\n"


def test_many_problems_are_not_all_told() -> None:
    report = Source("csv", b"x,y,z\n" + b",,\n" * (MOST_TOLD + 5), ME, for_others=True).check()
    assert (report.wrong, len(report.problems)) == (MOST_TOLD + 5, MOST_TOLD + 1)
    assert report.problems[-1].problem == "5 more are wrong behind this one"


ENTITY = b'<!DOCTYPE things [<!ENTITY a SYSTEM "file:///etc/hostname">]><things>&a;</things>'
LAUGHS = b'<!DOCTYPE t [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>\n<things>&b;</things>'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (ENTITY, "line 1: a document type is not accepted"),
        (LAUGHS, "document type is not accepted"),
        (b"", "not XML: no element found"),
        (b"<things>\n<thing>", "line 2: not XML"),
        (b"<things>&a;</things>", "undefined entity"),
        (b"x,y,z\n1,2,3", "line 1: not XML"),
    ],
)
def test_no_nml(body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        Source("nml", body, ME, for_others=True).check()


NML = b"""<things>
<thing id="1" name="tree"><nodes><node id="1" x="1.0" y="2" z="3"/><node id="2" x="4" y="5" z="6"/>
<node id="3" x="7" y="8" z="9"/></nodes><edges><edge source="1" target="2"/></edges></thing>
<thing id="2"><nodes><node id="4" x="1" y="2"/></nodes></thing>
<thing id="3"><nodes><node id="5" x="1e99" y="NaN" z="1"/></nodes></thing>
<thing id="4"><nodes></nodes><edges><edge source="1" target="2"/></edges></thing>
<thing id="5"><nodes><node id="6" x="1" y="2" z="3"/></nodes>
<metadata><metadataEntry key="kind" stringValue="sphere"/></metadata></thing>
<comments><comment node="1" content="here"/><comment node="3" content="alone"/></comments>
</things>"""


def test_nml_of_others() -> None:
    source = Source("nml", NML, ME, for_others=True)
    assert [(one.kind, one.pos, one.fields) for one in source] == [
        ("point", (7, 8, 9), {"title": "tree", "description": "alone"}),
        ("lineseg", (1, 2, 3, 4, 5, 6), {"title": "tree", "description": "here"}),
    ]
    problems = {one.line: one.problem for one in source.check().problems}
    assert list(problems) == [4, 5, 6, 7]
    assert problems[4] == "z: expected a whole number of 64 bits, got ''"
    assert problems[6] == "an edge to a node '1' that is not there"
    assert problems[7] == "a sphere has 2 nodes, this tree has 1"


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_harm(body: bytes) -> None:
    for form in ("csv", "nml"):
        for begin in (b"", b"x,y,z\n", b"<things><thing>"):
            try:
                for one in Source(form, begin + body, ME, for_others=True).check().told:
                    assert one.line > 0
            except InvalidRequest:
                pass


def test_parquet_and_rows_share_their_columns() -> None:
    file = io.BytesIO()
    parquet.write([], file)
    assert pq.read_table(io.BytesIO(file.getvalue())).num_rows == 0
    assert isinstance(next(csv_form.read(b"x,y,z\n1,2,3\n", ME)), Right)
    assert isinstance(next(nml.read(NML, ME)), Right)
    assert isinstance(next(csv_form.read(b"x,y,z\n1,2\n", ME)), Wrong)
