"""A volume as a node sees it: blocks of its own, else its nearest ancestor's, else zeros."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import tensorstore as ts

from wkdvid.backends.failures import status_of
from wkdvid.backends.outcomes import outcomes
from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.core.deadline import one_deadline
from wkdvid.core.geometry import Box
from wkdvid.core.volume import Array, LayerInfo
from wkdvid.errors import BackendError


@dataclass(frozen=True, slots=True)
class Lineage:
    """The arrays of one level, nearest first. What was never written of them is NOT_FOUND."""

    nearer: Sequence[ts.TensorStore]
    root: ts.TensorStore
    filled_root: ts.TensorStore
    """The same as ``root``; what was never written of it is zero."""


OpenLineage: TypeAlias = Callable[[int], Awaitable[Lineage]]
"""
Raises:
    BackendError: it cannot be judged now which arrays of a level there are.
"""


class LineageVolume(TensorStoreVolume):
    """Levels that are stored in several arrays of the same blocks, of which the nearest that has a block counts.

    Where a level has one array, that is read like any other. Else each block costs a look into every array before the
    one that has it; a box of which only the root has anything is read from there at once.
    """

    def __init__(
        self,
        info: LayerInfo,
        open_lineage: OpenLineage,
        check_bucket: Callable[[], Awaitable[None]],
        what: str,
        deadline_s: float,
    ) -> None:
        """
        Args:
            check_bucket: Raises BackendError where that a block is not there does not mean that nobody has written it.
        """
        super().__init__(info, (), what, deadline_s)
        self._open = open_lineage
        self._check_bucket = check_bucket
        self._lineages: dict[int, Lineage] = {}

    async def never_written(self, level: int, boxes: Sequence[Box]) -> Sequence[bool]:
        """As ``TellsAbsence`` has it."""
        lineage = await self._lineage(level)
        with one_deadline():
            found = await self._of_nearer([*lineage.nearer, lineage.root], boxes)
        for box, one in found.items():
            if isinstance(one, Exception):
                raise self._failure(one, f"level {level}, voxels {box.start} to {box.stop}")
        return [box not in found for box in boxes]

    async def _lineage(self, level: int) -> Lineage:
        await self._check_bucket()
        if level not in self._lineages:
            self._lineages[level] = await self._open(level)
        return self._lineages[level]

    async def _found(self, level: int, boxes: Sequence[Box]) -> Sequence[Array | Exception]:
        try:
            lineage = await self._lineage(level)
        except BackendError as error:
            return [error] * len(boxes)
        side = self.info.levels[level].chunk_shape[0]
        cut = {box: list(_by_blocks(box, side)) for box in boxes if lineage.nearer}
        with one_deadline():
            found = await self._of_nearer(lineage.nearer, list(dict.fromkeys(itertools.chain(*cut.values()))))
            rest = [
                piece
                for box in dict.fromkeys(boxes)
                for piece in ([box] if found.keys().isdisjoint(cut.get(box, ())) else cut[box])
                if piece not in found
            ]
            found |= zip(rest, await self._outcomes(lineage.filled_root, rest), strict=True)
        return [found[box] if box in found else _joined(box, cut[box], found) for box in boxes]

    async def _of_nearer(self, stores: Sequence[ts.TensorStore], pieces: Sequence[Box]) -> dict[Box, Array | Exception]:
        """What some arrays have of boxes within one block each."""
        found: dict[Box, Array | Exception] = {}
        for store in stores:
            read = await self._outcomes(store, pieces)
            found |= {piece: one for piece, one in zip(pieces, read, strict=True) if not _is_missing(one)}
            pieces = [piece for piece in pieces if piece not in found]
        return found

    async def _outcomes(self, store: ts.TensorStore, boxes: Sequence[Box]) -> Sequence[Array | Exception]:
        return await outcomes(partial(self._begin, store), boxes, self._deadline_s)


def _is_missing(found: Array | Exception) -> bool:
    return isinstance(found, ValueError) and status_of(found) == "NOT_FOUND"


def _by_blocks(box: Box, block: int) -> Iterator[Box]:
    """Cut a box where blocks end."""
    cuts = [
        [start, *range((start // block + 1) * block, stop, block), stop]
        for start, stop in zip(box.start, box.stop, strict=True)
    ]
    for (z0, z1), (y0, y1), (x0, x1) in itertools.product(*map(itertools.pairwise, reversed(cuts))):
        yield Box((x0, y0, z0), (x1, y1, z1))


def _joined(box: Box, pieces: Sequence[Box], found: Mapping[Box, Array | Exception]) -> Array | Exception:
    """The pieces of a box put together, or the first of their failures."""
    arrays: list[Array] = []
    for piece in pieces:
        one = found[piece]
        if isinstance(one, Exception):
            return one
        arrays.append(one)
    out = np.empty((len(arrays[0]), *box.size), arrays[0].dtype, order="F")
    for piece, voxels in zip(pieces, arrays, strict=True):
        place = (slice(a - o, b - o) for a, b, o in zip(piece.start, piece.stop, box.start, strict=True))
        out[(slice(None), *place)] = voxels
    return out
