"""Reading what ``imgsearch_sig`` reads and writes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from wkdvid.errors import InvalidRequest
from wkdvid.signatures.building import build
from wkdvid.signatures.index import open_index
from wkdvid.signatures.records import Import
from wkdvid.signatures.search import at_location

Record = tuple[int, int, int, int]
RECORDS: Sequence[Record] = [
    (1000, 1000, 1000, 5),
    (1016, 1000, 1000, 2**64 - 7),
    (0, 0, 0, 1),
    (5000, 4, 2**31 - 1, 9),
]


def packed(records: Iterable[Record]) -> bytes:
    return b"".join(struct.pack("<IIIQ", *record) for record in records)


def write_blocks(folder: Path, records: Iterable[Record], side: int = 160) -> Path:
    """As the tool does: each record in the block that its place says."""
    (folder / "blocks").mkdir(parents=True)
    for record in records:
        name = "_".join(str(n // side) for n in record[:3])
        with (folder / "blocks" / name).open("ab") as file:
            file.write(packed([record]))
    masks = {f"ham_{i}": str(0xFFFF << 16 * i) for i in range(4)}
    (folder / "info.json").write_text(json.dumps({**masks, "block_size": side, "num_bits": 64}))
    return folder


def read(source: Path) -> tuple[list[Record], int]:
    found = Import(source)
    records = [(*one["point"].tolist(), int(one["signature"])) for chunk in found.records() for one in chunk]
    return records, found.skipped


def test_a_file_of_records(tmp_path: Path) -> None:
    (tmp_path / "all.bin").write_bytes(packed(RECORDS))
    assert read(tmp_path / "all.bin") == (list(RECORDS), 0)
    assert Import(tmp_path / "all.bin").block() is None


def test_blocks(tmp_path: Path) -> None:
    folder = write_blocks(tmp_path / "out", RECORDS)
    records, skipped = read(folder)
    assert (sorted(records), skipped) == (sorted(RECORDS), 0)
    assert Import(folder).block() == 160


@pytest.mark.parametrize("stray", [(2**32 - 1, 5, 5, 1), (5, 5, 2**31, 1)])
def test_the_record_that_the_tool_adds_is_left_out(tmp_path: Path, stray: Record) -> None:
    (tmp_path / "all.bin").write_bytes(packed([*RECORDS, stray]) + b"cut off")
    assert read(tmp_path / "all.bin") == (list(RECORDS), 1)
    assert sorted(read(write_blocks(tmp_path / "out", [*RECORDS, stray]))[0]) == sorted(RECORDS)


def test_what_is_there_twice_is_there_once_in_the_index(tmp_path: Path) -> None:
    (tmp_path / "all.bin").write_bytes(packed([*RECORDS, RECORDS[-1], *RECORDS]))
    assert build(tmp_path / "lab" / "brain", Import(tmp_path / "all.bin").records(), 160, {}) == len(RECORDS)
    index = open_index(tmp_path / "lab" / "brain")
    assert index is not None
    found = at_location(index, (1014, 1000, 1000))
    assert found is not None
    assert (found.point, found.signed) == ((1016, 1000, 1000), -7)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(InvalidRequest, match=r"noise: \d+, \d+, \d+ cannot be the place of a signature"):
        read(tmp_path / "noise")


def test_records_in_the_wrong_block_are_refused(tmp_path: Path) -> None:
    folder = write_blocks(tmp_path / "out", RECORDS)
    (folder / "blocks" / "7_7_7").write_bytes(packed(RECORDS[:2]))
    with pytest.raises(InvalidRequest, match=r"1000, 1000 cannot be .* in block 7_7_7"):
        read(folder)


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (None, "neither a file of records nor a folder with info.json"),
        ("[", "not the JSON of an index"),
        ("[1]", "not the JSON of an index"),
        ('{"num_bits": 64}', "not the JSON of an index"),
        ('{"block_size": 0}', "block_size 0 is not"),
        ('{"block_size": "160"}', "block_size '160' is not"),
        ('{"block_size": 160, "num_bits": 32}', "num_bits is 32"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path: Path, info: str | None, why: str) -> None:
    if info is not None:
        (tmp_path / "info.json").write_text(info)
    with pytest.raises(InvalidRequest, match=why):
        read(tmp_path)


def test_files_that_are_no_blocks_are_refused(tmp_path: Path) -> None:
    folder = write_blocks(tmp_path / "out", RECORDS)
    (folder / "blocks" / "README").write_text("")
    with pytest.raises(InvalidRequest, match="README: not called X_Y_Z"):
        read(folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "info.json").write_text('{"block_size": 160}')
    with pytest.raises(InvalidRequest, match="no folder blocks"):
        read(tmp_path / "empty")
