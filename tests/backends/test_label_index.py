"""The label index of a volume: exact, whatever the memory; and refused where its files are not what they say."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.label_indexes import MEMORY, count_runs, counted, made_index
from tests.volumes import Voxels, write_precomputed
from wkdvid.backends.label_index import counting, merging
from wkdvid.backends.label_index import runs as runs_module
from wkdvid.backends.label_index.files import FileLabelIndex
from wkdvid.backends.label_index.runs import RECORD, Columns
from wkdvid.core import label_index
from wkdvid.core.entries import DatasetEntry
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.label_index import pages
from wkdvid.errors import CorruptChunk, JobFailed, TooLarge
from wkdvid.testing.volume_suite import make_backends


def cells(shape: Vec3, seed: int = 0, dtype: str = "uint64") -> Voxels:
    """Bodies of a few voxels, some of which come again elsewhere, between them 0."""
    random = np.random.default_rng(seed)
    coarse = random.choice(np.array([0, 1, 2, 77, 200, 255], np.uint64), [-(-n // 5) for n in shape])
    grown = np.kron(coarse, np.ones((5, 5, 5), np.uint64))[: shape[0], : shape[1], : shape[2]]
    if dtype == "uint64":
        grown[grown == 200] = 2**64 - 1
    return np.asfortranarray(grown.astype(dtype))


async def told(index: FileLabelIndex) -> dict[int, dict[Vec3, int]]:
    """All that an index says, in the form of ``counted``."""
    found: dict[int, dict[Vec3, int]] = {}
    async for labels, sizes in pages(index, 0, 2**64):
        assert (await index.sizes(labels)).tolist() == sizes.tolist()
        for label, size in zip(labels.tolist(), sizes.tolist(), strict=True):
            entries = await index.entries(label)
            zyx = entries.blocks[:, ::-1].tolist()
            assert (zyx, size) == (sorted(zyx), entries.voxels)
            blocks = [(x, y, z) for x, y, z in entries.blocks.tolist()]
            found[label] = dict(zip(blocks, entries.counts.tolist(), strict=True))
    return found


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("start", [(0, 0, 0), (-70, 63, 10**6)])
async def test_every_voxel_is_counted_once(tmp_path: Path, dtype: str, start: Vec3) -> None:
    voxels = cells((140, 66, 70), dtype=dtype)
    index = made_index(tmp_path, voxels, start)
    wanted = counted(voxels, start)
    assert await told(index) == wanted
    assert (index.block, index.max_label) == (64, max(wanted))
    assert (await index.sizes([0, 3, 77, 2**64 - 1])).tolist()[:2] == [0, 0]
    assert len(await index.entries(3)) == len(await index.entries(0)) == len(await index.entries(2**64 - 1 - 5)) == 0


async def test_windows_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = made_index(tmp_path, np.arange(1, 2**15 + 1, dtype=np.uint64).reshape(32, 32, 32) * np.uint64(3))
    labels, sizes = await index.listing(10, 3)
    assert (labels.tolist(), sizes.tolist()) == ([12, 15, 18], [1, 1, 1])
    assert [len(part) for part in await index.listing(2**64 - 1, 5)] == [0, 0]
    assert [len(part) for part in await index.listing(2**64, 5)] == [0, 0]
    monkeypatch.setattr(label_index, "PAGE", 1000)
    listed = [labels async for labels, _ in pages(index, 3, 2500)]
    assert [len(part) for part in listed] == [1000, 1000, 500]
    assert np.concatenate(listed).tolist() == [3 * n for n in range(1, 2501)]
    assert (await index.sizes(3 * np.arange(5000, dtype=np.uint64))).tolist() == [0] + [1] * 4999


async def test_a_volume_without_labels(tmp_path: Path) -> None:
    index = made_index(tmp_path, np.zeros((10, 10, 10), np.uint32))
    assert (index.max_label, await told(index)) == (None, {})
    assert (await index.sizes([1, 2])).tolist() == [0, 0]
    assert len(await index.entries(1)) == 0


@settings(max_examples=30)
@given(
    voxels=st.tuples(*[st.integers(1, 75)] * 3).flatmap(
        lambda shape: st.integers(0, 2**32).map(lambda seed: cells(shape, seed, "uint16"))
    ),
    start=st.tuples(*[st.integers(-130, 130)] * 3),
)
async def test_any_box(tmp_path_factory: pytest.TempPathFactory, voxels: Voxels, start: Vec3) -> None:
    assert await told(made_index(tmp_path_factory.mktemp("any"), voxels, start, budget=1)) == counted(voxels, start)


async def test_more_than_the_memory_in_several_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """300,000 records, each held in some 100 bytes, merged three runs at a time within 100 kB."""
    noise = np.random.default_rng(1).integers(0, 25_000, (192, 128, 128), np.uint64)
    monkeypatch.setattr(counting, "RUN_RECORDS", 20_000)
    monkeypatch.setattr(merging, "FAN_IN", 3)
    runs = count_runs(tmp_path / "runs", noise, (0, 0, 0))
    assert len(runs) > 9
    assert len({run.path for run in runs}) == 2, "each of the tasks is one file"
    held: list[int] = []

    def counted_join(parts: list[Columns]) -> Columns:
        held.append(sum(map(len, parts)))
        return runs_module.joined(parts)

    monkeypatch.setattr(merging, "joined", counted_join)
    index = made_index(tmp_path / "index", noise, budget=100_000)
    assert max(held) <= 1000
    assert sum(held) > 2 * sum(run.count for run in runs) > 300_000
    labels, counts = np.unique(noise[noise > 0], return_counts=True)
    found = [part async for part in pages(index, 0, 2**64)]
    assert np.array_equal(np.concatenate([part[0] for part in found]), labels)
    assert np.array_equal(np.concatenate([part[1] for part in found]), counts)
    some = counted(np.where(noise < 20, noise, np.uint64(0)))
    for label, blocks in some.items():
        entries = await index.entries(label)
        assert {tuple(block) for block in entries.blocks.tolist()} == blocks.keys()
        assert entries.voxels == sum(blocks.values())
    assert {path.name for path in (tmp_path / "index" / "merging").rglob("*.npy")} < {f"{i}.npy" for i in range(3)}


def test_merging_stops_when_it_is_told_to(tmp_path: Path) -> None:
    stop = Event()
    parts = merging.merge(count_runs(tmp_path, cells((130, 64, 64)), (0, 0, 0)), 1, stop)
    next(parts)
    stop.set()
    with pytest.raises(JobFailed):
        next(parts)


def test_a_run_that_was_cut_short_is_not_merged(tmp_path: Path) -> None:
    (run,) = count_runs(tmp_path, cells((64, 64, 64)), (0, 0, 0))
    run.path.write_bytes(run.path.read_bytes()[: -RECORD.itemsize])
    with pytest.raises(OSError, match="cut short"):
        list(merging.merge([run], MEMORY, Event()))


@pytest.mark.parametrize("chunk", [(64, 64, 64), (1024, 1024, 1), (16, 16, 512), (100, 30, 70)])
@pytest.mark.parametrize("read_bytes", [1, 1 << 22, 1 << 30])
def test_a_task_is_read_in_whole_blocks_each_once(chunk: Vec3, read_bytes: int) -> None:
    box = Box((-70, 0, 512), (442, 500, 700))
    parts = list(counting.read_boxes(box, chunk, 8, read_bytes))
    assert sum(part.voxels for part in parts) == box.voxels
    assert max(part.voxels for part in parts) <= max(read_bytes // 8, 64**3)
    for part in parts:
        assert box.contains(part)
        for axis in range(3):
            assert part.start[axis] % 64 == 0 or part.start[axis] == box.start[axis]
            assert part.stop[axis] % 64 == 0 or part.stop[axis] == box.stop[axis]
    if read_bytes == 1 << 30:
        assert len(parts) <= 9 * 2 * 3


# Files that are not what they say


@pytest.fixture
async def stored(tmp_path: Path) -> tuple[Path, DatasetEntry]:
    """An entry with an index that fits its source."""
    voxels = cells((70, 64, 64))
    write_precomputed(tmp_path / "seg", [((1, 1, 1), voxels)], kind="segmentation")
    folder = tmp_path / "index"
    made_index(folder, voxels)
    entry = parsed(tmp_path, {"seg": "index"})
    source = {
        "version": 1,
        "backend": "precomputed",
        "options": {"source": str(tmp_path / "seg")},
        "layer": "seg",
        "dtype": "uint64",
        "block": 64,
        "extent": [[0, 0, 0], [70, 64, 64]],
    }
    change(folder, source=source)
    return folder, entry


def parsed(root: Path, indexes: dict[str, str]) -> DatasetEntry:
    absolute = {layer: f"{root / folder}" if "://" not in folder else folder for layer, folder in indexes.items()}
    options = {"layers": {"seg": {"source": str(root / "seg")}}, "indexes": absolute}
    (entry,), problems = make_backends([root]).parse({"precomputed": {"lab": {"data": options}}})
    assert not problems
    return entry


def change(folder: Path, **members: object) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


async def opened(folder: Path, entry: DatasetEntry) -> tuple[object, tuple[str, ...]]:
    (one,) = await make_backends([folder.parent]).open_layers(entry)
    return one.index, one.notes


async def test_an_index_of_this_source_is_opened(stored: tuple[Path, DatasetEntry]) -> None:
    index, notes = await opened(*stored)
    assert notes == ()
    assert isinstance(index, FileLabelIndex)
    assert (await index.sizes([77])).tolist() == [sum(counted(cells((70, 64, 64)))[77].values())]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.u64", b""),
        ("labels.u64", None),
        ("offsets.u64", b"12345678"),
        ("counts.u32", bytes(3)),
        ("index.json", b"[]"),
        ("index.json", None),
        ("index.json", b'{"labels": 5}'),
    ],
)
async def test_a_broken_index_is_a_note_and_the_layer_is_served(
    stored: tuple[Path, DatasetEntry], name: str, content: bytes | None
) -> None:
    folder, entry = stored
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    index, (note,) = await opened(folder, entry)
    assert index is None
    assert note.startswith("Its label index is not used: ")
    assert note.endswith("; 'wkdvid index' makes another.")
    assert str(folder.parent) not in note.replace(f"file://{folder}", "")


@pytest.mark.parametrize("labels", [-1, 2**70, 1.5, True, None, "5", 10**15])
async def test_what_the_document_declares_is_checked(stored: tuple[Path, DatasetEntry], labels: object) -> None:
    folder, entry = stored
    change(folder, labels=labels)
    index, (note,) = await opened(folder, entry)
    assert index is None
    assert "labels" in note


@pytest.mark.parametrize("member", ["options", "extent", "dtype", "backend", "layer", "version"])
async def test_an_index_of_another_source_is_not_used(stored: tuple[Path, DatasetEntry], member: str) -> None:
    folder, entry = stored
    source = json.loads((folder / "index.json").read_text())["source"]
    change(folder, source={**source, member: "other"})
    index, (note,) = await opened(folder, entry)
    assert index is None
    assert "the source is not what it was when this was made" in note


async def test_an_index_has_to_be_a_local_folder_within_the_roots(
    stored: tuple[Path, DatasetEntry], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, _ = stored
    for address in ("s3://bucket/index", str(tmp_path_factory.mktemp("outside"))):
        index, (note,) = await opened(folder, parsed(folder.parent, {"seg": address}))
        assert index is None
        assert "index is not used" in note


async def test_files_that_lead_out_of_the_roots_are_not_mapped(
    stored: tuple[Path, DatasetEntry], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, entry = stored
    outside = tmp_path_factory.mktemp("outside") / "secret"
    (folder / "labels.u64").rename(outside)
    (folder / "labels.u64").symlink_to(outside)
    index, (note,) = await opened(folder, entry)
    assert index is None
    assert "labels.u64 is a link that leads elsewhere" in note
    assert str(outside) not in note


async def test_entries_that_lead_elsewhere_are_corrupt(stored: tuple[Path, DatasetEntry]) -> None:
    folder, entry = stored
    offsets = np.fromfile(folder / "offsets.u64", "<u8")
    blocks = np.fromfile(folder / "blocks.u64", "<u8")
    for name, values in (("offsets.u64", offsets + 2**40), ("offsets.u64", offsets[::-1]), ("blocks.u64", blocks + 9)):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(values.tobytes())
        index, notes = await opened(folder, entry)
        assert isinstance(index, FileLabelIndex)
        assert notes == ()
        with pytest.raises(CorruptChunk):
            await index.entries(77)
        (folder / name).write_bytes(good)


async def test_a_label_in_too_many_blocks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = made_index(tmp_path, np.ones((130, 64, 64), np.uint8))
    assert len(await index.entries(1)) == 3
    monkeypatch.setattr("wkdvid.backends.label_index.files.MAX_ENTRIES", 2)
    with pytest.raises(TooLarge, match="label 1 is in 3 blocks, the limit is 2"):
        await index.entries(1)
