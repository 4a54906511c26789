"""The README's table of what each backend reads, against what the code says and the tests do."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from wkdvid.backends.bossdb import metadata as boss
from wkdvid.backends.n5 import metadata as n5
from wkdvid.backends.precomputed import metadata as precomputed
from wkdvid.backends.registry import BUILT_IN
from wkdvid.backends.tensorstore_volume import DTYPES
from wkdvid.backends.tiff import encodings as tiff
from wkdvid.backends.wkw import header as wkw
from wkdvid.backends.zarr import metadata as zarr

ROOT = Path(__file__).parents[1]
ROWS = {
    row[0].strip("`"): row
    for row in (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "README.md").read_text().splitlines()
        if re.match(r"\| `\w+` \|", line)
    )
}
VOXELS: Mapping[str, Collection[str]] = {
    **dict.fromkeys(("zarr", "n5", "wkw", "tiff", "tensorstore"), DTYPES),
    "precomputed": precomputed.DATA_TYPES,
    "boss": boss.DTYPES,
}
ENCODINGS: Mapping[str, Collection[str]] = {
    "precomputed": {*precomputed.READABLE, *(f"{name}*" for name in precomputed.FOREIGN)},
    "n5": n5.COMPRESSIONS,
    "wkw": wkw.ENCODINGS,
    "tiff": tiff.ENCODINGS.values(),
}


def listed(cell: str) -> set[str]:
    return set(cell.split(", "))


def test_every_backend_has_a_row() -> None:
    assert ROWS.keys() == BUILT_IN.keys()


@pytest.mark.parametrize("backend", BUILT_IN)
def test_voxels(backend: str) -> None:
    assert listed(ROWS[backend][1]) == set(VOXELS[backend])


@pytest.mark.parametrize("backend", ENCODINGS)
def test_encodings(backend: str) -> None:
    assert listed(ROWS[backend][2]) == set(ENCODINGS[backend])


def test_encodings_of_zarr() -> None:
    named = {name.rstrip("*") for name in listed(ROWS["zarr"][2])}
    assert named >= zarr.COMPRESSORS
    assert named - {"filters"} <= zarr.COMPRESSORS | zarr.NUMCODECS


@pytest.mark.parametrize("backend", BUILT_IN)
def test_every_backend_passes_the_suite(backend: str) -> None:
    (link,) = re.findall(r"\((.*?)\)", ROWS[backend][6])
    assert re.search(r"^class Test\w+\((Volume|Reading)Suite\):$", (ROOT / link).read_text(), re.MULTILINE)
