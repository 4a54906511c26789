"""Our reads of a box against those of the format's own library, both in one process, one box at a time.

Each volume is written by the library that then reads it too, in chunks of 64^3. Cold: every box lies in a chunk that
was not read before (the files are in the page cache). Warm: the same boxes again; libraries that can cache are told to.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
import z5py
import zarr
from cloudvolume import CloudVolume

from benchmarks.table import Versus
from benchmarks.volumes import CHUNK, Voxels
from wkdvid.core.geometry import Box
from wkdvid.core.volume import Volume
from wkdvid.testing.volume_suite import open_layers

BOX_SIDES = (32, 64)
CACHE_BYTES = 2**28
CHUNKS = (CHUNK,) * 3
PASSES = ("cold", "warm", "warm", "warm")

ReadBox = Callable[[Box], Voxels]
"""From a box to its voxels (x, y, z)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    backend: str
    library: str
    write: Callable[[Path, Voxels], Mapping[str, Any]]
    """Write uint8 voxels (x, y, z) into an empty folder; returns the layer's entry."""
    read: Callable[[Path], ReadBox]
    """Open what was written, by the library, with nothing cached."""


def slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in zip(box.start, box.stop, strict=True))


def write_precomputed(folder: Path, voxels: Voxels) -> Mapping[str, Any]:
    info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (10, 10, 10), (0, 0, 0), voxels.shape, CHUNKS)
    volume = CloudVolume(f"precomputed://file://{folder}", info=info, compress=False, progress=False)
    volume.commit_info()
    volume[:, :, :] = voxels[..., None]
    return {"source": str(folder)}


def read_precomputed(folder: Path) -> ReadBox:
    volume = CloudVolume(f"precomputed://file://{folder}", progress=False, lru_bytes=CACHE_BYTES)
    return lambda box: np.asarray(volume[slices(box)])[..., 0]


def write_zarr(folder: Path, voxels: Voxels) -> Mapping[str, Any]:
    array = zarr.create_array(str(folder / "array"), shape=voxels.shape, chunks=CHUNKS, dtype="uint8")
    array[...] = voxels.T
    return {"source": str(folder / "array")}


def read_zarr(folder: Path) -> ReadBox:
    array: Any = zarr.open_array(str(folder / "array"), mode="r")
    return lambda box: array[slices(box)[::-1]].T


def write_n5(folder: Path, voxels: Voxels) -> Mapping[str, Any]:
    file = z5py.File(str(folder / "file.n5"), "a", use_zarr_format=False)
    array = file.create_dataset("array", shape=voxels.shape, chunks=CHUNKS, dtype="uint8", compression="gzip")
    array[...] = np.ascontiguousarray(voxels.T)
    return {"source": str(folder / "file.n5" / "array")}


def read_n5(folder: Path) -> ReadBox:
    array = z5py.File(str(folder / "file.n5"), "r")["array"]
    return lambda box: array[slices(box)[::-1]].T


FORMATS = (
    Format(backend="precomputed", library="cloud-volume", write=write_precomputed, read=read_precomputed),
    Format(backend="zarr", library="zarr-python", write=write_zarr, read=read_zarr),
    Format(backend="n5", library="z5py", write=write_n5, read=read_n5),
)


def boxes(shape: Sequence[int], side: int) -> list[Box]:
    """One in each chunk, in an order that is random and always the same."""
    starts = [(x * CHUNK, y * CHUNK, z * CHUNK) for x, y, z in np.ndindex(*(n // CHUNK for n in shape))]
    random.Random(0).shuffle(starts)
    return [Box.at(start, (side, side, side)) for start in starts]


def case_name(format_: Format, side: int) -> str:
    return f"{format_.backend}: read of {side}^3"


def measure(format_: Format, voxels: Voxels, side: int) -> Versus:
    """
    Args:
        voxels: uint8 (x, y, z), whole chunks of 64^3.
    """
    wanted = boxes(voxels.shape, side)
    expected = [voxels[slices(box)] for box in wanted]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entry = format_.write(folder, voxels)
        theirs = _library_times(format_.read(folder), wanted, expected)
        ours = uvloop.run(_our_times(format_.backend, entry, folder, wanted, expected))
    return Versus(case=case_name(format_, side), library=format_.library, ours_us=ours, theirs_us=theirs)


def _library_times(read: ReadBox, wanted: Sequence[Box], expected: Sequence[Voxels]) -> tuple[float, float]:
    """Microseconds a read, cold and warm; the last pass is compared."""
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        found = [read(box) for box in wanted]
        times.append(time.perf_counter() - begin)
    _compare(found, expected)
    return _per_read(times, len(wanted))


async def _our_times(
    backend: str, entry: Mapping[str, Any], folder: Path, wanted: Sequence[Box], expected: Sequence[Voxels]
) -> tuple[float, float]:
    volume: Volume
    (volume,) = await open_layers(backend, entry, roots=[folder])
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        found = [await volume.read(0, box) for box in wanted]
        times.append(time.perf_counter() - begin)
    await volume.aclose()
    _compare([array[0] for array in found], expected)
    return _per_read(times, len(wanted))


def _compare(found: Sequence[Voxels], expected: Sequence[Voxels]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _per_read(times: Sequence[float], count: int) -> tuple[float, float]:
    """Of the first pass, and of the best of the others."""
    return times[0] / count * 1e6, min(times[1:]) / count * 1e6
