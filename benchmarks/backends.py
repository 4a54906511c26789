"""Our reads of a box against those of the format's own library, both in one process, one box at a time.

Each volume is written by the library that then reads it too, in chunks of 64^3 where nothing else is said. Cold: every
box lies in a chunk that was not read before (the files are in the page cache). Warm: the same boxes again; libraries
that can cache are told to.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import uvloop
import wkw
import z5py
import zarr
from cloudvolume import CloudVolume
from intern.remote.boss import BossRemote

from benchmarks.table import Versus
from benchmarks.volumes import CHUNK, Voxels
from wkdvid.core.geometry import Box
from wkdvid.core.volume import Volume
from wkdvid.testing.bossdb import BossDouble, Channel, Experiment
from wkdvid.testing.volume_suite import open_layers

BOX_SIDES = (32, 64)
CACHE_BYTES = 2**28
CHUNKS = (CHUNK,) * 3
PASSES = ("cold", "warm", "warm", "warm")

ReadBox = Callable[[Box], Voxels]
"""From a box to its voxels (x, y, z)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A volume as a library wrote it, and reads it, with nothing cached."""

    entry: Mapping[str, Any]
    """The layer's, for our backend."""
    read: ReadBox
    """By the library."""
    http_hosts: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    backend: str
    library: str
    store: Callable[[Path, Voxels], AbstractContextManager[Stored]]
    """Write uint8 voxels (x, y, z) into an empty folder."""


def slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in zip(box.start, box.stop, strict=True))


@contextmanager
def precomputed(folder: Path, voxels: Voxels) -> Iterator[Stored]:
    info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (10, 10, 10), (0, 0, 0), voxels.shape, CHUNKS)
    written = CloudVolume(f"precomputed://file://{folder}", info=info, compress=False, progress=False)
    written.commit_info()
    written[:, :, :] = voxels[..., None]
    volume = CloudVolume(f"precomputed://file://{folder}", progress=False, lru_bytes=CACHE_BYTES)
    yield Stored(entry={"source": str(folder)}, read=lambda box: np.asarray(volume[slices(box)])[..., 0])


@contextmanager
def zarr_array(folder: Path, voxels: Voxels) -> Iterator[Stored]:
    path = str(folder / "array")
    zarr.create_array(path, shape=voxels.shape, chunks=CHUNKS, dtype="uint8")[...] = voxels.T
    array: Any = zarr.open_array(path, mode="r")
    yield Stored(entry={"source": path}, read=lambda box: array[slices(box)[::-1]].T)


@contextmanager
def n5(folder: Path, voxels: Voxels) -> Iterator[Stored]:
    with z5py.File(str(folder / "file.n5"), "a", use_zarr_format=False) as file:
        array = file.create_dataset("array", shape=voxels.shape, chunks=CHUNKS, dtype="uint8", compression="gzip")
        array[...] = np.ascontiguousarray(voxels.T)
        yield Stored(entry={"source": str(folder / "file.n5" / "array")}, read=lambda box: array[slices(box)[::-1]].T)


@contextmanager
def wkw_layer(folder: Path, voxels: Voxels) -> Iterator[Stored]:
    """Blocks of 32^3, 4 x 4 x 4 in a file, compressed as webKnossos does it."""
    path = folder / "layer" / "1"
    path.mkdir(parents=True)
    header = wkw.Header(np.uint8, block_len=32, file_len=4, block_type=wkw.Header.BLOCK_TYPE_LZ4HC)
    with wkw.Dataset.create(str(path), header) as dataset:
        dataset.write((0, 0, 0), voxels)
        yield Stored(entry={"source": str(folder / "layer")}, read=lambda box: dataset.read(box.start, box.size)[0])


@contextmanager
def tiff_stack(folder: Path, voxels: Voxels) -> Iterator[Stored]:
    """A page for each z, in tiles of 64 x 64."""
    path = folder / "stack.tif"
    tifffile.imwrite(path, voxels.T, tile=(CHUNK, CHUNK), photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as file:
        array: Any = zarr.open_array(file.aszarr(), mode="r")
        yield Stored(entry={"source": str(path)}, read=lambda box: array[slices(box)[::-1]].T)


@contextmanager
def boss(_: Path, voxels: Voxels) -> Iterator[Stored]:
    """Our stand-in for the server, over loopback, in this process."""
    experiment = Experiment(collection="lab", name="brain", channels=[Channel(name="layer", array=voxels)])
    with BossDouble(experiment) as double:
        remote = BossRemote({"protocol": "http", "host": double.host, "token": "public"})
        channel = remote.get_channel("layer", "lab", "brain")

        def read(box: Box) -> Voxels:
            ranges = [list(ends) for ends in zip(box.start, box.stop, strict=True)]
            voxels: Voxels = remote.get_cutout(channel, 0, *ranges, parallel=False)
            return voxels.T

        entry = {"domain": double.url, "collection": "lab", "experiment": "brain"}
        yield Stored(entry=entry, read=read, http_hosts=[double.host])


FORMATS = (
    Format(backend="precomputed", library="cloud-volume", store=precomputed),
    Format(backend="zarr", library="zarr-python", store=zarr_array),
    Format(backend="n5", library="z5py", store=n5),
    Format(backend="wkw", library="wkw", store=wkw_layer),
    Format(backend="tiff", library="tifffile", store=tiff_stack),
    Format(backend="boss", library="intern", store=boss),
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
    with tempfile.TemporaryDirectory() as name, format_.store(Path(name), voxels) as stored:
        theirs = _library_times(stored.read, wanted, expected)
        ours = uvloop.run(_our_times(format_.backend, stored, Path(name), wanted, expected))
    return Versus(case=case_name(format_, side), library=format_.library, ours_us=ours, theirs_us=theirs)


def _library_times(read: ReadBox, wanted: Sequence[Box], expected: Sequence[Voxels]) -> tuple[float, float]:
    """Microseconds a read, cold and warm; the last pass is compared."""
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        found = [read(box) for box in wanted]
        times.append(time.perf_counter() - begin)
    _compare(found, expected)
    return per_read(times, len(wanted))


async def _our_times(
    backend: str, stored: Stored, folder: Path, wanted: Sequence[Box], expected: Sequence[Voxels]
) -> tuple[float, float]:
    volume: Volume
    (volume,) = await open_layers(backend, stored.entry, roots=[folder], http_hosts=stored.http_hosts)
    times = []
    for _ in PASSES:
        begin = time.perf_counter()
        found = [await volume.read(0, box) for box in wanted]
        times.append(time.perf_counter() - begin)
    await volume.aclose()
    _compare([array[0] for array in found], expected)
    return per_read(times, len(wanted))


def _compare(found: Sequence[Voxels], expected: Sequence[Voxels]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def per_read(times: Sequence[float], count: int) -> tuple[float, float]:
    """Of the first pass, and of the best of the others."""
    return times[0] / count * 1e6, min(times[1:]) / count * 1e6
