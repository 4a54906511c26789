"""Labelmaps that clients make answer every question about labels; two workers agree at once."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.dvid.repository import Repository, new_repository
from tests.dvid.shelf import wire_bytes
from tests.servers import Server, running
from tests.volumes import Voxels
from wkdvid.codecs.label_index_protobuf import label_index

B = 64
POSTS, READERS = 10, 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("written labels"), {}, workers=2) as one:
        yield one


@pytest.fixture
def repository(server: Server) -> Repository:
    made = new_repository(server)
    made.add("seg", typename="labelmap")
    made.add("bare", typename="labelmap", IndexedLabels="false")
    return made


def post(at: Repository, voxels: Voxels, offset: str = "0_0_0", name: str = "seg") -> None:
    size = "_".join(map(str, voxels.shape))
    at.post(f"{name}/raw/0_1_2/{size}/{offset}", wire_bytes(voxels))


def told(at: Repository, path: str) -> Any:
    return json.loads(at.get(path))


def numbers(body: bytes) -> list[int]:
    return [int(number) for number in np.frombuffer(body, "<u8")]


def test_every_question(repository: Repository) -> None:
    voxels = np.zeros((2 * B, B, B), np.uint64)
    voxels[60:70, 3, 5] = 2**64 - 1
    voxels[0, 0, :7] = 12
    post(repository, voxels, offset=f"-{B}_0_{B}")
    largest = 2**64 - 1
    assert told(repository, "seg/maxlabel") == {"maxlabel": largest}
    assert told(repository, "seg/size/12") == {"voxels": 7}
    assert told(repository, f"seg/supervoxel-sizes/{largest}") == {"supervoxels": [largest], "sizes": [10]}
    assert told(repository, "seg/existing-labels") == [12, largest]
    assert numbers(repository.get("seg/listlabels?sizes=true")) == [12, 7, largest, 10]
    assert numbers(repository.get("seg/listlabels?start=13&number=4")) == [largest]
    corners = {"minvoxel": [-B, 0, B], "maxvoxel": [B - 1, B - 1, 2 * B - 1]}
    assert told(repository, f"seg/sparsevol-size/{largest}") == {"voxels": 10, "numblocks": 2, **corners}
    blocks, counts = np.array([[-1, 0, 1], [0, 0, 1]]), np.array([4, 6], np.uint32)
    assert repository.get(f"seg/index/{largest}") == label_index(largest, blocks, counts)
    assert repository.get(f"seg/sparsevol/{largest}")[12:] == struct.pack("<4i", -4, 3, B + 5, 10)
    assert repository.get(f"seg/sparsevol-coarse/{largest}")[12:] == struct.pack("<4i", -1, 0, 1, 2)
    assert repository.ask("HEAD", "seg/sparsevol/13")[0] == 204
    for path, answer in (("sizes", b"[7,0,10]"), ("mapping", b"[12,0,%d]" % largest)):
        assert repository.ask("GET", f"seg/{path}", b"[12,13,%d]" % largest) == (200, answer)
    extended = told(repository, "seg/info")["Extended"]
    assert extended["IndexedLabels"]
    assert extended["MaxRepoLabel"] == largest
    assert [*extended["MaxLabel"].values()] == [largest]


def test_labels_that_are_gone(repository: Repository) -> None:
    post(repository, np.full((B, B, B), 5, np.uint64))
    child = repository.version()
    post(child, np.full((B, B, B), 3, np.uint64))
    assert numbers(child.get("seg/listlabels?sizes=true")) == [3, B**3]
    assert child.ask("GET", "seg/size/5") == (404, b"")
    assert numbers(repository.get("seg/listlabels?sizes=true")) == [5, B**3]
    post(child, np.zeros((B, B, B), np.uint64))
    assert told(child, "seg/existing-labels") == []
    assert told(child, "seg/nextlabel") == {"nextlabel": 6}


def test_before_anything_is_written(repository: Repository) -> None:
    assert told(repository, "seg/existing-labels") == []
    status, text = repository.ask("GET", "seg/maxlabel")
    version = told(repository, "seg/info")["Extended"]["MaxLabel"]
    assert version == {}
    assert status == 400
    assert text.startswith(b"No maximum label found for seg version ")
    post(repository, np.zeros((B, B, B), np.uint64))
    assert repository.ask("GET", "seg/maxlabel") == (status, text)


def test_without_an_index(repository: Repository) -> None:
    post(repository, np.full((B, B, B), 5, np.uint64), name="bare")
    assert not told(repository, "bare/info")["Extended"]["IndexedLabels"]
    for path in ("sparsevol/5", "sparsevol-coarse/5", "maxlabel", "nextlabel", "size/5", "listlabels", "index/5"):
        status, text = repository.ask("GET", f"bare/{path}")
        endpoint = path.split("/", maxsplit=1)[0]
        said = f'data "bare" is not label indexed (IndexedLabels=false): "{endpoint}" endpoint is not supported'
        assert (status, text.decode().startswith(said)) == (400, True), path


def test_every_reader_counts_an_acknowledged_block(repository: Repository) -> None:
    with ThreadPoolExecutor(READERS) as pool:
        for label in range(1, POSTS + 1):
            post(repository, np.full((B, B, B), label, np.uint64))
            found = pool.map(lambda _: told(repository, "seg/existing-labels"), range(READERS))
            assert [*found] == [[label]] * READERS
            found = pool.map(lambda _: told(repository, "seg/maxlabel"), range(READERS))
            assert [*found] == [{"maxlabel": label}] * READERS


def test_two_writers(repository: Repository) -> None:
    """Of blocks that both have, one after the other; of each block all labels are one's."""
    first = threading.Barrier(2)

    def write(base: int) -> None:
        first.wait()
        for i in range(1, 6):
            post(repository, np.full((2 * B, B, B), base + i, np.uint64), offset=f"{base // 100 % 2 * B}_0_0")

    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(write, 100), pool.submit(write, 200)]:
            one.result()
    body = repository.get(f"seg/raw/0_1_2/{3 * B}_{B}_{B}/0_0_0")
    labels, sizes = np.unique(np.frombuffer(body, np.uint64), return_counts=True)
    assert numbers(repository.get("seg/listlabels?sizes=true")) == np.stack([labels, sizes], axis=1).ravel().tolist()
