"""A file ``a.tif`` in a folder, as tifffile writes it, and the layer that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile

from tests.backends.arrays import Array
from wkdvid.core.geometry import Vec3
from wkdvid.core.limits import Limits
from wkdvid.core.volume import Volume
from wkdvid.testing.volume_suite import check, open_layers

PLANE: Vec3 = (75, 66, 1)
TILE = (32, 16)


async def opened(folder: Path, limits: Limits | None = None, **options: Any) -> Volume:
    """The only layer of ``a.tif``."""
    (volume,) = await open_layers("tiff", {"source": "a.tif", **options}, roots=[folder], limits=limits)
    return volume


async def check_whole(volume: Volume, array: Array) -> None:
    check(await volume.read(0, volume.info.levels[0].extent), array)


def write(folder: Path, pages: Array, **options: Any) -> None:
    tifffile.imwrite(
        folder / "a.tif", pages, **{"photometric": "minisblack", "tile": TILE, "metadata": None, **options}
    )
