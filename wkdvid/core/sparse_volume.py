"""The voxels of one label: which blocks have to be read for them, and what is found there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wkdvid.codecs import sparse_volume as codec
from wkdvid.codecs.sparse_volume import Mask, Runs
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box, Vec3, volume_of
from wkdvid.core.label_index import Blocks, LabelIndex, candidates
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import Scale
from wkdvid.core.reading import Reader
from wkdvid.core.volume import Array
from wkdvid.errors import BackendError

EVERYWHERE = Box((-(2**31),) * 3, (2**31,) * 3)
PART_RUNS = 1 << 20
"""Runs from which on a part is sent, 16 MiB: what comes after them is not sorted in among them."""
LABEL_BYTES = 8
"""Of a voxel, at most; runs never take more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseVolume:
    """A label at one scale, as far as it lies within bounds."""

    layer: Layer
    scale: Scale
    label: int
    side: int
    """Of a block, in voxels of any scale."""
    blocks: Blocks
    """Those that may hold the label, and have a part within the bounds."""
    bounds: Box
    """In voxels of the scale; what is read of a block ends there."""

    @classmethod
    async def find(
        cls, index: LabelIndex, layer: Layer, scale: int, label: int, bounds: Box, *, exact: bool = True
    ) -> SparseVolume:
        """
        Args:
            scale: Index into ``layer.halvings``.
            bounds: In voxels of the scale.
            exact: Else blocks count whole if any of their voxels lies within the bounds.
        Raises:
            BackendError: the index cannot be read.
            TooLarge: the label is in too many blocks to be looked at.
        """
        found = await asyncio.to_thread(candidates, await index.entries(label), scale)
        blocks = within(found, index.block, bounds)
        return cls(
            layer=layer,
            scale=layer.halvings[scale],
            label=label,
            side=index.block,
            blocks=blocks,
            bounds=bounds if exact else EVERYWHERE,
        )

    def check(self, reader: Reader) -> None:
        """
        Raises:
            TooLarge: so many voxels are more than one request may read.
        """
        inside = self.bounds.intersect(self.scale.extent)
        if inside is not None:
            start, stop = np.array(inside.start), np.array(inside.stop)
            first = self.blocks * self.side
            sizes = np.minimum(first + self.side, stop) - np.maximum(first, start)
            reader.check(self.scale, int(sizes.clip(0).prod(axis=1).sum()) * volume_of(self.scale.factors))

    async def masks(self, reader: Reader) -> AsyncIterator[list[tuple[Box, Mask]]]:
        """In batches where the label is, block by block by z, y, x; those without it are left out.

        Yields:
            Of each block the box that was read, and which of its voxels have the label, (x, y, z).
        Raises:
            BackendError: voxels could not be read.
        """
        number = reader.batch(self.side**3 * LABEL_BYTES)
        for first in range(0, len(self.blocks), number):
            boxes = list(self._boxes(self.blocks[first : first + number]))
            with one_deadline():
                arrays = await reader.read_all(self.layer, self.scale, boxes)
            yield await asyncio.to_thread(self._found, boxes, arrays)

    def _boxes(self, blocks: Blocks) -> Iterator[Box]:
        for x, y, z in (blocks * self.side).tolist():
            inside = Box.at((x, y, z), (self.side, self.side, self.side)).intersect(self.bounds)
            if inside is not None:
                yield inside

    def _found(self, boxes: Sequence[Box], arrays: Sequence[Array | BackendError]) -> list[tuple[Box, Mask]]:
        found = []
        for box, array in zip(boxes, arrays, strict=True):
            if isinstance(array, BackendError):
                raise array
            mask = array[0] == self.label
            if mask.any():
                found.append((box, mask))
        return found

    def whole(self, box: Box, mask: Mask) -> tuple[Mask, Vec3]:
        """The mask of a whole block, and its first voxel, from what was read of it."""
        shape: Vec3 = (self.side, self.side, self.side)
        origin = box.scaled_down(shape).scaled_up(shape).start
        whole = np.zeros(shape, np.bool_, order="F")
        whole[tuple(slice(a - o, b - o) for a, b, o in zip(box.start, box.stop, origin, strict=True))] = mask
        return whole, origin

    async def runs(self, reader: Reader) -> AsyncIterator[Runs]:
        """Runs along x, joined across blocks, in parts that are not empty.

        They are ordered by z, y, x; of a label of more than ``PART_RUNS`` those of each part are.

        Raises:
            BackendError: as ``masks``.
        """
        held: list[Runs] = []
        async for batch in self.masks(reader):
            held += await asyncio.to_thread(_runs, batch)
            if sum(map(len, held)) >= PART_RUNS:
                part = await asyncio.to_thread(_joined, held)
                goes_on = _ends_at(part, batch[-1][0]) if batch else np.zeros(len(part), np.bool_)
                held = [part[goes_on]]
                yield part[~goes_on]
        if any(map(len, held)):
            yield await asyncio.to_thread(_joined, held)


def within(blocks: Blocks, side: int, bounds: Box) -> Blocks:
    """Those blocks that have a voxel within bounds."""
    low, high = np.array(bounds.start) // side, (np.array(bounds.stop) - 1) // side
    if not bounds.voxels:
        return blocks[:0]
    return blocks[((blocks >= low) & (blocks <= high)).all(axis=1)]


def _runs(batch: Sequence[tuple[Box, Mask]]) -> list[Runs]:
    return [codec.runs_of(mask, box.start) for box, mask in batch]


def _ends_at(runs: Runs, block: Box) -> npt.NDArray[np.bool_]:
    """Which runs end at the border of a block, in its own lines: the next block may go on with them."""
    low, high = block.start, block.stop
    x, y, z, length = runs.T
    inside = (y >= low[1]) & (y < high[1]) & (z >= low[2]) & (z < high[2])
    found: npt.NDArray[np.bool_] = inside & (x + length == high[0])
    return found


def _joined(held: Sequence[Runs]) -> Runs:
    return codec.join(np.concatenate(held))
