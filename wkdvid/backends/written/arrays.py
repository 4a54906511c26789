"""The arrays that written voxels are stored in, and the place that they lie below.

``<place>/<data_uuid>/v<version>/s<scale>/`` is a zarr 3 array (c, z, y, x) of one chunk a block. Coordinate 0 is in its
middle, so that negative ones are there and it never has to grow; only chunks that were written take room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import tensorstore as ts
from cachebox import LRUCache

from wkdvid.backends.failures import translate
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.tensorstore_volume import arrange
from wkdvid.core.credentials import Credentials
from wkdvid.core.geometry import Box, ceil_div
from wkdvid.core.single_flight import SingleFlight
from wkdvid.core.source import Source, file_source, read_source
from wkdvid.core.volume import Array
from wkdvid.core.written_volumes import VoxelSettings
from wkdvid.errors import BackendError, ConfigError, UpstreamUnavailable

FOLDER = "volumes/repos"
"""Below the data directory."""
METADATA = "zarr.json"
OPEN = 1024
"""Arrays that a worker has open for writing."""
LOOK_S = 10.0
"""So long a bucket that was there is taken to be there."""
LARGEST = 2**31
"""Coordinates of DVID's API have 32 bits."""
NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large")
"""What the operating system says where nothing more can be stored."""


@dataclass(frozen=True, slots=True)
class Place:
    """Of one array."""

    data_uuid: str
    version: int
    """Of the node; 0 for all nodes together."""
    scale: int

    @property
    def key(self) -> str:
        return f"{self.data_uuid}/v{self.version}/s{self.scale}/"


class Arrays:
    """Opens arrays below one place, and writes to them."""

    def __init__(self, root: Source, opener: Opener) -> None:
        """
        Args:
            root: The operator's: a folder, or a folder of a bucket.
        """
        self._root = root
        self._opener = opener
        self._written: LRUCache[Place, ts.TensorStore] = LRUCache(OPEN)
        self._looking: SingleFlight[None] = SingleFlight()
        self._look_again = 0.0

    @property
    def deadline_s(self) -> float:
        """For one read."""
        return self._opener.deadline_s

    async def check_bucket(self) -> None:
        """Without its bucket every block looks as if nobody had ever written it.

        Raises:
            BackendError: it is not there, or cannot be asked now.
        """
        if self._root.scheme != "file" and time.monotonic() >= self._look_again:
            await self._looking.ask(self._root.url, self._look)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self.deadline_s):
                folder = await finished(ts.KvStore.open(self._root.kvstore, context=self._opener.context))
                await finished(folder.list(ts.KvStore.KeyRange(METADATA, f"{METADATA}\0")))
        except TimeoutError as error:
            raise UpstreamUnavailable(f"{self._root.name}: no answer within {self.deadline_s:g} s") from error
        except FAILURES as error:
            raise translate(error, self._root.name) from error
        self._look_again = time.monotonic() + LOOK_S

    async def exists(self, place: Place) -> bool:
        """Whether anything was ever written there.

        Raises:
            BackendError: that cannot be judged now.
        """
        return await self._opener.read_start(self._source(place), METADATA, 1) is not None

    async def to_read(self, place: Place, settings: VoxelSettings, *, fill: bool, lasting: bool) -> ts.TensorStore:
        """An array (c, x, y, z), which need not exist: what it must be is known, so nothing is read.

        Args:
            fill: Whether a block that is not there is zeros; else it is NOT_FOUND.
            lasting: Whether it is not written to any more; else each read looks whether its chunks were.
        """
        recheck: object = "open" if lasting else True
        return await self._open(
            place,
            settings,
            {"assume_metadata": True, "recheck_cached_data": recheck, "fill_missing_data_reads": fill},
        )

    async def write(self, place: Place, settings: VoxelSettings, box: Box, array: Array) -> None:
        """Store a box of whole blocks, durably.

        Not to be cancelled: what is then still on its way would come after what is written next.

        Raises:
            BackendError: it could not be stored; each block is old or new.
        """
        if place not in self._written:
            self._written[place] = await self._to_write(place, settings)
        (x0, y0, z0), (x1, y1, z1) = box.start, box.stop
        part = self._written[place][:, x0:x1, y0:y1, z0:z1]
        try:
            await finished(part.write(array, can_reference_source_data_indefinitely=True).commit)
        except FAILURES as error:
            raise unwritten(error, f"{self._root.name}{place.key}") from error

    async def _to_write(self, place: Place, settings: VoxelSettings) -> ts.TensorStore:
        """An array, made where there is none.

        TensorStore would make it if it is not there yet: where there is no bucket, 404 is to it another writer's being
        faster, and it tries again, for ever. Whoever makes it here writes the same.
        """
        if await self.exists(place):
            return await self._open(place, settings, {})
        source = self._source(place)
        document = {"zarr_format": 3, "node_type": "array", **metadata(settings)}
        try:
            folder = await finished(ts.KvStore.open(source.kvstore, context=self._opener.context))
            await finished(folder.write(METADATA, orjson.dumps(document)))
        except FAILURES as error:
            raise unwritten(error, f"{source.name}{METADATA}") from error
        return await self._open(place, settings, {"assume_metadata": True})

    async def _open(self, place: Place, settings: VoxelSettings, options: Mapping[str, Any]) -> ts.TensorStore:
        source = self._source(place)
        spec = {
            "driver": "zarr3",
            "kvstore": source.kvstore,
            "metadata": metadata(settings),
            "store_data_equal_to_fill_value": True,  # zeros over what an ancestor has
            "open": True,
            **options,
        }
        try:
            store = await finished(ts.open(spec, context=self._opener.context))
        except FAILURES as error:
            raise unwritten(error, source.name) from error
        return arrange(store, "czyx", fixed={}, translation=extent(settings.block).start)

    def _source(self, place: Place) -> Source:
        root = self._root
        label = f"{root.label}{place.key}" if root.label else ""
        return replace(root, path=f"{root.path}{place.key}", label=label)


