"""Voxels that are written over DVID's API, by two workers that agree about them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.dvid.repository import Repository, new_repository
from tests.dvid.shelf import header, wire_bytes
from tests.servers import Server, running
from tests.volumes import Voxels
from tests.written.test_volumes import most_frequent
from wkdvid.codecs import label_block, payload
from wkdvid.codecs.block_stream import iter_records

POSTS, READERS = 20, 20
B = 64


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"WKDVID_LIMITS__BODY_BYTES": "1MiB", "WKDVID_LIMITS__WRITTEN_BYTES": "3MiB"}
    with running(tmp_path_factory.mktemp("writing"), {}, workers=2, environ=limits) as one:
        yield one


@pytest.fixture(scope="module")
def repository(server: Server) -> Repository:
    made = new_repository(server)
    for name, settings in {
        "grey": {"typename": "uint8blk", "BlockSize": "64,64,64"},
        "many": {"typename": "uint8blk", "BlockSize": "16,16,16"},
        "old": {"typename": "grayscale8", "BlockSize": "32,32,32"},
        "rgba": {"typename": "rgba8blk", "BlockSize": "16,16,16"},
        "seven": {"typename": "uint8blk", "BlockSize": "16,16,16", "Background": "7"},
        "seg": {"typename": "labelmap", "MaxDownresLevel": "2"},
        "blocks": {"typename": "labelmap", "MaxDownresLevel": "1"},
        "region": {"typename": "roi"},
        "values": {"typename": "keyvalue"},
    }.items():
        made.add(name, **settings)
    return made


def noise(shape: tuple[int, ...], seed: int = 0, most: int = 255) -> Voxels:
    return np.random.default_rng(seed).integers(1, most + 1, shape, np.uint8)


def labels(seed: int = 0) -> Voxels:
    return np.random.default_rng(seed).integers(0, 4, (B, B, B), np.uint64) * 10**12


def test_every_reader_sees_an_acknowledged_block(repository: Repository) -> None:
    agree(repository, POSTS)


def agree(repository: Repository, posts: int) -> None:
    with ThreadPoolExecutor(READERS) as pool:
        for n in range(posts):
            body = noise((16, 16, 16), n).tobytes()
            path = f"many/raw/0_1_2/16_16_16/{16 * (n % 5)}_0_-16"
            repository.post(path, body)
            answers = pool.map(repository.ask, ["GET"] * READERS, [path] * READERS)
            assert set(answers) == {(200, body)}


def test_a_write_may_have_a_larger_body_than_other_requests(server: Server, repository: Repository) -> None:
    body = noise((128, 128, 128)).tobytes()
    path = "raw/0_1_2/128_128_128/1024_0_0"
    repository.post(f"grey/{path}", body)
    assert repository.get(f"grey/{path}") == body
    assert "(limits.written_bytes)" in repository.refused(f"grey/{path}", body + bytes(2**20 + 1))
    assert repository.get(f"grey/{path}") == body
    assert "invalid data instance name" in repository.refused(f"nope/{path}", body)  # is read to its end first
    assert "(limits.body_bytes)" in server.post("/api/config/dataset?dataset_name=x", data=body).text
    repository.post("values/key/k", body)
    repository.post("values/k", body)  # as pydvid does


@pytest.mark.parametrize("path", ["region/ptquery", "region/roi", "grey/extents", "values/tags"])
def test_what_is_parsed_may_not(repository: Repository, path: str) -> None:
    assert "(limits.body_bytes)" in repository.refused(path, b" " * 2**20 + b"[]")


@pytest.mark.parametrize("compression", ["", "lz4", "gzip"])
def test_labels_and_their_lower_scales(repository: Repository, compression: str) -> None:
    array = labels(len(compression))
    body = wire_bytes(array)
    sent = {"": body, "lz4": payload.lz4(body), "gzip": payload.gzip(body)}[compression]
    repository.post(f"seg/raw/0_1_2/64_64_64/0_64_0?mutate=true&compression={compression}", sent)
    assert repository.get("seg/raw/0_1_2/64_64_64/0_64_0") == body
    half = most_frequent(array)
    assert repository.get("seg/raw/0_1_2/32_32_32/0_32_0?scale=1") == wire_bytes(half)
    assert repository.get("seg/raw/0_1_2/16_16_16/0_16_0?scale=2") == wire_bytes(most_frequent(half))
    info = json.loads(repository.get("seg/info"))["Extended"]
    assert (info["MinPoint"], info["MaxPoint"], info["MaxDownresLevel"]) == ([0, 64, 0], [63, 127, 63], 2)


def test_label_blocks(repository: Repository) -> None:
    arrays = {(x, -1, 2): labels(x + 9) for x in range(3)}
    records = {index: payload.gzip(label_block.encode(array)) for index, array in arrays.items()}
    body = b"".join(header(index, len(data)) + data for index, data in records.items())
    repository.post("blocks/blocks?downres=true", body)
    found = dict(
        iter_records(repository.get("blocks/specificblocks?blocks=0,-1,2,1,-1,2,2,-1,2&compression=uncompressed"))
    )
    assert {index: bytes(data) for index, data in found.items()} == {i: wire_bytes(a) for i, a in arrays.items()}
    lower = repository.get("blocks/raw/0_1_2/96_32_32/0_-32_64?scale=1")
    assert lower == wire_bytes(np.concatenate([most_frequent(array) for array in arrays.values()]))
    assert json.loads(repository.get("blocks/info"))["Extended"]["MinPoint"] == [0, -64, 128]


def test_label_blocks_of_a_lower_scale_alone(repository: Repository) -> None:
    data = payload.gzip(label_block.encode(labels(3)))
    repository.post("blocks/blocks?scale=1", header((7, 7, 7), len(data)) + data)
    assert repository.get("blocks/raw/0_1_2/64_64_64/448_448_448?scale=1") == wire_bytes(labels(3))
    assert not any(repository.get("blocks/raw/0_1_2/64_64_64/896_896_896"))


def test_rows_of_blocks_leave_the_extent(repository: Repository) -> None:
    first, second = noise((16, 16, 16), 1), noise((16, 16, 16), 2)
    repository.post("rgba/raw/0_1_2/16_16_16/0_0_0", noise((16, 16, 16, 4)).tobytes())
    repository.post("seven/blocks/-2_0_1/2", wire_bytes(first) + wire_bytes(second))
    assert repository.get("seven/raw/0_1_2/16_16_16/-16_0_16") == wire_bytes(second)
    assert json.loads(repository.get("seven/info"))["Extended"]["MinPoint"] is None


def test_the_background_is_what_was_never_written(repository: Repository) -> None:
    repository.post("seven/raw/0_1_2/16_16_16/16_0_0", bytes(16**3))
    assert repository.get("seven/blocks/0_0_0/3") == b"\x07" * 16**3 + bytes(16**3) + b"\x07" * 16**3
    assert not any(repository.get("seven/raw/0_1_2/48_16_16/0_0_0"))


def test_colours(repository: Repository) -> None:
    body = noise((16, 16, 16, 4), 4).tobytes()
    repository.post("rgba/raw/0_1_2/16_16_16/-16_0_0", body)
    assert repository.get("rgba/raw/0_1_2/16_16_16/-16_0_0") == body
    assert repository.get("rgba/specificblocks?blocks=-1,0,0&compression=uncompressed")[16:] == body


def test_instances_of_pydvids_types_take_any_box(repository: Repository) -> None:
    array = noise((70, 5, 33))
    repository.post("old/raw/0_1_2/70_5_33/10_20_30", wire_bytes(array))
    repository.post("old/raw/0_1_2/1_1_1/10_20_30", b"\x09")
    array[0, 0, 0] = 9
    assert repository.get("old/raw/0_1_2/72_7_35/9_19_29") == wire_bytes(np.pad(array, 1))
    assert json.loads(repository.get("old/info"))["Extended"]["MaxPoint"] == [79, 24, 62]


def test_versions(repository: Repository, server: Server) -> None:
    one = new_repository(server)
    one.add("v", typename="uint8blk", BlockSize="16,16,16")
    old, new = noise((32, 16, 16), 1), noise((16, 16, 16), 2)
    one.post("v/raw/0_1_2/32_16_16/0_0_0", wire_bytes(old))
    child = one.version()
    assert "locked node" in one.refused("v/raw/0_1_2/16_16_16/0_0_0", wire_bytes(new))
    child.post("v/raw/0_1_2/16_16_16/16_0_0", wire_bytes(new))
    assert one.get("v/raw/0_1_2/32_16_16/0_0_0") == wire_bytes(old)
    assert child.get("v/raw/0_1_2/32_16_16/0_0_0") == wire_bytes(np.concatenate([old[:16], new]))


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (
            "grey/raw/0_1_2/64_64_64/1_0_0",
            bytes(B**3),
            "cannot store voxels in non-block aligned geometry (1,0,0) -> (64",
        ),
        (
            "grey/raw/0_1_2/64_64_64/0_0_0",
            b"x",
            "voxels data was 1 bytes, expected 262144 bytes for 3d volume (64,64,64)",
        ),
        ("grey/raw/xy/64_64/0_0_0", b"x", "DVID does not permit 2d mutations"),
        ("grey/raw/0_1_2/64_64_64/0_0_0?roi=r", bytes(B**3), "roi= is taken of GET only"),
        ("grey/raw/0_1_2/0_64_64/0_0_0", b"", "Illegal geometry requested"),
        ("grey/raw/0_1_2/64_64_64/2147483584_0_0", bytes(B**3), ""),
        ("grey/raw/0_1_2/128_64_64/2147483584_0_0", bytes(2 * B**3), "coordinates go from"),
        ("grey/blocks/0_0_0/2", b"xx", "voxels data was 2 bytes, expected 524288 bytes for 2 blocks"),
        ("grey/blocks/0_0_0/99999", b"xx", "99999 blocks in one request, the limit is 16384"),
        ("seg/raw/0_1_2/64_64_64/0_0_0", b"123", 'expected 2097152 bytes for data "seg" label PUT but only received 3'),
        ("seg/raw/0_1_2/64_64_64/0_1_0", b"", 'cannot store labels for data "seg" in non-block aligned geometry'),
        ("seg/raw/0_1_2/64_64_64/0_0_0?compression=lz4", b"123", "lz4: not an LZ4 block of 2097152 bytes"),
        ("seg/raw/0_1_2/64_64_64/0_0_0?compression=gzip", b"123", "gzip: "),
        ("seg/raw/0_1_2/64_64_64/0_0_0?compression=zip", b"123", 'unknown compression type "zip"'),
        ("seg/raw/0_1_2/6400_6400_6400/0_0_0?compression=lz4", b"1", "blocks in one request, the limit is"),
        ("seg/raw/0_1_2/640_640_640/0_0_0?compression=lz4", b"1", "the limit is 268435456 (limits.unstreamed_bytes)"),
        ("seg/blocks?scale=1&downres=true", b"", "cannot downscale blocks of scale > 0"),
        ("seg/blocks?scale=3", b"", "scale 3 is not there"),
        ("seg/blocks?compression=lz4", b"", 'compression must be "blocks" (default) at this time'),
        ("seg/blocks", b"abc", "block stream: cut in the 16-byte header"),
        ("seg/blocks", header((1, 2, 3), 3) + b"abc", "block (1,2,3): gzip: "),
        ("seg/blocks", header((1, 2, 3), 44) + payload.gzip(bytes(24)).ljust(44), "block (1,2,3): "),
        ("old/raw/0_1_2/2000_2000_1/0_0_0", b"", "voxels data was 0 bytes, expected 4000000"),
    ],
)
def test_what_is_refused(repository: Repository, path: str, body: bytes, said: str) -> None:
    if not said:
        repository.post(path, body)
        return
    assert said in repository.refused(path, body)


def test_a_large_label_block_is_not_inflated(repository: Repository) -> None:
    data = payload.gzip(bytes(1 << 26))
    assert "over" in repository.refused("seg/blocks", header((0, 0, 0), len(data)) + data)


def test_two_clients_write_one_block(repository: Repository) -> None:
    bodies = [np.full((B, B, B), value, np.uint64).tobytes() for value in (1, 2)]
    path = "blocks/raw/0_1_2/64_64_64/0_0_0"
    repository.post(path, bodies[0])
    done = threading.Event()

    def write(body: bytes) -> None:
        for _ in range(12):
            repository.post(path, body)
        done.set()

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, body) for body in bodies]
        while not done.is_set():
            assert repository.get(path) in bodies
        for one in writing:
            one.result()
    assert repository.get(f"{path.replace('64_64_64', '32_32_32')}?scale=1") == repository.get(path)[: 8 * 32**3]
