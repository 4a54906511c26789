"""Which datasets are releases of one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from wkdvid.core.entries import DatasetEntry, DatasetKey, EntryParser
from wkdvid.core.releases import release_chains


def parsed(datasets: Mapping[str, Any]) -> tuple[Sequence[DatasetEntry], Sequence[str]]:
    """Entries and problems."""
    parser = EntryParser({"zarr": frozenset({"source"})}, {}, frozenset())
    layers = {"em": {"source": "em"}}
    entries = parser.parse({"zarr": {"lab": {n: {"layers": layers, **more} for n, more in datasets.items()}}})
    return entries, parser.problems


def chains(**older: Sequence[str]) -> Mapping[str, str]:
    """By the names of datasets, chains as their names joined."""
    entries, problems = parsed({name: {"releases": [f"lab/{one}" for one in names]} for name, names in older.items()})
    assert problems == []
    found = release_chains({entry.key: entry for entry in entries})
    return {key.dataset: "".join(one.dataset for one in chain) for key, chain in found.items()}


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        ({"a": "", "b": ""}, {}),
        ({"a": "", "b": "a"}, dict.fromkeys("ab", "ab")),
        ({"c": "ab", "a": "", "b": "", "x": ""}, dict.fromkeys("abc", "abc")),
        ({"a": "", "b": "a", "c": "b"}, dict.fromkeys("abc", "abc")),
        ({"a": "", "b": "a", "c": "ab"}, dict.fromkeys("abc", "abc")),
        ({"a": "", "b": "a", "c": "ba"}, dict.fromkeys("abc", "abc")),
        ({"a": "", "b": "za"}, dict.fromkeys("ab", "ab")),
        ({"a": "", "b": "a", "c": "a"}, {**dict.fromkeys("ab", "ab"), "c": "c"}),
        ({"a": "b", "b": "a"}, {}),
        ({"a": "b", "b": "a", "c": "a"}, dict.fromkeys("abc", "bac")),
    ],
)
def test_chains(older: Mapping[str, str], expected: Mapping[str, str]) -> None:
    assert chains(**{name: list(names) for name, names in older.items()}) == expected


def test_a_thousand_releases_each_naming_the_one_before_it() -> None:
    names = [f"v{i:04}" for i in range(3000)]
    found = chains(**{name: names[max(i - 1, 0) : i] for i, name in enumerate(names)})
    assert found["v0000"] == "".join(names)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"releases": "lab/b"}, None),
        ({"releases": ["b"]}, "zarr.lab.a.releases[0]: expected 'organization/dataset', got 'b'"),
        ({"releases": ["lab/b", 3]}, "zarr.lab.a.releases[1]: expected 'organization/dataset', got 3"),
        ({"releases": ["lab/b/c"]}, "zarr.lab.a.releases[0]: expected 'organization/dataset', got 'lab/b/c'"),
        ({"releases": ["lab/a"]}, "zarr.lab.a.releases: lab/a is no older release of itself"),
        ({"note": 3}, "zarr.lab.a.note: expected text"),
        ({"note": "x" * 5000}, "zarr.lab.a.note: expected text"),
    ],
)
def test_how_releases_are_written(options: Mapping[str, Any], problem: str | None) -> None:
    (entry,), problems = parsed({"a": options})
    if problem is None:
        assert (entry.releases, problems) == ((DatasetKey("lab", "b"),), [])
    else:
        (found,) = problems
        assert found.startswith(problem)
