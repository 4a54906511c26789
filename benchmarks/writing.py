"""POST of voxels, each acknowledged when it is durable, beside libraries that write the same boxes to the same disk.

One box at a time, each to a place that has none yet, in blocks of 64^3. TensorStore writes what the server does, zarr 3
with each chunk synced; zarr-python has its own defaults, which do not sync.
Lower scales and the index of labels are the server's alone.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorstore as ts
import zarr

from benchmarks.servers import Server
from benchmarks.table import Posted
from benchmarks.volumes import CHUNK, Volume, Voxels
from wkdvid.backends.written.arrays import metadata
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.written_volumes import VoxelSettings

SLAB: Vec3 = (4 * CHUNK, 4 * CHUNK, CHUNK)
BLOCK: Vec3 = (CHUNK, CHUNK, CHUNK)
COUNT = 24
"""Boxes of a case at the most."""

Store = Callable[[Box, Voxels], None]


@dataclass(frozen=True, slots=True)
class Case:
    source: str
    size: Vec3
    max_scale: int = 0
    indexed: bool = False
    """Whether labels are counted too."""

    @property
    def name(self) -> str:
        index = ", index" if self.indexed else ""
        kind = "uint8" if self.source == "grey" else f"labels, {self.max_scale} lower scales{index}"
        return f"POST raw {kind}, {'x'.join(map(str, self.size))}"


CASES = (
    Case("grey", SLAB),
    Case("grey", BLOCK),
    Case("seg", SLAB, 2, indexed=True),
    Case("seg", BLOCK, 2, indexed=True),
    Case("seg", SLAB, 2),
    Case("seg", SLAB, 0, indexed=True),
    Case("seg", SLAB, 0),
)


def measure(volume: Volume, case: Case, server: Server, folder: Path) -> Posted:
    """
    Args:
        folder: For what the libraries write.
    """
    boxes = volume.grid(case.size)[:COUNT]
    arrays = [volume.voxels(case.source, box) for box in boxes]
    shutil.rmtree(folder, ignore_errors=True)
    settings = VoxelSettings(
        dtype=arrays[0].dtype.name, num_channels=1, block=CHUNK, voxel_size=(8, 8, 8), compression="lz4"
    )
    with contextlib.closing(http.client.HTTPConnection(server.base.removeprefix("http://"), timeout=120)) as connection:
        ours = _rate(_poster(connection, case), boxes, arrays)
    return Posted(
        case=case.name,
        ours_mb_s=ours,
        tensorstore_mb_s=_rate(_tensorstore(folder / "tensorstore", settings), boxes, arrays),
        zarr_mb_s=_rate(_zarr(folder / "zarr", settings, volume), boxes, arrays),
    )


def _rate(store: Store, boxes: Sequence[Box], arrays: Sequence[Voxels]) -> float:
    """MB (10^6 bytes) of voxels a second."""
    begin = time.perf_counter()
    for box, array in zip(boxes, arrays, strict=True):
        store(box, array)
    return sum(array.nbytes for array in arrays) / (time.perf_counter() - begin) / 1e6


def _poster(connection: http.client.HTTPConnection, case: Case) -> Store:
    """Into a new data instance of a new repository."""

    def post(path: str, body: bytes | memoryview) -> bytes:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {text[:200]!r}")
        return text

    typename = "uint8blk" if case.source == "grey" else "labelmap"
    made = {"typename": typename, "dataname": "v", "BlockSize": f"{CHUNK},{CHUNK},{CHUNK}"}
    root = json.loads(post("/api/repos", b"{}"))["root"]
    labels = {"MaxDownresLevel": str(case.max_scale), "IndexedLabels": str(case.indexed).lower()}
    post(f"/api/repo/{root}/instance", json.dumps({**made, **(labels if typename == "labelmap" else {})}).encode())

    def store(box: Box, array: Voxels) -> None:
        size, offset = ("_".join(map(str, vector)) for vector in (box.size, box.start))
        post(f"/api/node/{root}/v/raw/0_1_2/{size}/{offset}", array.T.data.cast("B"))

    return store


def _tensorstore(folder: Path, settings: VoxelSettings) -> Store:
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "metadata": metadata(settings),
        "store_data_equal_to_fill_value": True,
    }
    array = ts.open(spec, create=True).result()

    def store(box: Box, voxels: Voxels) -> None:
        z, y, x = (slice(a, b) for a, b in zip(box.start[::-1], box.stop[::-1], strict=True))
        array[0, z, y, x].write(voxels.T).commit.result()

    return store


def _zarr(folder: Path, settings: VoxelSettings, volume: Volume) -> Store:
    shape, chunks = (volume.side,) * 3, (settings.block,) * 3
    array = zarr.create_array(str(folder), shape=shape, chunks=chunks, dtype=settings.dtype)

    def store(box: Box, voxels: Voxels) -> None:
        z, y, x = (slice(a, b) for a, b in zip(box.start[::-1], box.stop[::-1], strict=True))
        array[z, y, x] = np.asarray(voxels.T)

    return store
