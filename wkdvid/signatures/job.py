"""The job ``signatures``: computes the signatures of a layer, and has them searched in once all are there."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from wkdvid.core.geometry import ONE, ZERO, Box, Vec3, ceil_div
from wkdvid.core.job_layers import JobLayers, key_of
from wkdvid.core.jobs import Job, Parameters, Stage, Work
from wkdvid.core.volume import Array, LayerInfo, Volume
from wkdvid.errors import InvalidRequest, JobFailed, UnsupportedRequest
from wkdvid.signatures import signer
from wkdvid.signatures.building import LARGEST_BLOCK, count_of, install, make_arrays
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.records import RECORD, Records, records_of
from wkdvid.signatures.signer import CELL, PATCH, Features, Signer, describe

KIND = "signatures"
DEFAULTS = {"block": 160, "stride": 16}
WORK = ".work"
"""Folder, beside the organizations', of what is not whole; no organization is called so."""
SIDE = 160
"""Voxels a side of a task's places, or one stride if that is more."""
SAMPLES = 4
"""Along each axis: places of which patches are looked at before bits are given."""
SAMPLE_SIDE = 2 * PATCH
"""Voxels a side of what is looked at there."""

Result = TypeVar("Result")


def read_parameters(given: Parameters) -> Parameters:
    """``block`` and ``stride``, in voxels.

    Raises:
        InvalidRequest: another one, or one that is out of its range.
    """
    unknown = given.keys() - DEFAULTS
    if unknown:
        raise InvalidRequest(f"parameters: unknown are {', '.join(sorted(unknown))[:100]}; there are block and stride")
    block, stride = (_number(given, name) for name in DEFAULTS)
    if stride % CELL:
        raise InvalidRequest(f"stride: {stride} is no multiple of {CELL}")
    return {"block": str(block), "stride": str(stride)}


def _number(given: Parameters, name: str) -> int:
    text = given.get(name, str(DEFAULTS[name]))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not CELL <= number <= LARGEST_BLOCK:
        raise InvalidRequest(f"{name}: {text[:20]!r} is not a number of voxels from {CELL} to {LARGEST_BLOCK}")
    return number


class SignaturesKind:
    def __init__(self, layers: JobLayers, folders: SignatureFolders, executor: Executor) -> None:
        self._layers = layers
        self._folders = folders
        self._executor = executor

    async def prepare(self, job: Job) -> Work:
        """
        Raises:
            NotFound: the dataset or its layer is gone.
            UnsupportedRequest: the layer is no image, or too small.
            InvalidEntry, BackendError: a source of the dataset cannot be opened.
        """
        layer = await self._layers.open(job)
        block, stride = int(job.parameters["block"]), int(job.parameters["stride"])
        target = self._folders.folder(key_of(job))
        return Signing(layer.volume, block, stride, self._place(job), target, self._executor)

    async def discard(self, job: Job) -> None:
        await asyncio.to_thread(shutil.rmtree, self._place(job), ignore_errors=True)

    def _place(self, job: Job) -> Path:
        return self._folders.root / WORK / job.id


