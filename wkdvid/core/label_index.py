"""Which blocks each label of a segmentation is in, and with how many voxels.

Free of how it is kept: ``backends/label_index`` keeps that of a volume which never changes in files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Labels: TypeAlias = npt.NDArray[np.uint64]
Blocks: TypeAlias = npt.NDArray[np.int64]
"""(n, 3): x, y, z of blocks, in blocks; ordered by z, y, x."""

BLOCK = 64
"""Side of a block in voxels, of a layer whose instance has no size of its own."""
MAX_ENTRIES = 1 << 20
"""Blocks of one label that are looked at in one request: what is held of them then is about 60 MB."""
PAGE = 1 << 16
"""Labels that are listed at a time."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What is known of one label."""

    blocks: Blocks
    counts: npt.NDArray[np.uint32]
    """(n,): how many voxels of each block have the label; none is 0."""

    @property
    def voxels(self) -> int:
        return int(self.counts.sum(dtype=np.uint64))

    def __len__(self) -> int:
        return len(self.counts)


class LabelIndex(Protocol):
    """All labels of one segmentation but 0. Methods raise BackendError where it cannot be read."""

    @property
    def block(self) -> int:
        """Side of a block in voxels of scale 0."""
        ...

    @property
    def max_label(self) -> int | None:
        """The largest label, as last known, without I/O; None: there is none."""
        ...

    async def sizes(self, labels: Sequence[int] | Labels) -> Labels:
        """Voxels of each label; 0 for one that is not there."""
        ...

    async def entries(self, label: int) -> Entries:
        """The blocks of a label; empty if it is not there.

        Raises:
            TooLarge: it is in more than ``MAX_ENTRIES``.
        """
        ...

    async def listing(self, start: int, number: int) -> tuple[Labels, Labels]:
        """Labels in ascending order, the first that is at least ``start`` and those after it, with their voxels."""
        ...


async def pages(index: LabelIndex, start: int, number: int) -> AsyncIterator[tuple[Labels, Labels]]:
    """As ``listing``, in parts of bounded size, none of them empty."""
    while number > 0:
        labels, sizes = await index.listing(start, min(number, PAGE))
        if not len(labels):
            return
        yield labels, sizes
        number -= len(labels)
        start = int(labels[-1]) + 1


def candidates(entries: Entries, scale: int) -> Blocks:
    """Blocks of a lower scale that may hold the label: those that blocks of scale 0 fall into.

    A voxel of scale k is made of 2^k a side, so that a label which it shows is among them.
    """
    if scale == 0:
        return entries.blocks
    found: npt.NDArray[Any] = np.unique((entries.blocks >> scale)[:, ::-1], axis=0)
    return np.ascontiguousarray(found[:, ::-1])
