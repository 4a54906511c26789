"""Damaged and hostile WKW files: what is wrong with a block, or with a file, is no matter of the others."""

from __future__ import annotations

import asyncio
import itertools
import random
import resource
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import lz4.block
import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.arrays import noise
from tests.backends.wkw_files import write_layer, write_mag
from tests.codecs.damage import changed
from wkdvid.backends.stored_objects import StoredObjects
from wkdvid.backends.wkw.blocks import morton_index
from wkdvid.backends.wkw.files import KeptParts, LevelFiles
from wkdvid.backends.wkw.header import Header, parse_header
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.source import file_source
from wkdvid.core.volume import Volume
from wkdvid.errors import CorruptChunk, UpstreamUnavailable
from wkdvid.testing.faulty import FileServer
from wkdvid.testing.volume_suite import StoredLevel, check, make_backends, open_layers, open_with

SIZE: Vec3 = (40, 32, 32)
"""Of a level of two files, (0, 0, 0) with its 8 blocks of 16 voxels a side, and (1, 0, 0) with a part of them."""
FILE = "em/1/z0/y0/x0.wkw"
BLOCKS = list(itertools.product((0, 16), (0, 16), (0, 16)))
BAD = (16, 0, 16)
"""Where the block begins that is damaged."""
INDEX = 5
"""Its number in the file."""
TABLE = 16


async def open_folder(folder: Path) -> Volume:
    (volume,) = await open_layers("wkw", {"source": str(folder)}, roots=[folder])
    return volume


async def corrupt_blocks(volume: Volume, level: StoredLevel) -> set[Vec3]:
    """Of the first file; the others are what was written."""
    corrupt = set()
    for start in BLOCKS:
        box = Box.at((start[0], start[1], start[2]), (16, 16, 16))
        try:
            check(await volume.read(0, box), level.cut(box))
        except CorruptChunk:
            corrupt.add(box.start)
    rest = Box((32, 0, 0), SIZE)
    check(await volume.read(0, rest), level.cut(rest))
    return corrupt


def end_of(data: bytes, index: int) -> int:
    """What the jump table says."""
    (end,) = struct.unpack_from("<Q", data, TABLE + 8 * index)
    return int(end)


