"""Sparse volumes, from bodies as DVID sends them (dvid.md A9, H5)."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.answers import Answer, answering
from tests.client.either import Either, opened, value
from tests.dvid.shelf import UUID, Shelf, two_labels
from tests.jobs.watching import comes_to, ended
from wkdvid.client import Client, InvalidArgument, LabelSize, NotFound, SparseVolume, UnexpectedResponse
from wkdvid.client.calls import Reply
from wkdvid.client.sparse import decode_rles

HEADER = bytes.fromhex("0003000000000000")
RUNS_OF_77 = [(10, y, z, 10) for z in range(2, 5) for y in range(3, 6)]
BODY_OF_77 = HEADER + struct.pack("<I", 9) + b"".join(struct.pack("<4i", *run) for run in RUNS_OF_77)
COARSE = bytes.fromhex("00030000 00000000 01000000 00000000 00000000 00000000 01000000")


def answer(method: str, target: str, body: bytes) -> Answer:
    """As a real DVID answers for the two labels of H5."""
    assert not body
    path, _, query = target.partition("?")
    endpoint, label = path.split("/")[-2:]
    if label != "77":
        return (204 if method == "HEAD" else 404), b""
    if endpoint == "sparsevol-size":
        return 200, b'{"voxels": 90, "numblocks": 1, "minvoxel": [0, 0, 0], "maxvoxel": [63, 63, 63]}'
    if "minx=50" in query:
        return 200, b""
    return 200, COARSE if endpoint == "sparsevol-coarse" else BODY_OF_77


@pytest.fixture(scope="module")
def indexed(shelf: Shelf) -> Shelf:
    """Its two layers of labels have an index."""
    for layer in ("labels", "cells"):
        job = shelf.server.post("/api/jobs", json={"kind": "index", "dataset": "lab/shelf", "layer": layer}).json()
        assert comes_to(shelf.server, job["id"], ended)["state"] == "done"
    return shelf


async def test_sparse_volumes_of_a_server(client: Either, indexed: Shelf) -> None:
    cells, labels = indexed.arrays["cells"], client.labels(UUID, "cells")
    for label in (1, 5):
        found, mask = await value(labels.sparsevol(label)), cells == label
        assert (found.voxels, await value(labels.size(label))) == (mask.sum(), mask.sum())
        assert np.array_equal(found.mask((0, 0, 0), (70, 66, 40)), mask)
        part = await value(labels.sparsevol(label, start=(10, 20, 5), stop=(66, 65, 30)))
        assert np.array_equal(part.mask((10, 20, 5), (66, 65, 30)), mask[10:66, 20:65, 5:30])
        assert part.bounds() == ((10, 20, 5), (66, 65, 30))
        coarse = await value(labels.sparsevol_coarse(label))
        assert np.array_equal(coarse.mask((0, 0, 0), (2, 2, 1)), np.ones((2, 2, 1), np.bool_))
        assert await value(labels.sparsevol_size(label)) == LabelSize(int(mask.sum()), 4, (0, 0, 0), (128, 128, 64))
    half = await value(labels.sparsevol(1, scale=1))
    shrunk = await value((await opened(client, "cells", scale=1))[0])
    assert np.array_equal(half.mask((0, 0, 0), shrunk.shape), shrunk == 1)
    assert (await value(labels.sparsevol_by_point((3, 4, 5)))).voxels == (cells == cells[3, 4, 5]).sum()


async def test_lists_of_labels(client: Either, indexed: Shelf) -> None:
    labels = client.labels(UUID, "labels")
    assert (await value(labels.sizes([77, 5, 10**12]))).tolist() == [90, 0, 1]
    assert (await value(labels.listlabels())).tolist() == [77, 10**12]
    assert (await value(labels.listlabels(78, 5))).tolist() == [10**12]
    assert (await value(labels.listsizes(number=1))).tolist() == [[77, 90]]
    assert (await value(labels.existing_labels())).tolist() == [77, 10**12]
    assert (await value(labels.supervoxels(77))).tolist() == [77]
    assert (await value(labels.maxlabel()), await value(labels.nextlabel())) == (10**12, 10**12 + 1)
    assert "mutation id" in await value(labels.lastmod(77))
    assert (await value(labels.has_sparsevol(77)), await value(labels.has_sparsevol(78))) == (True, False)
    found = await value(labels.sparsevol(77))
    assert found.runs.tolist() == [list(run) for run in RUNS_OF_77]
    for question in (labels.size, labels.sparsevol, labels.sparsevol_size):
        with pytest.raises(NotFound):
            await value(question(78))


def test_the_vectors() -> None:
    assert (len(BODY_OF_77), hashlib.md5(BODY_OF_77, usedforsecurity=False).hexdigest()) == (
        156,
        "331bde603d5052eed132a2ccb055803a",
    )
    with answering(answer) as server, Client(server.base) as client:
        labels = client.labels("abc", "labels")
        found = labels.sparsevol(77)
        assert found.voxels == 90
        assert found.runs.tolist() == [list(run) for run in RUNS_OF_77]
        start, stop = found.bounds()
        assert (start, stop) == ((10, 3, 2), (20, 6, 5))
        assert found.mask().all()
        assert np.array_equal(found.mask((0, 0, 0), (64, 64, 64)), two_labels() == 77)
        assert np.array_equal(sorted(found.coordinates().tolist()), np.argwhere(two_labels() == 77))
        assert labels.sparsevol_coarse(77).runs.tolist() == [[0, 0, 0, 1]]
        assert labels.sparsevol_size(77) == LabelSize(90, 1, (0, 0, 0), (64, 64, 64))
        assert labels.sparsevol(77, start=(50, 0, 0), stop=(60, 10, 10), scale=1, supervoxels=True).voxels == 0
        assert (
            server.asked[-1]
            .partition("?")[2]
            .startswith("scale=1&supervoxels=true&minx=50&miny=0&minz=0&maxx=59&maxy=9&maxz=9")
        )
        assert (labels.has_sparsevol(77), labels.has_sparsevol(78)) == (True, False)
        with pytest.raises(NotFound):
            labels.sparsevol(78)


@pytest.mark.parametrize(
    "body",
    [
        b"\0",
        BODY_OF_77[:-1],
        BODY_OF_77 + b"\0",
        b"\1" + BODY_OF_77[1:],
        HEADER + struct.pack("<I4i", 1, 0, 0, 0, 0),
        HEADER + struct.pack("<I4i", 1, 0, 0, 0, -5),
        HEADER + struct.pack("<I4i", 1, 2**31 - 5, 0, 0, 9),
        HEADER + struct.pack("<I", 2**32 - 1),
    ],
)
def test_damaged_runs_are_refused(body: bytes) -> None:
    with answering(lambda *_: (200, body)) as server, Client(server.base) as client:
        labels = client.labels("abc", "labels")
        with pytest.raises(UnexpectedResponse):
            labels.sparsevol(5)


@given(st.integers(0, 2**32 - 1))
def test_runs_are_the_voxels(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((9, 4, 5)) < 0.5
    offset = random.integers(-100, 100, 3)
    points = np.argwhere(mask)
    runs = [(*(point + offset), 1) for point in points.tolist()]
    random.shuffle(runs)
    body = HEADER + struct.pack("<I", len(runs)) + b"".join(struct.pack("<4i", *map(int, run)) for run in runs)
    found = decode_rles(Reply(200, "", bytearray(body)))
    assert np.array_equal(found.coordinates(), (points + offset)[np.lexsort(points.T)])
    start = tuple(offset.tolist())
    stop = tuple((offset + mask.shape).tolist())
    assert np.array_equal(found.mask(start, stop), mask)
    half = tuple((offset + np.array([4, 2, 3])).tolist())
    assert np.array_equal(found.mask(half, stop), mask[4:, 2:, 3:])


def test_masks_are_bounded() -> None:
    found = SparseVolume(np.array([[-(2**31), 0, 0, 5], [2**31 - 9, 2**31 - 9, 9, 5]], np.int32))
    assert found.bounds() == ((-(2**31), 0, 0), (2**31 - 4, 2**31 - 8, 10))
    with pytest.raises(InvalidArgument, match="2147"):
        found.mask()
    assert found.mask((-(2**31), 0, 0), (-(2**31) + 9, 2, 2)).sum() == 5
    empty = SparseVolume(np.empty((0, 4), np.int32))
    assert (empty.voxels, empty.coordinates().shape) == (0, (0, 3))
    with pytest.raises(InvalidArgument, match="no bounds"):
        empty.bounds()
    with pytest.raises(InvalidArgument):
        empty.mask((0, 0, 0), (0, 1, 1))