def place_of_volumes(data_dir: Path, url: str | None, credentials: Credentials) -> Source:
    """Below which all is stored: the operator's choice, so it is not for the guard to refuse.

    Raises:
        ConfigError: a Google bucket that is not granted the process's own credentials.
    """
    source = file_source(str((data_dir / FOLDER).absolute())) if url is None else read_source(url)
    source = replace(source, access=credentials.access(source), label=f"{FOLDER}/" if source.scheme == "file" else "")
    if source.scheme == "gs" and source.access.endpoint is not None:
        raise ConfigError("volumes.url: grant the bucket 'environment' in sources.credentials to have it written to")
    return source


def extent(block: int) -> Box:
    """Where voxels can be, in whole blocks."""
    reach = ceil_div(LARGEST, block) * block
    return Box((-reach, -reach, -reach), (reach, reach, reach))


def metadata(settings: VoxelSettings) -> dict[str, Any]:
    """Zarr 3 metadata of an array. Its chunks have x fastest and channels interleaved, as clients send them."""
    chunk = [settings.num_channels, *[settings.block] * 3]
    return {
        "shape": [settings.num_channels, *extent(settings.block).size],
        "data_type": settings.dtype,
        "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": list(_codecs(settings)),
        "dimension_names": ["c", "z", "y", "x"],
    }


def _codecs(settings: VoxelSettings) -> Sequence[Mapping[str, Any]]:
    """Lossless, with a checksum: flipped bits would else be shown.

    Labels become a third of what LZ4 makes of them; images shrink little in any way, so the quicker one will do.
    """
    labels = settings.dtype == "uint64"
    blosc = {
        "cname": "zstd" if labels else "lz4",
        "clevel": 1 if labels else 5,
        "shuffle": "shuffle",
        "typesize": np.dtype(settings.dtype).itemsize,
        "blocksize": 0,
    }
    return (
        *([{"name": "transpose", "configuration": {"order": [1, 2, 3, 0]}}] if settings.num_channels > 1 else []),
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": blosc},
        {"name": "crc32c"},
    )


def unwritten(error: Exception, what: str) -> BackendError:
    """The failure of storing ``what``."""
    if any(told in str(error) for told in NO_ROOM):
        return UpstreamUnavailable(f"{what}: there is no room left to store it")
    return translate(error, what)
