"""The index on disk: sorted, exact, replaced in one step, and refused where it is not whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkdvid.core.host_lock import HostLock
from wkdvid.errors import CorruptChunk, InvalidRequest, UnsupportedRequest
from wkdvid.signatures import bands, building, sorting
from wkdvid.signatures.bands import BANDS, Bands, fill
from wkdvid.signatures.building import MOST_IDENTICAL, build, install, make_arrays
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.index import SignatureIndex, open_index
from wkdvid.signatures.records import Records, records_of

SIDE = 32


def some(count: int, seed: int = 0) -> Records:
    rng = np.random.default_rng(seed)
    return records_of(rng.integers(-300, 300, (count, 3)), rng.integers(0, 2**64, count, np.uint64))


def built(folder: Path, chunks: Sequence[Records]) -> SignatureIndex:
    build(folder, chunks, SIDE, {"source": "test"})
    index = open_index(folder)
    assert index is not None
    return index


def test_every_block_has_its_own(tmp_path: Path) -> None:
    records = some(3000)
    index = built(tmp_path / "o" / "d", [records[:1000], records[1000:]])
    assert (len(index.points), index.about["count"], index.about["source"]) == (3000, 3000, "test")
    assert len({tuple(block) for block in index.blocks.tolist()}) == len(index.blocks)
    for block, (start, stop) in zip(index.blocks, itertools.pairwise(index.starts), strict=True):
        assert stop > start
        assert (index.points[start:stop] // SIDE == block).all()
    stored = records_of(np.asarray(index.points), np.asarray(index.signatures))
    assert sorted(one.tobytes() for one in stored) == sorted(one.tobytes() for one in records)


def test_what_does_not_fit_into_memory_is_sorted_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = some(5000)
    whole = built(tmp_path / "o" / "whole", [records])
    for module, name, value in ((sorting, "RUN", 300), (sorting, "STEP", 7), (bands, "STEP", 100)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(building, "STEP", 50)
    cut = built(tmp_path / "o" / "cut", [records[i : i + 17] for i in range(0, 5000, 17)])
    assert np.array_equal(cut.points, whole.points)
    assert np.array_equal(cut.signatures, whole.signatures)
    for mine, other in zip(cut.bands.tables, whole.bands.tables, strict=True):
        assert np.array_equal(mine.order, other.order)
        assert np.array_equal(mine.starts, other.starts)


def tables(signatures: npt.NDArray[np.uint64], kept: npt.NDArray[np.bool_]) -> Bands:
    count = int(kept.sum())
    return Bands(
        signatures, kept, tuple(fill(np.empty(count, np.uint32), signatures, band, kept) for band in range(BANDS))
    )


@settings(max_examples=60)
@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.sets(st.integers(0, 63), max_size=12), min_size=1, max_size=40),
    st.integers(0, 63),
    st.integers(0, 2**32),
)
def test_no_near_signature_is_missed(wanted: int, turned: list[set[int]], most: int, seed: int) -> None:
    """The tables find what comparing them all does, among signatures that differ in few bits and in many."""
    rng = np.random.default_rng(seed)
    near = [wanted ^ sum(1 << bit for bit in bits) for bits in turned]
    signatures = np.array([*near, *rng.integers(0, 2**64, 4000, np.uint64).tolist()], np.uint64)
    kept = rng.random(len(signatures)) < 0.9
    differ = np.bitwise_count(signatures ^ np.uint64(wanted))
    for bits in (most, bands.NEAR):
        numbers, found = tables(signatures, kept).near(wanted, bits)
        assert numbers.tolist() == np.flatnonzero((differ <= bits) & kept).tolist()
        assert found.tolist() == differ[numbers].tolist()


def test_a_search_reads_a_small_part_of_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare_all(*_: object) -> None:
        raise AssertionError("all were compared")

    monkeypatch.setattr(Bands, "_compare_all", compare_all)
    signatures = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)
    numbers, _ = tables(signatures, np.ones(len(signatures), bool)).near(int(signatures[77]) ^ 0b1111111, 7)
    assert 77 in numbers


def test_of_identical_signatures_some_are_kept(tmp_path: Path) -> None:
    places = np.stack(np.meshgrid(*[np.arange(8) * 16] * 3, indexing="ij"), -1).reshape(-1, 3)
    same = records_of(places, np.full(512, 99, np.uint64))
    index = built(tmp_path / "o" / "d", [same, some(50)])
    numbers, bits = index.bands.near(99, 0)
    assert (len(numbers), set(bits.tolist())) == (MOST_IDENTICAL, {0})
    assert len(index.points) == 562, "their places are known all the same"
    assert len(index.bands.tables[3].order) == MOST_IDENTICAL + 50
    chosen = index.points[numbers]
    assert all(set(chosen[:, axis].tolist()) == set(range(0, 128, 16)) for axis in range(3)), "from everywhere"
    again = built(tmp_path / "o" / "again", [some(50), same[::-1]])
    assert np.array_equal(again.points[again.bands.near(99, 0)[0]], chosen)
    assert len(index.bands.near(99, 64)[0]) == MOST_IDENTICAL + 50, "comparing them all finds no others"


def test_who_has_an_index_open_keeps_it(tmp_path: Path) -> None:
    folders = SignatureFolders(tmp_path)
    key = ("my lab", "brain")
    assert folders.folder(key) == tmp_path / "my lab" / "brain"
    assert folders.index(key) is None
    old = built(folders.folder(key), [some(10)])
    first = folders.index(key)
    assert first is not None
    assert first is folders.index(key), "opened once"
    (folders.folder(key) / "of1234").mkdir()
    built(folders.folder(key), [some(20)])
    second = folders.index(key)
    assert second is not None
    assert (len(old.points), len(second.points)) == (10, 20)
    assert len(old.bands.near(int(old.signatures[3]), 0)[0]) == 1
    assert len([path for path in folders.folder(key).iterdir() if path.is_dir()]) == 1, "the old arrays are gone"


def test_a_failed_build_leaves_the_old_index(tmp_path: Path) -> None:
    folder = tmp_path / "o" / "d"
    built(folder, [some(10)])
    before = sorted(folder.rglob("*"))
    with pytest.raises(InvalidRequest, match="there are 0 signatures"):
        build(folder, [], SIDE, {})
    with pytest.raises(InvalidRequest, match="block: 2000 is not a number of voxels from 1 to 1024"):
        build(folder, [some(10)], 2000, {})
    assert sorted(folder.rglob("*")) == before


def test_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "o" / "d").mkdir(parents=True)
    lock = HostLock(tmp_path / "o" / "d" / "lock")
    assert lock.acquire()
    with pytest.raises(UnsupportedRequest, match="o/d are being made already"):
        build(tmp_path / "o" / "d", [some(10)], SIDE, {})
    lock.release()
    built(tmp_path / "o" / "d", [some(10)])


def test_an_interrupted_installation_is_done_again(tmp_path: Path) -> None:
    folder, made = tmp_path / "o" / "d", tmp_path / "of1"
    make_arrays(made, [some(10)], SIDE)
    folder.mkdir(parents=True)
    made.rename(folder / "of1")
    assert open_index(folder) is None
    assert install(folder, made, SIDE, {}) == 10
    assert open_index(folder) is not None


@pytest.mark.parametrize("name", ["points", "signatures", "kept", "starts", "blocks", "order2", "starts3"])
def test_an_array_that_is_not_whole_is_noticed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "o" / "d"
    built(folder, [some(100)])
    (array,) = folder.glob(f"*/{name}.npy")
    good = array.read_bytes()
    other = np.zeros(3, np.float32)
    np.save(array, other)
    with pytest.raises(CorruptChunk, match="o/d cannot be read"):
        open_index(folder)
    for bad in (good[:-5], good[:20], b"", b"no array at all" * 20):
        array.write_bytes(bad)
        with pytest.raises(CorruptChunk, match="o/d cannot be read"):
            open_index(folder)
    array.unlink()
    with pytest.raises(CorruptChunk, match="not whole"):
        open_index(folder)


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"arrays": "../other"}, {"arrays": ".."}, {"arrays": 5}, {"block": 0}, {"block": "x"}]
)
def test_other_metadata_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    folder = tmp_path / "o" / "d"
    built(folder, [some(100)])
    meta = json.loads((folder / "meta.json").read_text())
    for text in (json.dumps({**meta, **change}), "[]", "{", ""):
        (folder / "meta.json").write_text(text)
        with pytest.raises(CorruptChunk, match=r"meta\.json of o/d"):
            open_index(folder)
    built(folder, [some(5)])