class Signing:
    """Descriptions of a sample, which bits depend on; then signatures, box by box; then their index."""

    def __init__(self, volume: Volume, block: int, stride: int, place: Path, target: Path, executor: Executor) -> None:
        """
        Args:
            place: Folder for what is made, whose name is of letters and digits.
            target: Where the index is put once it is whole; on the same disk.

        Raises:
            UnsupportedRequest: the volume is no image, or too small.
        """
        info = volume.info
        if info.category != "color":
            raise UnsupportedRequest(f"layer {info.name!r} holds labels; signatures are computed of images")
        extent = info.levels[0].extent
        self.stages = [_sampling(info), _signing(info, stride), Stage("index", Box(ZERO, ONE), ZERO, ONE)]
        self.plan: Mapping[str, Any] = {
            "signer": signer.NAME,
            "block": block,
            "stride": stride,
            "format": info.format,
            "dtype": info.dtype.name,
            "channels": info.num_channels,
            "extent": [list(extent.start), list(extent.stop)],
        }
        self._volume = volume
        self._block = block
        self._stride = stride
        self._place = place
        self._target = target
        self._executor = executor
        self._signer: Signer | None = None
        self._closed = False

    async def begin(self, *, anew: bool) -> None:
        if anew:
            await asyncio.to_thread(shutil.rmtree, self._place, ignore_errors=True)
        try:
            for name in ("sample", "records"):
                (self._place / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobFailed(f"the folder of signatures: {error.strerror}") from error

    async def do(self, stage: int, box: Box) -> None:
        """
        Raises:
            BackendError: voxels cannot be read.
            JobFailed: files cannot be written.
        """
        try:
            await (self._sample, self._sign, self._index)[stage](box)
        except OSError as error:
            raise JobFailed(f"{self.stages[stage].name}: {error.strerror or error}") from error

    async def _sample(self, box: Box) -> None:
        """Of the middle of the box."""
        extent = self._volume.info.levels[0].extent
        size = _vector(min(SAMPLE_SIDE, n) for n in extent.size)
        middle = ((a + b - n) // 2 for a, b, n in zip(box.start, box.stop, size, strict=True))
        start = _vector(
            min(max(m, a), b - n) for m, a, b, n in zip(middle, extent.start, extent.stop, size, strict=True)
        )
        voxels = await self._volume.read(0, Box.at(start, size))
        features, _ = await self._apart(partial(describe, voxels, signer.PATCH // 3))
        await self._apart(partial(_write, self._path("sample", box), features.astype(np.int8)))

    async def _sign(self, box: Box) -> None:
        first = _vector(ceil_div(n, self._stride) * self._stride for n in box.start)
        size = _vector((b - 1 - a) // self._stride * self._stride + PATCH for a, b in zip(first, box.stop, strict=True))
        path = self._path("records", box)
        if min(size) < PATCH:  # no multiple of the stride is in the box
            await self._apart(partial(_write, path, np.empty(0, RECORD)))
            return
        start = _vector(n - PATCH // 2 for n in first)
        voxels = await self._volume.read(0, Box.at(start, size))
        await self._apart(partial(self._write_signed, path, voxels, first))

    def _write_signed(self, path: Path, voxels: Array, first: Vec3) -> None:
        features, starts = describe(voxels, self._stride)
        _write(path, records_of(starts + np.array(first), self._known_signer().sign(features)))

    def _known_signer(self) -> Signer:
        """The sample's; two threads that make it at the same time make the same."""
        if self._signer is None:
            self._signer = Signer.of(self._read_sample())
        return self._signer

    def _read_sample(self) -> Features:
        found = [np.load(self._path("sample", box)) for box in _boxes(self.stages[0])]
        return np.concatenate(found).astype(np.float32)

    async def _index(self, _: Box) -> None:
        await self._apart(self._make)

    def _make(self) -> None:
        """In a folder of this try's own: the thread of an earlier one may still be at work."""
        trying = self._place / secrets.token_hex(8)
        make_arrays(trying, self._records(), self._block)
        if not self._made.exists():
            trying.rename(self._made)

    def _records(self) -> Iterator[Records]:
        for box in _boxes(self.stages[1]):
            if self._closed:
                raise JobFailed("the server is stopping")
            yield np.load(self._path("records", box))

    async def finish(self) -> str:
        try:
            count = await self._apart(self._install)
        except OSError as error:
            raise JobFailed(f"index: {error.strerror or error}") from error
        return f"places that look alike are found from now on: {count} signatures"

    def _install(self) -> int:
        if (count := count_of(self._target, self._made.name)) is not None:
            return count  # an earlier try was interrupted after that
        about = {**self.plan, "layer": self._volume.info.name, "signer": self._known_signer().document()}
        count = install(self._target, self._made, self._block, about)
        shutil.rmtree(self._place, ignore_errors=True)
        return count

    @property
    def _made(self) -> Path:
        """Its name is the index's, and so no other's."""
        return self._place / f"of{self._place.name}"

    def _path(self, what: str, box: Box) -> Path:
        return self._place / what / f"{'_'.join(map(str, box.start))}.npy"

    async def _apart(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def aclose(self) -> None:
        self._closed = True
        await self._volume.aclose()


def _sampling(info: LayerInfo) -> Stage:
    extent = info.levels[0].extent
    return Stage("sample", extent, extent.start, _vector(ceil_div(n, SAMPLES) for n in extent.size))


def _signing(info: LayerInfo, stride: int) -> Stage:
    """The places that a patch can be around, cut into boxes."""
    extent = info.levels[0].extent
    if min(extent.size) < PATCH:
        raise UnsupportedRequest(f"layer {info.name!r} of {extent.size} voxels is smaller than a patch of {PATCH}")
    start, stop = _vector(n + PATCH // 2 for n in extent.start), _vector(n - PATCH // 2 + 1 for n in extent.stop)
    side = max(SIDE // stride, 1) * stride
    return Stage("signatures", Box(start, stop), _vector(n // side * side for n in start), (side, side, side))


def _boxes(stage: Stage) -> Iterator[Box]:
    return map(stage.box, range(stage.count))


def _vector(numbers: Iterator[int]) -> Vec3:
    x, y, z = numbers
    return (x, y, z)


def _write(path: Path, array: Array) -> None:
    """Whole or not at all: a server may be killed at any moment."""
    temporary = path.with_suffix(f".{secrets.token_hex(4)}")
    with temporary.open("wb") as file:
        np.save(file, array)
    temporary.replace(path)
