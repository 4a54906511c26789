"""The volumes that the tests of the DVID front end read, and how to ask for them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import requests
from cloudvolume import CloudVolume

from tests.servers import Server
from tests.volumes import Voxels, grid, write_precomputed
from wkdvid.codecs.block_stream import iter_records
from wkdvid.core.geometry import Vec3

UUID = "00112233445566778899aabbccddeeff"
Records = Mapping[Vec3, bytes]
SEGMENTATIONS = frozenset({"labels", "cells", "narrow", "moved_labels"})
FOREIGN = frozenset({"ramp", "labels"})
"""Written by another library than reads them."""
MOVED_BY: Vec3 = (-20, 10, -100)


def ramp() -> Voxels:
    """(x + 2y + 3z) mod 251, 100 x 80 x 70 voxels (dvid.md H4)."""
    x, y, z = grid((100, 80, 70))
    voxels: Voxels = ((x + 2 * y + 3 * z) % 251).astype(np.uint8)
    return voxels


def two_labels() -> Voxels:
    """77 in a small box, 10^12 in one voxel, 64^3 voxels (dvid.md H5)."""
    labels = np.zeros((64, 64, 64), np.uint64)
    labels[10:20, 3:6, 2:5] = 77
    labels[40, 40, 40] = 10**12
    return labels


class Shelf:
    """The arrays of one dataset, by the name of their layer, (x, y, z[, c])."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(5)
        self.folder = folder
        self.server: Server
        self.arrays: dict[str, Voxels] = {
            "ramp": ramp(),
            "jpeg": ramp(),
            "labels": two_labels(),
            "cells": random.integers(0, 6, (70, 66, 40)).astype(np.uint32),
            "em16": random.integers(0, 65536, (70, 30, 20)).astype(np.uint16),
            "em32": random.integers(0, 2**32, (20, 20, 20)).astype(np.uint32),
            "em64": random.integers(0, 2**64, (20, 20, 20), np.uint64),
            "field": random.normal(size=(40, 30, 20)).astype(np.float32),
            "rgb": random.integers(0, 256, (30, 20, 10, 3)).astype(np.uint8),
            "signed": random.integers(-9, 9, (20, 20, 20)).astype(np.int16),
            "narrow": random.integers(0, 3, (20, 90, 30)).astype(np.uint8) * np.uint8(100),
        }
        for name, array in self.arrays.items():
            self._write(name, array)
        self.moved = random.integers(1, 200, (40, 40, 40)).astype(np.uint8)
        self.moved_labels = random.integers(0, 2**64, (8, 5, 10), np.uint64).repeat(10, axis=0)
        self._write("moved", self.moved, MOVED_BY)
        self._write("moved_labels", self.moved_labels, MOVED_BY)
        self.flat = random.integers(1, 200, (130, 128, 20)).astype(np.uint8)
        write_precomputed(folder / "flat", [((1, 1, 1), self.flat)], voxel_size_nm=(4, 4, 40), encoding="jpeg")

    def _write(self, name: str, array: Voxels, offset: Vec3 = (0, 0, 0)) -> None:
        kind, encoding = "segmentation" if name in SEGMENTATIONS else "image", "jpeg" if name == "jpeg" else "raw"
        if name in FOREIGN:
            write_by_cloud_volume(self.folder / name, array, kind)
        else:
            form: dict[str, Any] = {"offsets": [offset], "encoding": encoding, "kind": kind}
            write_precomputed(self.folder / name, [((1, 1, 1), array)], voxel_size_nm=(8, 8, 8), **form)

    def stored(self, name: str) -> tuple[Voxels, Vec3]:
        """What a layer holds, and where that begins."""
        if name in {"moved", "moved_labels"}:
            return (self.moved if name == "moved" else self.moved_labels), MOVED_BY
        if name == "jpeg":
            return self.decoded, (0, 0, 0)
        return self.arrays["ramp" if name in {"plain", "said_jpeg"} else name], (0, 0, 0)

    @cached_property
    def decoded(self) -> Voxels:
        """The layer ``jpeg``, as another library decodes it."""
        return np.asarray(CloudVolume(f"file://{self.folder}/jpeg", progress=False)[:, :, :])[..., 0]

    def datasets(self) -> dict[str, Any]:
        names = (*self.arrays, "moved", "moved_labels")
        layers: dict[str, Any] = {name: {"source": str(self.folder / name)} for name in names}
        layers["plain"] = {"source": str(self.folder / "ramp"), "compression": "none"}
        layers["said_jpeg"] = {"source": str(self.folder / "ramp"), "compression": "jpeg"}
        flat = {"flat": {"source": str(self.folder / "flat")}}
        gone = {"gone": {"source": str(self.folder / "nothing")}}
        return {
            "precomputed": {
                "lab": {
                    "shelf": {"uuid": UUID, "layers": layers},
                    "flat": {"uuid": "ffff0001", "layers": flat},
                    "gone": {"uuid": "dead0001", "layers": gone},
                    "other": {"uuid": "ffff0002", "layers": flat},
                }
            }
        }

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET below the dataset's node."""
        return self.server.get(f"/api/node/{UUID}/{path}", **options)

    def body(self, path: str, **options: Any) -> bytes:
        response = self.get(path, **options)
        assert response.status_code == 200, response.text
        return response.content

    def records(self, path: str) -> Records:
        """Payloads of a block stream by block index."""
        return {index: bytes(data) for index, data in iter_records(self.body(path))}

    def error(self, path: str, **options: Any) -> str:
        """The text of a 400, without the path behind it."""
        response = self.get(path, **options)
        assert response.status_code == 400, response.text
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        return response.text.removesuffix(f" (/api/node/{UUID}/{path.partition('?')[0]}).\n")


def write_by_cloud_volume(folder: Path, array: Voxels, kind: str) -> None:
    info = CloudVolume.create_new_info(
        num_channels=1,
        layer_type=kind,
        data_type=array.dtype.name,
        encoding="raw",
        resolution=[8, 8, 8],
        voxel_offset=[0, 0, 0],
        volume_size=array.shape,
        chunk_size=[48, 64, 32],
    )
    volume = CloudVolume(f"file://{folder}", info=info, compress=False, progress=False, non_aligned_writes=True)
    volume.commit_info()
    volume[:, :, :] = array[..., None]


def cut(array: Voxels, offset: Vec3, size: Vec3) -> Voxels:
    """A box of an array (x, y, z) whose origin is 0; zeros outside."""
    out = np.zeros((*size, *array.shape[3:]), array.dtype)
    low = [max(o, 0) for o in offset]
    high = [min(o + s, n) for o, s, n in zip(offset, size, array.shape, strict=False)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        target = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, offset, strict=True))
        out[target] = array[source]
    return out


def wire_bytes(array: Voxels) -> bytes:
    """(x, y, z) or (x, y, z, c) -> x fastest, channels interleaved."""
    axes = (2, 1, 0, 3)[: array.ndim]
    return array.transpose(axes).tobytes()


def vector(text: Vec3) -> str:
    return "_".join(map(str, text))


def header(index: Vec3, length: int) -> bytes:
    return struct.pack("<4i", *index, length)
