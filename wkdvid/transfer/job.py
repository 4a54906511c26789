"""The job ``transfer``: runs a model over a cube of an image, and stores what it shows as a precomputed volume.

The volume is in a folder of its own below that of all transfers; who knows its name, 20 random letters, may see it.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import string
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from wkdvid.backends.failures import translate
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.job_layers import JobLayers
from wkdvid.core.jobs import Job, JobState, Parameters, Stage, Work
from wkdvid.core.layers import Layer
from wkdvid.core.reading import Reader
from wkdvid.core.volume import Array
from wkdvid.errors import InvalidRequest, JobFailed, UnsupportedRequest
from wkdvid.transfer.models import BLOCK, Model, Models

KIND = "transfer"
LETTERS = 20
DEFAULT_SIZE = "256,256,256"
LARGEST = 1024
"""Voxels a side."""
FARTHEST = 2**31
_NUMBERS = re.compile(r"-?[0-9]{1,10}(,-?[0-9]{1,10}){2}")


def read_parameters(models: Models, given: Parameters) -> Parameters:
    """``center`` (x,y,z in voxels of the layer's finest level), ``model`` and ``size``.

    Raises:
        InvalidRequest: another one, or one that is missing or out of its range.
        UnsupportedRequest: there is no such model.
    """
    unknown = given.keys() - {"center", "model", "size"}
    if unknown:
        raise InvalidRequest(f"parameters: unknown are {', '.join(sorted(unknown))[:100]}")
    if "model" not in given:
        raise InvalidRequest("model: missing")
    center = _vector("center", given.get("center", ""))
    size = _vector("size", given.get("size", DEFAULT_SIZE))
    if any(not 0 < n <= LARGEST or n % BLOCK for n in size):
        raise InvalidRequest(f"size: {size} are not multiples of {BLOCK} from {BLOCK} to {LARGEST}")
    if any(abs(n) > FARTHEST for n in center):
        raise InvalidRequest(f"center: {center} is not within {FARTHEST} of the origin")
    return {"center": _text(center), "model": models.check(given["model"]), "size": _text(size)}


def name_of(job: Job) -> str | None:
    """Name of the volume that a job has made; None while it is not whole. It may have expired since."""
    return job.plan["name"] if job.plan is not None and job.state is JobState.DONE else None


def _vector(name: str, text: str) -> Vec3:
    if not _NUMBERS.fullmatch(text):
        raise InvalidRequest(f"{name}: {text[:40]!r} is not three whole numbers of voxels, x,y,z")
    x, y, z = map(int, text.split(","))
    return (x, y, z)


def _text(vector: Vec3) -> str:
    return ",".join(map(str, vector))


@dataclass(frozen=True, slots=True)
class TransferKind:
    layers: JobLayers
    reader: Reader
    models: Models
    executor: Executor
    folder: Path
    """Of all transfers."""

    async def prepare(self, job: Job) -> Work:
        """
        Raises:
            NotFound: the dataset or its layer is gone.
            UnsupportedRequest: the model is gone, or not made for the layer.
            InvalidRequest: the cube has no voxel of the layer.
            InvalidEntry, BackendError: a source of the dataset cannot be opened.
        """
        center, size = (_vector(key, job.parameters[key]) for key in ("center", "size"))
        start = (center[0] - size[0] // 2, center[1] - size[1] // 2, center[2] - size[2] // 2)
        box = Box.at(start, size)
        model = await asyncio.to_thread(self.models.load, job.parameters["model"])
        layer = await self.layers.open(job)
        if layer.info.category != "color":
            raise UnsupportedRequest(f"layer {job.layer!r} holds labels; models are for images")
        model.check(layer.info)
        extent = layer.halvings[0].extent
        if box.intersect(extent) is None:
            raise InvalidRequest(
                f"center: voxels {box.start} to {box.stop} have none of {extent.start} to {extent.stop}"
            )
        return _Transfer(self, layer, model, box, _name(job) or _new_name(), job.parameters["model"])

    async def discard(self, job: Job) -> None:
        if (name := _name(job)) is not None:
            for folder in (self.folder / name, self.folder / f".{name}"):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _name(job: Job) -> str | None:
    return None if job.plan is None else job.plan["name"]


def _new_name() -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(LETTERS))


class _Transfer:
    def __init__(self, kind: TransferKind, layer: Layer, model: Model, box: Box, name: str, model_name: str) -> None:
        self._kind = kind
        self._layer = layer
        self._scale = layer.halvings[0]
        self._model = model
        self._box = box
        self._made = kind.folder / name
        self._making = kind.folder / f".{name}"
        self._store: ts.TensorStore | None = None
        self.stages = [Stage("blocks", box, box.start, (BLOCK, BLOCK, BLOCK))]
        self.plan = {
            "name": name,
            "model": model_name,
            "box": [list(box.start), list(box.stop)],
            "dtype": layer.info.dtype.name,
            "channels": layer.info.num_channels,
            "resolution": self._resolution(),
            "extent": [list(self._scale.extent.start), list(self._scale.extent.stop)],
        }

    def _resolution(self) -> list[float]:
        return [size * mag for size, mag in zip(self._layer.info.voxel_size_nm, self._scale.mag, strict=True)]

    async def begin(self, *, anew: bool) -> None:
        if anew:
            for folder in (self._making, self._made):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if not self._made.exists():  # else an earlier try was interrupted after that
            self._store = await self._open()

    async def _open(self) -> ts.TensorStore:
        info = self._layer.info
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{self._making.absolute()}/"},
            "multiscale_metadata": {"type": "image", "data_type": info.dtype.name, "num_channels": info.num_channels},
            "scale_metadata": {
                "resolution": self._resolution(),
                "size": list(self._box.size),
                "voxel_offset": list(self._box.start),
                "chunk_size": [BLOCK] * 3,
                "encoding": "raw",
            },
        }
        try:
            return await finished(ts.open(spec, open=True, create=True))
        except FAILURES as error:
            raise translate(error, "making the volume") from error

    async def do(self, stage: int, box: Box) -> None:
        """
        Raises:
            BackendError: voxels cannot be read or written.
            JobFailed: the model fails.
        """
        if self._store is None:
            raise JobFailed("the volume was made whole already")
        margin = self._model.margin
        around = Box(
            (box.start[0] - margin[0], box.start[1] - margin[1], box.start[2] - margin[2]),
            (box.stop[0] + margin[0], box.stop[1] + margin[1], box.stop[2] + margin[2]),
        )
        voxels = await self._kind.reader.read(self._layer, self._scale, around)
        made = await asyncio.get_running_loop().run_in_executor(self._kind.executor, self._model.run, voxels)
        try:
            await finished(self._store[_slices(box)].write(np.moveaxis(self._inside(made, box), 0, -1)).commit)
        except FAILURES as error:
            raise translate(error, "writing the volume") from error

    def _inside(self, made: Array, box: Box) -> Array:
        """Outside the layer there are zeros, whatever a model makes of them."""
        inside = box.intersect(self._scale.extent)
        if inside == box:
            return made
        cut = np.zeros_like(made)
        if inside is not None:
            x, y, z = (slice(a - o, b - o) for a, b, o in zip(inside.start, inside.stop, box.start, strict=True))
            cut[:, x, y, z] = made[:, x, y, z]
        return cut

    async def finish(self) -> str:
        """The volume's name is not said: whoever reads it in a log could see the voxels."""
        try:
            if self._making.exists():
                os.utime(self._making)  # its age counts from now on
                self._making.rename(self._made)
        except OSError as error:
            raise JobFailed(f"naming the volume: {error.strerror}") from error
        return f"voxels {self._box.start} to {self._box.stop} are there as {self.plan['model']} shows them"

    async def aclose(self) -> None:
        await self._layer.volume.aclose()


def _slices(box: Box) -> tuple[Any, ...]:
    return tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
