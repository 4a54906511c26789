"""Rows of the fault matrix that need to know a format's bytes. Those that hold for any are in ``VolumeSuite``."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numcodecs import Blosc, Zlib
from PIL import Image
from zarr.codecs import Crc32cCodec, GzipCodec

from tests.backends import test_n5, test_precomputed, test_zarr
from tests.backends.arrays import Array, grey, labels, noise
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.volume import StoresChunks, TellsTrouble, Volume
from wkdvid.errors import AuthRejected, BackendError, CorruptChunk, UpstreamUnavailable
from wkdvid.testing.faulty import Answer, FileServer, flipped, on
from wkdvid.testing.volume_suite import StoredLevel, check, make_backends, open_layers, open_with

ONE: Vec3 = (32, 32, 16)
"""Voxels of volumes of one chunk."""
ON_DISK: Mapping[str, str] = {
    "precomputed": "8_8_40/0-32_0-32_0-16",
    "zarr": "c/0/0/0",
    "zarr2": "0.0.0",
    "n5": "0/0/0",
}
"""Where their chunk is."""


def write_one(folder: Path, kind: str, array: Array, **options: object) -> Path:
    """A volume of one chunk; returns the chunk's path."""
    if kind == "precomputed":
        test_precomputed.write(folder, array, **options)  # type: ignore[arg-type]
    elif kind == "n5":
        test_n5.write_array(folder.parent, folder.name, array, **options)  # type: ignore[arg-type]
    else:
        version = 2 if kind == "zarr2" else 3
        test_zarr.write_array(folder, array, zarr_format=version, chunks=ONE[::-1], **options)
    return folder / ON_DISK[kind]


def backend_of(kind: str) -> str:
    return "zarr" if kind == "zarr2" else kind


async def read(folder: Path, kind: str) -> Array:
    """The finest level, with nothing in the caches."""
    (volume,) = await open_layers(backend_of(kind), {"source": str(folder)}, roots=[folder])
    return await volume.read(0, volume.info.levels[0].extent)


@pytest.mark.parametrize("kind", ON_DISK)
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_is_final(tmp_path: Path, kind: str, status: int) -> None:
    """F5: one try."""
    write_one(tmp_path / "v", kind, noise("uint8", ONE))
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers(backend_of(kind), {"source": f"{server.url}v"}, http_hosts=[server.host])
        server.requests.clear()
        server.fault = on(f"v/{ON_DISK[kind]}", status)
        with pytest.raises(BackendError, match="refuses"):
            await volume.read(0, volume.info.levels[0].extent)
        assert server.count(f"v/{ON_DISK[kind]}") == 1


@pytest.mark.parametrize("kind", ON_DISK)
async def test_where_a_hole_is_refused(tmp_path: Path, kind: str) -> None:
    """F6: 403 is absent if the dataset says so, chunk by chunk; 401 is not."""
    array = noise("uint8", (2 * ONE[0], ONE[1], ONE[2]))
    chunk = write_one(tmp_path / "v", kind, array).relative_to(tmp_path)
    whole = StoredLevel(array=array)
    holed = array.copy(order="F")
    holed[:, : ONE[0]] = 0
    with FileServer(tmp_path) as server:
        backends = make_backends(http_hosts=[server.host])
        entry = {"absent_status": 403, "layers": {"v": {"source": f"{server.url}v"}}}
        (parsed,), _ = backends.parse({backend_of(kind): {"lab": {"brain": entry}}})
        (opened,) = await backends.open_layers(parsed)
        volume = opened.volume
        server.fault = on(str(chunk), 401)
        assert isinstance(volume, TellsTrouble)
        assert [type(one) for one in await volume.read_all(0, [whole.extent])] == [AuthRejected]
        assert isinstance(volume.trouble, AuthRejected)
        assert "refuses" in str(volume.trouble)
        server.fault = on(str(chunk), 403)
        for box in (whole.extent, Box.at((30, 2, -1), (4, 5, 6)), Box.at((-1, -1, -1), (5, 5, 5))):
            check(await volume.read(0, box), StoredLevel(array=holed).cut(box))
        if isinstance(volume, StoresChunks):
            first, second = await volume.stored_chunks(0, [(0, 0, 0), (1, 0, 0)])
            assert first is None
            assert isinstance(second, bytes)
        server.fault = on(str(chunk), 500)
        with pytest.raises(UpstreamUnavailable):
            await volume.read(0, whole.extent)


