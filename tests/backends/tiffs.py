"""TIFF files that tifffile and libvips wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tests.backends.arrays import Array, sampled
from wkdvid.testing.volume_suite import StoredLevel

TILE = (16, 32)
PYRAMID = ("--tile", "--pyramid", "--bigtiff", "--tile-width", "16", "--tile-height", "32")


def pages_of(array: Array) -> Array:
    """Voxels (c, x, y, z) as pages (z, y, x), with samples behind where there are several."""
    return array[0].T if len(array) == 1 else array.transpose(3, 2, 1, 0)


def voxels_of(pages: Array) -> Array:
    """Pixels (y, x) or (y, x, c) as voxels (c, x, y, z)."""
    samples = pages if pages.ndim == 3 else pages[..., None]
    return np.asfortranarray(samples.transpose(2, 1, 0)[..., None])


def vips(*arguments: object) -> None:
    subprocess.run(["vips", *map(str, arguments)], check=True, capture_output=True)


def save_with_vips(file: Path, array: Array, *options: str) -> list[StoredLevel]:
    """A plane as webknossos-connect wanted it; its levels are what vips reads from the file itself."""
    plain = file.with_name("plain.tif")
    tifffile.imwrite(plain, pages_of(array)[0], photometric="rgb" if len(array) == 3 else "minisblack", metadata=None)
    vips("tiffsave", plain, file, *PYRAMID, *options)
    plain.unlink()
    _, width, height, _ = array.shape
    coarsest = next(k for k in range(32) if width >> k <= TILE[0] and height >> k <= TILE[1])
    place = "[subifd={}]" if "--subifd" in options else "[page={}]"
    first = 0 if "--subifd" in options else 1
    parts = ["", *(place.format(first + k) for k in range(coarsest))]
    return [read_with_vips(file, part, array, 2**k) for k, part in enumerate(parts)]


def read_with_vips(file: Path, part: str, like: Array, mag: int) -> StoredLevel:
    raw = file.with_name("level.raw")
    vips("rawsave", f"{file}{part}", raw)
    width, height = (size // mag for size in like.shape[1:3])
    pixels = np.frombuffer(raw.read_bytes(), like.dtype).reshape(height, width, len(like))
    raw.unlink()
    return StoredLevel(array=voxels_of(pixels), mag=(mag, mag, 1))


def save_ome(
    file: Path, array: Array, mags: Sequence[int], metadata: dict[str, Any], **options: Any
) -> list[StoredLevel]:
    """An OME-TIFF of (c, x, y, z) with each channel in pages of its own, and coarser levels as SubIFDs."""
    levels = [StoredLevel(array=sampled(array, (mag, mag, 1)), mag=(mag, mag, 1)) for mag in mags]
    with tifffile.TiffWriter(file, ome=True) as writer:
        for level in levels:
            pages = level.array.transpose(0, 3, 2, 1)  # CZYX
            below = (
                {"subifds": len(mags) - 1, "metadata": {"axes": "CZYX", **metadata}}
                if level is levels[0]
                else {"subfiletype": 1}
            )
            writer.write(pages, tile=(32, 16), photometric="minisblack", **below, **options)
    return levels
