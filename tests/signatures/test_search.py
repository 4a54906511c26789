"""The two questions about signatures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkdvid.core.geometry import Vec3
from wkdvid.errors import CorruptChunk, InvalidRequest
from wkdvid.signatures.building import build
from wkdvid.signatures.index import SignatureIndex, open_index
from wkdvid.signatures.records import records_of
from wkdvid.signatures.search import Match, Rules, Signed, at_location, like_location

SEVEN = 2**64 - 7
Place = tuple[Vec3, int]


def index_of(folder: Path, places: Sequence[Place], side: int = 160) -> SignatureIndex:
    records = records_of(np.array([point for point, _ in places]), np.array([s for _, s in places], np.uint64))
    build(folder, [records], side, {})
    index = open_index(folder)
    assert index is not None
    return index


def turned(signature: int, bits: int) -> int:
    return signature ^ ((1 << bits) - 1)


def test_clio_stores_own_example(tmp_path: Path) -> None:
    index = index_of(
        tmp_path / "d",
        [
            ((1000, 1000, 1000), 5),
            ((1016, 1000, 1000), SEVEN),
            ((5000, 5000, 5000), turned(SEVEN, 1)),
            ((5050, 5000, 5000), turned(SEVEN, 2)),
            ((5101, 5000, 5000), turned(SEVEN, 7)),
            ((9000, 5000, 5000), turned(SEVEN, 8)),
        ],
    )
    at = at_location(index, (1014, 1000, 1000))
    assert at == Signed((1016, 1000, 1000), SEVEN)
    assert at.signed == -7
    assert like_location(index, (1016, 1000, 1000)) == [
        Match((5000, 5000, 5000), 1, 0.875),
        Match((5101, 5000, 5000), 7, 0.125),
    ]
    assert at_location(index, (3000, 3000, 3000)) is None
    assert like_location(index, (3000, 3000, 3000)) is None
    assert Signed((0, 0, 0), 2**63 - 1).signed == 2**63 - 1


def test_the_nearest_may_be_in_another_block(tmp_path: Path) -> None:
    index = index_of(tmp_path / "d", [((159, 80, 80), 1), ((230, 80, 80), 2), ((-20, -20, -20), 3)])
    found = at_location(index, (161, 80, 80))
    assert found is not None
    assert found.point == (159, 80, 80)
    for place, point in (((1, 1, 1), (-20, -20, -20)), ((229, 180, 80), None), ((230, 180, 80), (230, 80, 80))):
        found = at_location(index, place)
        assert (found.point if found is not None else None) == point


@pytest.mark.parametrize("far", [2**31, -(2**62), 2**64, 10**30])
def test_places_far_away(tmp_path: Path, far: int) -> None:
    index = index_of(tmp_path / "d", [((-(2**31), 5, 5), 1), ((2**31 - 1, 5, 5), 1)])
    assert at_location(index, (0, far, 0)) is None
    found = like_location(index, (2**31 - 1, 5, 5))
    assert found is not None
    assert [match.point for match in found] == [(-(2**31), 5, 5)]


def test_equals_come_in_an_order_of_their_own(tmp_path: Path) -> None:
    places = [((x, y, 0), 3) for x in (110, -110) for y in (110, -110)] + [((0, 0, 0), 3), ((0, 300, 0), 3)]
    index = index_of(tmp_path / "d", places)
    found = like_location(index, (0, 0, 0))
    assert found is not None
    corners = [(-110, -110, 0), (-110, 110, 0), (110, -110, 0), (110, 110, 0)]
    assert [match.point for match in found] == [*corners, (0, 300, 0)]
    nearest = at_location(index_of(tmp_path / "e", [((x, 0, 0), x % 7) for x in (10, -10, 20)]), (0, 0, 0))
    assert nearest is not None
    assert nearest.point == (-10, 0, 0)


def test_rules_can_be_others(tmp_path: Path) -> None:
    places = [((1000 * i, 0, 0), turned(0, i)) for i in range(30)]
    index = index_of(tmp_path / "d", places)
    for rules, count in (
        (Rules(), 7),
        (Rules(max_ham=1), 0),
        (Rules(max_ham=20), 19),
        (Rules(max_ham=65), 29),
        (Rules(limit=5), 4),
        (Rules(max_dist=1000), 3),
        (Rules(max_dist=2**31), 0),
    ):
        found = like_location(index, (0, 0, 0), rules)
        assert found is not None
        assert len(found) == count
        assert all(match.score == 1 - match.dist / rules.max_ham > 0 for match in found)


@pytest.mark.parametrize(
    "rules", [{"max_dist": -1}, {"max_dist": 2**32}, {"max_ham": 0}, {"max_ham": 66}, {"limit": 0}, {"limit": 10**9}]
)
def test_rules_have_their_ranges(rules: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match=r"(max_dist|max_ham|limit): -?\d+ is not in \d+ to \d+"):
        Rules(**rules)


def expected(places: Sequence[Place], at: Vec3, rules: Rules) -> list[tuple[Vec3, int]] | None:
    """As clio.md words it, one after the other."""

    def far(a: Vec3, b: Vec3) -> int:
        return sum((m - n) ** 2 for m, n in zip(a, b, strict=True))

    here = min(places, key=lambda place: (far(place[0], at), place[0], place[1]))
    if far(here[0], at) > rules.max_dist**2:
        return None
    rows = [((here[1] ^ signature).bit_count(), far(point, at), point) for point, signature in places]
    accepted, kept = [at], []
    for bits, _, point in sorted(row for row in rows if row[0] < rules.max_ham)[: rules.limit]:
        if all(far(point, other) > rules.max_dist**2 for other in accepted):
            accepted.append(point)
            kept.append((point, bits))
    return kept


coordinate = st.integers(-60, 60)
signature = st.sets(st.integers(0, 63), max_size=6).map(lambda bits: sum(1 << bit for bit in bits))


@settings(max_examples=25)
@given(
    st.dictionaries(st.tuples(coordinate, coordinate, coordinate), signature, min_size=1, max_size=40),
    st.tuples(coordinate, coordinate, coordinate),
    st.builds(Rules, max_dist=st.integers(0, 40), max_ham=st.integers(1, 14), limit=st.integers(1, 50)),
    st.integers(1, 50),
)
def test_answers_are_those_of_the_plain_words(places: dict[Vec3, int], at: Vec3, rules: Rules, side: int) -> None:
    with TemporaryDirectory() as folder:
        index = index_of(Path(folder) / "d", list(places.items()), side)
        found = like_location(index, at, rules)
    wanted = expected(list(places.items()), at, rules)
    assert (None if found is None else [(match.point, match.dist) for match in found]) == wanted


def test_an_index_that_contradicts_itself(tmp_path: Path) -> None:
    index_of(tmp_path / "d", [((1000 * i, 0, 0), i * 0x9E3779B97F4A7C15 % 2**64) for i in range(3000)])
    for name, value, at in (("order0", 2**31, (1_500_000, 0, 0)), ("starts", 90_000, (0, 0, 0))):
        (file,) = (tmp_path / "d").glob(f"*/{name}.npy")
        array = np.load(file, mmap_mode="r+")
        array[1:-1] = value
        array.flush()
        index = open_index(tmp_path / "d")
        assert index is not None
        with pytest.raises(CorruptChunk, match="it has 3000"):
            like_location(index, at)
