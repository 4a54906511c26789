"""A backend of a third party whose datasets list no layers: files ``NAME.boxed``, and folders that hold some."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wkdvid.backends.chunk_functions import chunk_store
from wkdvid.backends.opening import Opener
from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Box
from wkdvid.core.volume import Array, LayerInfo, LevelInfo, Volume
from wkdvid.errors import InvalidRequest

OPTIONS = frozenset({"path"})
MARKERS = ("index.boxed",)
PATHS = re.compile(r".*\.boxed/?", re.IGNORECASE)
SIZE = (8, 8, 8)


async def find_layers(entry: LayerEntry, opener: Opener) -> Sequence[LayerEntry]:
    source = await opener.source(entry.options["path"])
    index = await opener.read_start(source, "index.boxed", 1000)
    if index is None:
        raise InvalidRequest(f"{source.name}: there is no index.boxed")
    return [
        replace(entry, name=name, options={"path": f"{entry.options['path']}/{name}"})
        for name in index.decode().split()
    ]


def _value(file: Path) -> int | None:
    return file.read_bytes()[0] if file.is_file() else None


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """The file's single byte is the value of every voxel; 0 of none."""
    source = await opener.source(entry.options["path"])
    value = await asyncio.to_thread(_value, Path(source.path.rstrip("/")))
    if value is None:
        raise InvalidRequest(f"{source.name}: there is no such file")
    level = LevelInfo(mag=(1, 1, 1), extent=Box((0, 0, 0), SIZE), chunk_shape=SIZE, chunk_origin=(0, 0, 0), encoding="")

    async def read(box: Box) -> Array | None:
        return np.full((1, *box.size), value, np.uint8) if value else None

    store = chunk_store(
        read, level, dtype=np.uint8, num_channels=1, context=opener.context, deadline_s=opener.deadline_s
    )
    info = LayerInfo(
        name=entry.name,
        category="color",
        dtype=np.dtype(np.uint8),
        num_channels=1,
        voxel_size_nm=(1, 1, 1),
        levels=(level,),
        format="boxed",
    )
    return [TensorStoreVolume(info, [store], source.name, opener.deadline_s)]