def with_end(index: int, end: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    return lambda data: changed(data, TABLE + 8 * index, "<Q", end(data))


def cut_in_block(data: bytes) -> bytes:
    return data[: end_of(data, 6) - 1]


def without_content(data: bytes) -> bytes:
    """A token of LZ4 that asks for more than there is, where the block begins."""
    at = end_of(data, INDEX - 1)
    return data[:at] + b"\xff" * 40 + data[at + 40 :]


DAMAGES: Mapping[str, tuple[Callable[[bytes], bytes], set[Vec3]]] = {
    "descending": (with_end(INDEX, lambda data: end_of(data, 4) - 1), {BAD, (0, 16, 16)}),
    "empty": (with_end(INDEX, lambda data: end_of(data, 4)), {BAD, (0, 16, 16)}),
    "past the end": (with_end(7, lambda data: len(data) + 1), {(16, 16, 16)}),
    "far past the end": (with_end(7, lambda data: 2**64 - 1), {(16, 16, 16)}),
    "everything": (with_end(0, lambda data: 2**63), {(0, 0, 0), (16, 0, 0)}),
    "within the table": (with_end(0, lambda data: TABLE), {(0, 0, 0), (16, 0, 0)}),
    "cut off": (cut_in_block, {(0, 16, 16), (16, 16, 16)}),
    "no content": (without_content, {BAD}),
    "within the header": (lambda data: changed(data, 8, "<Q", 3), {(0, 0, 0)}),
}


@pytest.mark.parametrize("damaged", DAMAGES)
async def test_broken_blocks_fail_alone(tmp_path: Path, damaged: str) -> None:
    (level,) = write_layer(tmp_path, noise("uint8", SIZE), encoding="lz4")
    change, corrupt = DAMAGES[damaged]
    (tmp_path / FILE).write_bytes(change((tmp_path / FILE).read_bytes()))
    assert await corrupt_blocks(await open_folder(tmp_path), level) == corrupt


@pytest.mark.parametrize("decoded", [4096 - 1, 4096 + 1])
async def test_a_block_of_another_size_is_corrupt(tmp_path: Path, decoded: int) -> None:
    (level,) = write_layer(tmp_path, noise("uint8", SIZE), encoding="lz4")
    data = (tmp_path / FILE).read_bytes()
    content = data[: end_of(data, 6)] + lz4.block.compress(bytes(decoded), store_size=False)
    (tmp_path / FILE).write_bytes(changed(content, TABLE + 8 * 7, "<Q", len(content)))
    assert await corrupt_blocks(await open_folder(tmp_path), level) == {(16, 16, 16)}


async def test_a_raw_file_that_is_cut_off(tmp_path: Path) -> None:
    (level,) = write_layer(tmp_path, noise("uint8", SIZE))
    data = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(data[: 16 + 6 * 4096 - 1])
    assert await corrupt_blocks(await open_folder(tmp_path), level) == {BAD, (0, 16, 16), (16, 16, 16)}


HEADERS: Mapping[str, tuple[int, int]] = {
    "version": (3, 2),
    "block size": (4, 0x15),
    "file size": (4, 0x24),
    "block type": (5, 4),
    "voxel type": (6, 7),
    "no voxel type": (6, 0),
    "channels": (7, 2),
    "no channels": (7, 0),
    "no place for data": (8, 0),
}


@pytest.mark.parametrize("member", HEADERS)
async def test_a_file_that_is_not_of_the_level_fails_alone(tmp_path: Path, member: str) -> None:
    (level,) = write_layer(tmp_path, noise("uint8", SIZE))
    at, value = HEADERS[member]
    (tmp_path / FILE).write_bytes(changed((tmp_path / FILE).read_bytes(), at, "B", value))
    assert await corrupt_blocks(await open_folder(tmp_path), level) == set(BLOCKS)


async def test_a_file_that_is_replaced_is_read_right(tmp_path: Path) -> None:
    """Its jump table was kept."""
    (level,) = write_layer(tmp_path / "d", noise("uint8", SIZE), encoding="lz4")
    volume = await open_folder(tmp_path / "d")
    check(await volume.read(0, Box.at((0, 0, 0), (16, 16, 16))), level.array[:, :16, :16, :16])
    other = StoredLevel(array=noise("uint8", SIZE, seed=1) % 3)
    write_mag(tmp_path / "other", other.array, (0, 0, 0), "lz4hc")
    (tmp_path / "other/z0/y0/x0.wkw").rename(tmp_path / "d" / FILE)
    box = Box.at(BAD, (16, 16, 16))
    with pytest.raises(CorruptChunk):
        await volume.read(0, box)
    check(await volume.read(0, box), other.cut(box))


# What is read


async def test_headers_and_jump_tables_are_read_once(tmp_path: Path) -> None:
    (level,) = write_layer(tmp_path, noise("uint8", SIZE), encoding="lz4")
    with FileServer(tmp_path) as server:
        backends = make_backends(http_hosts=[server.host])
        (volume,) = await open_with(backends, "wkw", {"source": server.url})
        server.requests.clear()
        whole = Box((0, 0, 0), (32, 32, 32))
        for array in await asyncio.gather(*(volume.read(0, whole) for _ in range(64))):
            check(array, level.cut(whole))
        assert server.paths == [FILE] * (2 + 8)
        server.requests.clear()
        (volume,) = await open_with(backends, "wkw", {"source": server.url})
        server.requests.clear()
        for start in BLOCKS[:3]:
            await volume.read(0, Box.at((start[0], start[1], start[2]), (4, 4, 4)))
        assert server.paths == [FILE] * (2 + 3)


async def test_absent_files_are_asked_for_once(tmp_path: Path) -> None:
    write_layer(tmp_path, noise("uint8", SIZE), encoding="lz4")
    (tmp_path / FILE).unlink()
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("wkw", {"source": server.url}, http_hosts=[server.host])
        server.requests.clear()
        assert not (await volume.read(0, Box((0, 0, 0), (32, 32, 32)))).any()
        assert server.paths == [FILE]


async def test_silence_ends_at_the_deadline(tmp_path: Path) -> None:
    """And the next read asks anew."""
    (level,) = write_layer(tmp_path, noise("uint8", SIZE))
    objects = Silent(tmp_path / "em/1")
    files = LevelFiles(objects, read_header(tmp_path).grid, KeptParts(0.05))
    box = Box.at(BAD, (16, 16, 16))
    for answer in await asyncio.gather(*(files.read_chunk(box) for _ in range(3)), return_exceptions=True):
        assert isinstance(answer, UpstreamUnavailable)
    objects.is_silent = False
    found = await files.read_chunk(box)
    assert found is not None
    np.testing.assert_array_equal(found, level.cut(box))
    assert objects.asked == 1 + 2


class Silent(StoredObjects):
    """A store that does not answer."""

    def __init__(self, folder: Path) -> None:
        store = ts.KvStore.open({"driver": "file", "path": f"{folder}/"}).result()
        super().__init__(file_source(str(folder)), store)
        self.is_silent = True
        self.asked = 0

    async def read_range(self, key: str, start: int, stop: int) -> bytes | None:
        self.asked += 1
        if self.is_silent:
            await asyncio.sleep(60)
        return await super().read_range(key, start, stop)


def read_header(dataset: Path) -> Header:
    return parse_header((dataset / "em/1/header.wkw").read_bytes(), "header")


async def test_never_the_whole_of_a_large_file(tmp_path: Path) -> None:
    """1 GiB, of which one block is read."""
    (level,) = write_layer(tmp_path, noise("uint8", (8, 8, 8)), block=32, file=2)
    file = tmp_path / FILE
    header = changed((tmp_path / "em/1/header.wkw").read_bytes(), 4, "B", 0x55)
    (tmp_path / "em/1/header.wkw").write_bytes(header)
    content = changed(file.read_bytes(), 4, "B", 0x55)
    with file.open("wb") as stream:
        stream.write(content)
        stream.truncate(16 + 2**30)
    before = peak_bytes()
    check(await (await open_folder(tmp_path)).read(0, level.extent), level.array)
    assert peak_bytes() - before < 64 << 20


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Fuzzing

SIDE = 4
"""Voxels along a block."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Files of 8 blocks of 4 x 4 x 4 voxels in two channels, by their encoding."""
    folder = tmp_path_factory.mktemp("sound")
    for encoding in ("raw", "lz4"):
        write_mag(folder / encoding, noise("uint16", (8, 8, 8), 2) % 4, (0, 0, 0), encoding, block=SIDE)
    return {encoding: (folder / encoding / "z0/y0/x0.wkw").read_bytes() for encoding in ("raw", "lz4")}


NUMBERS = (2**31, 2**63 - 1, 2**63, 2**64 - 1)


def edited(file: bytes, rng: random.Random) -> bytes:
    """Bits flipped, the end cut off, numbers in the jump table, or anything behind the header."""
    match rng.randrange(4):
        case 0:
            return flipped(file, [rng.randrange(rng.choice((2**14, 2**10))) for _ in range(rng.randrange(5))])
        case 1:
            return file[: rng.randrange(len(file))]
        case 2:
            entries = rng.sample(range(1, 10), rng.randrange(4))
            return entered(file, {n: rng.choice((rng.randrange(2001), *NUMBERS)) for n in entries})
    return file[:16] + rng.randbytes(rng.randrange(201))


def flipped(file: bytes, bits: Sequence[int]) -> bytes:
    edited = bytearray(file)
    for bit in bits:
        edited[bit // 8 % len(file)] ^= 1 << bit % 8
    return bytes(edited)


def entered(file: bytes, entries: Mapping[int, int]) -> bytes:
    """Numbers in the jump table; the first is the header's data offset."""
    for entry, number in entries.items():
        file = changed(file, 8 * entry, "<Q", number)
    return file


@pytest.mark.parametrize("cases", [300, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_strange_files_are_corrupt_or_voxels(sound: Mapping[str, bytes], cases: int) -> None:
    store = ts.KvStore.open({"driver": "memory"}).result()
    objects = StoredObjects(file_source("strange"), store)
    grid = parse_header(sound["raw"], "file").grid
    corners: list[Vec3] = [(x, y, z) for x, y, z in itertools.product((0, SIDE), repeat=3)]
    seen = {"voxels": 0, "corrupt": 0}

    async def read(file: bytes, corner: Vec3) -> None:
        store["z0/y0/x0.wkw"] = file
        try:
            found = await LevelFiles(objects, grid, KeptParts(10)).read_chunk(Box.at(corner, (SIDE, SIDE, SIDE)))
        except CorruptChunk:
            seen["corrupt"] += 1
        else:
            assert found is not None
            assert (found.shape, found.dtype) == ((2, SIDE, SIDE, SIDE), np.dtype("<u2"))
            seen["voxels"] += 1

    before = peak_bytes()
    for seed in range(cases):
        rng = random.Random(seed)
        await read(edited(sound[rng.choice(sorted(sound))], rng), rng.choice(corners))
    assert peak_bytes() - before < 128 << 20
    assert min(seen.values()) > cases // 10
    print(f"fuzzing: {cases} WKW files, blocks: {seen}")


@pytest.mark.parametrize("cases", [300, pytest.param(100_000, marks=pytest.mark.soak)])
def test_strange_headers_are_corrupt_or_headers(cases: int) -> None:
    parsed = 0
    for seed in range(cases):
        try:
            grid = parse_header(strange_header(random.Random(seed)), "header").grid
        except CorruptChunk:
            continue
        parsed += 1
        assert grid.block_side**3 <= grid.block_bytes <= 255 * grid.block_side**3
        assert 1 <= grid.blocks <= 2**45
    assert parsed > cases // 100
    print(f"fuzzing: {cases} WKW headers, of which {parsed} can be")


def strange_header(rng: random.Random) -> bytes:
    """Anything; or members that are mostly small, as real ones are, behind the signature."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(17))
    sides, block_type, voxel_type = rng.randrange(256), rng.randrange(5), rng.randrange(12)
    size = rng.choice((1, 2, 3, 4, 8, 255, rng.randrange(256)))
    return b"WKW\x01" + bytes((sides, block_type, voxel_type, size)) + rng.randbytes(8)


@given(st.tuples(*[st.integers(0, 2**15 - 1)] * 3))
def test_morton_order(block: Vec3) -> None:
    """As its definition has it: bit 3 k + axis of the index is bit k of the coordinate."""
    index = morton_index(block)
    bits = [f"{at:015b}" for at in reversed(block)]
    assert f"{index:045b}" == "".join(itertools.chain.from_iterable(zip(*bits, strict=True)))