async def test_why_there_is_no_connection(tmp_path: Path) -> None:
    """F12: each cause by its name."""
    write_one(tmp_path / "v", "precomputed", noise("uint8", ONE))
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("precomputed", {"source": f"{server.url}v"}, http_hosts=[server.host])
        with pytest.raises(UpstreamUnavailable, match="does not answer"):  # TLS with a server that has none
            await open_layers("precomputed", {"source": f"https://{server.host}/v"}, http_hosts=[server.host])
    with pytest.raises(UpstreamUnavailable, match="cannot be connected to"):
        await volume.read(0, volume.info.levels[0].extent)
    with pytest.raises(UpstreamUnavailable, match="cannot be resolved"):
        await open_layers("precomputed", {"source": "https://nowhere.invalid/v"})


# ---- bytes that are not what they should be -----------------------------------------------------------------------

Recode = Callable[[bytes, Callable[[bytes], bytes]], bytes]
"""From stored bytes and a change of the decoded ones to stored bytes."""


def of_plain(stored: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return change(stored)


def of_zlib(stored: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return zlib.compress(change(zlib.decompress(stored)))


def of_gzip(stored: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return gzip.compress(change(gzip.decompress(stored)))


def of_blosc(stored: bytes, change: Callable[[bytes], bytes]) -> bytes:
    packed: bytes = Blosc().encode(change(Blosc().decode(stored)))
    return packed


def after_header(stored: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Of an N5 block of three dimensions."""
    return stored[:16] + change(stored[16:])


def of_gzip_after_header(stored: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return stored[:16] + of_gzip(stored[16:], change)


PAYLOADS: Mapping[str, tuple[str, Mapping[str, object], Recode]] = {
    "precomputed raw": ("precomputed", {}, of_plain),
    "zarr2 raw": ("zarr2", {"compressors": None}, of_plain),
    "zarr2 zlib": ("zarr2", {"compressors": Zlib()}, of_zlib),
    "zarr2 blosc": ("zarr2", {"compressors": Blosc()}, of_blosc),
    "zarr raw": ("zarr", {"compressors": None}, of_plain),
    "zarr gzip": ("zarr", {"compressors": GzipCodec()}, of_gzip),
    "n5 raw": ("n5", {"compression": "raw"}, after_header),
    "n5 gzip": ("n5", {"compression": "gzip"}, of_gzip_after_header),
}
LENGTHS: Mapping[str, Callable[[bytes], bytes]] = {
    "short": lambda payload: payload[:-1],
    "long": lambda payload: payload + b"\1",
    "empty": lambda payload: b"",
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_payload_of_the_wrong_length_is_corrupt(tmp_path: Path, payload: str, length: str) -> None:
    """F15: never padded, never cut."""
    kind, options, recode = PAYLOADS[payload]
    chunk = write_one(tmp_path / "v", kind, array := noise("uint16", ONE), **options)
    chunk.write_bytes(recode(chunk.read_bytes(), lambda payload: payload))
    check(await read(tmp_path / "v", kind), array)
    chunk.write_bytes(recode(chunk.read_bytes(), LENGTHS[length]))
    with pytest.raises(CorruptChunk):
        await read(tmp_path / "v", kind)


GUARDED: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "crc32c": ("zarr", {"compressors": Crc32cCodec()}),
    "zlib": ("zarr2", {"compressors": Zlib()}),
    "gzip": ("zarr", {"compressors": GzipCodec()}),
    "n5 gzip": ("n5", {"compression": "gzip"}),
}


@pytest.mark.parametrize("codec", GUARDED)
async def test_a_flipped_bit_is_noticed(tmp_path: Path, codec: str) -> None:
    """F16: where there is a checksum. Bits that say nothing, such as the time in a gzip header, may be flipped."""
    kind, options = GUARDED[codec]
    chunk = write_one(tmp_path / "v", kind, array := noise("uint8", ONE), **options)
    stored = chunk.read_bytes()
    places = [*range(0, 8 * 24, 5), *range(8 * 24, 8 * len(stored), 8 * len(stored) // 40)]
    noticed = 0
    for bit in places:
        chunk.write_bytes(flipped(stored, bit).body or b"")
        try:
            check(await read(tmp_path / "v", kind), array)
        except CorruptChunk:
            noticed += 1
    assert noticed > 40


async def test_a_flipped_bit_of_raw_voxels_is_not_noticed(tmp_path: Path) -> None:
    """F16: nothing tells it from data; docs/configuration.md says so."""
    chunk = write_one(tmp_path / "v", "precomputed", array := noise("uint8", ONE))
    chunk.write_bytes(flipped(chunk.read_bytes(), 8 * 100).body or b"")
    assert np.count_nonzero(await read(tmp_path / "v", "precomputed") != array) == 1


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
async def test_a_picture_of_other_size_or_without_its_end_is_corrupt(tmp_path: Path, encoding: str) -> None:
    """F18."""
    chunk = write_one(tmp_path / "v", "precomputed", grey(ONE))
    info = tmp_path / "v/info"
    info.write_text(info.read_text().replace('"raw"', f'"{encoding}"'))
    pixels = np.frombuffer(chunk.read_bytes(), np.uint8).reshape(-1, ONE[0])

    def store(pixels: Array, part: slice = slice(None)) -> None:
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, encoding)
        chunk.write_bytes(packed.getvalue()[part])

    store(pixels)
    check(await read(tmp_path / "v", "precomputed"), grey(ONE), tolerance=24 if encoding == "jpeg" else 0)
    for wrong in (pixels[:-1], pixels[:, :-1], np.concatenate([pixels, pixels[:1]]), pixels[:, :, None].repeat(3, 2)):
        store(wrong)
        with pytest.raises(CorruptChunk):
            await read(tmp_path / "v", "precomputed")
    for part in (slice(0, -200), slice(0, 100), slice(1, None)):
        store(pixels, part)
        with pytest.raises(CorruptChunk):
            await read(tmp_path / "v", "precomputed")


# ---- shards -------------------------------------------------------------------------------------------------------

SHARD: Vec3 = (64, 64, 64)
INNER: Vec3 = (32, 32, 16)
SHARDED = {**test_precomputed.SHARDING, "shard_bits": 0, "minishard_bits": 2, "preshift_bits": 2}


def boxes(size: Vec3) -> Iterator[Box]:
    """Of the inner chunks."""
    for corner in product(*(range(0, n, step) for n, step in zip(size, INNER, strict=True))):
        yield Box.at((corner[0], corner[1], corner[2]), INNER)


async def outcomes_of(folder: Path, kind: str, expected: Array) -> tuple[int, int]:
    """How many inner chunks fail as corrupt, and how many are absent; the others are exact."""
    (volume,) = await open_layers(kind, {"source": str(folder)}, roots=[folder])
    corrupt = absent = 0
    for box in boxes(SHARD):
        try:
            array = await volume.read(0, box)
        except CorruptChunk:
            corrupt += 1
            continue
        if (array == volume.info.fill_value).all():
            absent += 1
        else:
            (x0, y0, z0), (x1, y1, z1) = box.start, box.stop
            check(array, expected[:, x0:x1, y0:y1, z0:z1])
    return corrupt, absent


def write_shard(folder: Path, kind: str) -> tuple[Path, Array]:
    array = noise("uint16", SHARD)
    if kind == "precomputed":
        test_precomputed.write(folder, array, sharding=SHARDED)
        return folder / "8_8_40/0.shard", array
    test_zarr.create_array(
        str(folder), shape=SHARD[::-1], shards=SHARD[::-1], chunks=INNER[::-1], dtype="uint16", compressors=GzipCodec()
    )[...] = array[0].T
    return folder / "c/0/0/0", array


COUNT = len(list(boxes(SHARD)))
OF_SHARDS: Mapping[str, tuple[str, Callable[[bytes], bytes], tuple[int, int]]] = {
    "zarr: index crc": ("zarr", lambda s: flipped(s, 8 * len(s) - 1).body or b"", (COUNT, 0)),
    "zarr: index entry": ("zarr", lambda s: flipped(s, 8 * (len(s) - 20)).body or b"", (COUNT, 0)),
    "zarr: truncated": ("zarr", lambda s: s[: len(s) // 2], (COUNT, 0)),
    "zarr: empty": ("zarr", lambda s: b"", (COUNT, 0)),
    "zarr: one chunk": ("zarr", lambda s: flipped(s, 8 * 5000).body or b"", (1, 0)),
    "precomputed: one chunk": ("precomputed", lambda s: flipped(s, 8 * 5000).body or b"", (1, 0)),
    "precomputed: truncated": ("precomputed", lambda s: s[: len(s) // 2], (COUNT, 0)),
    "precomputed: shorter than its index": ("precomputed", lambda s: s[:40], (COUNT, 0)),
    "precomputed: empty": ("precomputed", lambda s: b"", (COUNT, 0)),
    "precomputed: missing minishard": ("precomputed", lambda s: bytes(16) + s[16:], (0, COUNT // 4)),
    "precomputed: minishard beyond the end": (
        "precomputed",
        lambda s: struct.pack("<QQ", 2**40, 2**40 + 100) + s[16:],
        (COUNT // 4, 0),
    ),
    "precomputed: huge minishard": ("precomputed", lambda s: struct.pack("<QQ", 0, 2**62) + s[16:], (COUNT // 4, 0)),
}


@pytest.mark.parametrize("damage", OF_SHARDS)
async def test_damage_of_a_shard(tmp_path: Path, damage: str) -> None:
    """F17: what is not damaged is served. A corrupt minishard index takes its own chunks alone with it."""
    kind, change, expected = OF_SHARDS[damage]
    shard, array = write_shard(tmp_path / "v", kind)
    assert await outcomes_of(tmp_path / "v", kind, array) == (0, 0)
    shard.write_bytes(change(shard.read_bytes()))
    assert await outcomes_of(tmp_path / "v", kind, array) == expected


# ---- hostile bytes ------------------------------------------------------------------------------------------------

GRID = 22
"""Chunks along each axis: 10,648 in all."""
READ_ALL = """
import asyncio, json, sys
from collections import Counter
from pathlib import Path
from wkdvid.core.geometry import Box
from wkdvid.testing.volume_suite import open_layers

async def main(folder, side, grid):
    (volume,) = await open_layers("precomputed", {"source": folder}, roots=[Path(folder)])
    places = [(x, y, z) for x in range(grid) for y in range(grid) for z in range(grid)]
    boxes = [Box.at((side * x, side * y, side * z), (side, side, side)) for x, y, z in places]
    print(json.dumps(Counter(type(found).__name__ for found in await volume.read_all(0, boxes))))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def damaged(stored: bytes, dice: np.random.Generator) -> bytes:
    """With a few bytes or words replaced, often by large numbers, or cut."""
    changed = bytearray(stored)
    for _ in range(int(dice.integers(1, 4))):
        place = int(dice.integers(len(changed)))
        word = bytes(dice.integers(0, 256, 4, np.uint8)) if dice.random() < 0.5 else b"\xff\xff\xff\x7f"
        changed[place : place + len(word)] = word[: len(changed) - place]
    return bytes(changed[: int(dice.integers(len(changed)))] if dice.random() < 0.1 else changed)


@pytest.mark.parametrize("encoding", ["compressed_segmentation", pytest.param("jpeg", marks=pytest.mark.soak)])
def test_ten_thousand_damaged_chunks_do_no_harm(tmp_path: Path, encoding: str) -> None:
    """F19: in a process of its own, which must outlive them."""
    side = 16
    array = labels("uint64", (side,) * 3) if encoding == "compressed_segmentation" else grey((side,) * 3)
    test_precomputed.write(tmp_path / "v", array, encoding=encoding)
    info = json.loads((tmp_path / "v/info").read_text())
    info["scales"][0].update(size=[side * GRID] * 3, chunk_sizes=[[side] * 3])
    (tmp_path / "v/info").write_text(json.dumps(info))
    sound = (tmp_path / f"v/8_8_40/0-{side}_0-{side}_0-{side}").read_bytes()
    dice = np.random.default_rng(4)
    for place in product(range(GRID), repeat=3):
        name = "_".join(f"{side * n}-{side * (n + 1)}" for n in place)
        (tmp_path / "v/8_8_40" / name).write_bytes(damaged(sound, dice))
    arguments = [sys.executable, "-c", READ_ALL, str(tmp_path / "v"), str(side), str(GRID)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts: Mapping[str, int] = json.loads(done.stdout)
    assert counts.keys() <= {"CorruptChunk", "ndarray"}
    assert counts["CorruptChunk"] > GRID**3 // 10
    assert sum(counts.values()) == GRID**3


BOMB = 1 << 28
UNPACKED = 96 << 20
READ_AND_TELL_PEAK = """
import asyncio, resource, sys
from pathlib import Path
from wkdvid.errors import BackendError
from wkdvid.testing.volume_suite import open_layers

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main(backend, source, root, host):
    (volume,) = await open_layers(backend, {"source": source}, roots=[Path(root)], http_hosts=[host])
    before = peak()
    try:
        await volume.read(0, volume.info.levels[0].extent)
    except BackendError as error:
        print(peak() - before, type(error).__name__)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", ["zarr2", "zarr", "n5"])
def test_a_chunk_that_inflates_without_end_is_corrupt(tmp_path: Path, kind: str) -> None:
    """F26: no more of it is unpacked than the chunk may have."""
    options: Mapping[str, object] = {
        "zarr2": {"compressors": Zlib()},
        "zarr": {"compressors": GzipCodec()},
        "n5": {"compression": "gzip"},
    }[kind]
    chunk = write_one(tmp_path / "v", kind, noise("uint8", ONE), **options)
    packer = zlib.compressobj(1, wbits=15 if kind == "zarr2" else 31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(BOMB >> 20)), packer.flush()])
    chunk.write_bytes((chunk.read_bytes()[:16] if kind == "n5" else b"") + bomb)
    assert rise_of_memory(backend_of(kind), str(tmp_path / "v"), str(tmp_path), "") < 100 << 20


def test_an_answer_that_inflates_takes_no_more_than_it_comes_to(tmp_path: Path) -> None:
    """F26: a packed answer. TensorStore sets no limit to what it unpacks; docs/configuration.md says what helps."""
    write_one(tmp_path / "v", "precomputed", noise("uint8", ONE))
    bomb = Answer(body=gzip.compress(bytes(UNPACKED), 1), headers={"Content-Encoding": "gzip"})
    with FileServer(tmp_path) as server:
        server.fault = on("v/8_8_40/*", bomb)
        rise = rise_of_memory("precomputed", f"{server.url}v", str(tmp_path), server.host)
    assert len(bomb.body or b"") < UNPACKED // 100
    assert rise < 1.5 * UNPACKED


def rise_of_memory(*arguments: str) -> int:
    """Bytes that a process of its own needs to find a chunk corrupt."""
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_TELL_PEAK, *arguments], capture_output=True, text=True, check=True
    )
    rise, name = done.stdout.split()
    assert name == "CorruptChunk"
    return int(rise)


# ---- what changes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ON_DISK)
async def test_changed_voxels_are_seen_by_opening_again(tmp_path: Path, kind: str) -> None:
    """F38: from disk and over http, with the caches of before."""
    chunk = write_one(tmp_path / "v", kind, first := noise("uint8", ONE))
    backends = make_backends([tmp_path], ["127.0.0.1"])
    with FileServer(tmp_path) as server:

        async def see(expected: Array) -> Sequence[Volume]:
            opened = []
            for source in (f"{tmp_path}/v", f"{server.url}v"):
                (volume,) = await open_with(backends, backend_of(kind), {"source": source})
                check(await volume.read(0, volume.info.levels[0].extent), expected)
                opened.append(volume)
            return opened

        before = await see(first)
        write_one(tmp_path / "other", kind, second := noise("uint8", ONE, seed=1))
        chunk.write_bytes((tmp_path / "other" / ON_DISK[kind]).read_bytes())
        for volume in before:
            check(await volume.read(0, volume.info.levels[0].extent), first)
        await see(second)
