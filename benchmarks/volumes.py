"""The volume that is measured: real or synthetic tissue, tiled to a cube and written as three precomputed sources."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from wkdvid.core.geometry import Box, Vec3
from wkdvid.tissue import synthesize

Voxels = NDArray[Any]

SIDE = 512
CHUNK = 64
TISSUE_SIDE = 256
"""Of the synthetic tissue that is tiled where there is no real one."""
VOXEL_SIZE_NM = 10
JPEG_QUALITY = 80
ENCODINGS = {"grey": "raw", "greyjpeg": "jpeg", "seg": "compressed_segmentation"}
"""Source -> how its 64^3 chunks are stored."""
STAMP = "tile.npz"
"""Written last: a folder that holds it is whole."""


@dataclass(frozen=True, slots=True)
class Volume:
    """What was written where, and the voxels that every answer is compared with."""

    folder: Path
    """Holds one precomputed volume per source."""
    side: int
    """Voxels on each axis."""
    tiles: dict[str, Voxels]
    """Source -> voxels (x, y, z) that repeat on each axis: uint8, and uint64 of ``seg``."""

    def voxels(self, source: str, box: Box) -> Voxels:
        """What was written into a box (x, y, z), in Fortran order; of ``greyjpeg`` what was there before encoding."""
        tile = self.tiles[source]
        ranges = (np.arange(a, b) % n for a, b, n in zip(box.start, box.stop, tile.shape, strict=True))
        return np.asfortranarray(tile[np.ix_(*ranges)])

    def stored(self, source: str, box: Box) -> bytes:
        """The bytes of a stored chunk."""
        name = "_".join(f"{a}-{b}" for a, b in zip(box.start, box.stop, strict=True))
        return (self.folder / source / scale_key() / name).read_bytes()

    def grid(self, size: Vec3) -> list[Box]:
        """All whole boxes of a grid, in an order that is random and always the same."""
        return self._shuffled(size, size)

    def blocks(self, per_axis: int) -> list[Box]:
        """All cubes of so many 64^3 blocks on each axis, at any block; in a random order, always the same."""
        return self._shuffled((per_axis * CHUNK,) * 3, (CHUNK,) * 3)

    def _shuffled(self, size: Vec3, step: Vec3) -> list[Box]:
        starts = np.ndindex(*(max((self.side - n) // by + 1, 0) for n, by in zip(size, step, strict=True)))
        boxes = [Box.at((x * step[0], y * step[1], z * step[2]), size) for x, y, z in starts]
        random.Random(0).shuffle(boxes)
        return boxes


def parts(box: Box, side: int) -> Iterator[Box]:
    """A box cut into cubes, x fastest."""
    for z in range(box.start[2], box.stop[2], side):
        for y in range(box.start[1], box.stop[1], side):
            for x in range(box.start[0], box.stop[0], side):
                yield Box.at((x, y, z), (side, side, side))


def prepare(work: Path, medulla: Path | None, side: int = SIDE) -> Volume:
    """Write the sources, or take what an earlier run wrote: that is never written anew.

    Args:
        work: Gets a folder ``volume-{medulla or tissue}-{side}``.
        medulla: The medulla sample, an .npz file; None: synthetic tissue.
        side: Voxels on each axis, a multiple of 64.
    """
    folder = work / f"volume-{'medulla' if medulla else 'tissue'}-{side}"
    if not (folder / STAMP).exists():
        grey, labels = _medulla(medulla) if medulla else _tissue(min(side, TISSUE_SIDE))
        tiles = {"grey": grey, "greyjpeg": grey, "seg": labels}
        for source, encoding in ENCODINGS.items():
            _write(Volume(folder, side, tiles), source, encoding)
        np.savez(folder / STAMP, grey=grey, labels=labels)
    with np.load(folder / STAMP) as kept:
        grey, labels = kept["grey"], kept["labels"]
    return Volume(folder, side, {"grey": grey, "greyjpeg": grey, "seg": labels})


def scale_key() -> str:
    return "_".join([str(VOXEL_SIZE_NM)] * 3)


def _medulla(path: Path) -> tuple[Voxels, Voxels]:
    with np.load(path) as arrays:
        return np.asfortranarray(arrays["grayscale"].T), np.asfortranarray(arrays["bodies"].T)


def _tissue(side: int) -> tuple[Voxels, Voxels]:
    grey = np.zeros((side, side, side), np.uint8, order="F")
    labels = np.zeros((side, side, side), np.uint64, order="F")
    for box in parts(Box((0, 0, 0), grey.shape), CHUNK):
        place = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
        grey[place], labels[place] = synthesize(box)
    return grey, labels


def _write(volume: Volume, source: str, encoding: str) -> None:
    scale: dict[str, Any] = {
        "key": scale_key(),
        "size": [volume.side] * 3,
        "resolution": [VOXEL_SIZE_NM] * 3,
        "chunk_size": [CHUNK] * 3,
        "encoding": encoding,
    }
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    if encoding == "jpeg":
        scale["jpeg_quality"] = JPEG_QUALITY
    dtype = volume.tiles[source].dtype
    kind = "segmentation" if dtype == np.uint64 else "image"
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{volume.folder / source}/"},
        "multiscale_metadata": {"type": kind, "data_type": dtype.name, "num_channels": 1},
        "scale_metadata": scale,
    }
    store = ts.open(spec, create=True, delete_existing=True).result()[..., 0]
    for z in range(0, volume.side, CHUNK):
        slab = Box((0, 0, z), (volume.side, volume.side, z + CHUNK))
        store[:, :, z : z + CHUNK].write(volume.voxels(source, slab)).result()
