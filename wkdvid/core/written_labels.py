"""The contract of the index of the labels that clients write, of which each node sees its own and its ancestors'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from wkdvid.core.geometry import Vec3
from wkdvid.core.label_index import LabelIndex, Labels
from wkdvid.core.repositories import DataInstance, Node, Repository

Counts: TypeAlias = tuple[Labels, npt.NDArray[np.uint32]]
"""Labels of a block but 0, each once, and how many of its voxels have them."""


class WrittenLabels(Protocol):
    """Reads see every change that was acknowledged before they began, whichever worker made it."""

    def at(self, repository: Repository, node: Node, instance: DataInstance) -> LabelIndex:
        """The labels as the node sees them. Nothing is read for it."""
        ...

    async def put(
        self, repository: Repository, node: Node, instance: DataInstance, blocks: Mapping[Vec3, Counts]
    ) -> None:
        """Replace, durably, what is known of blocks of scale 0 in an open node. Of each all is stored, or nothing.

        The caller sees to it that nobody else does so for the same blocks meanwhile. Twice is as good as once.

        Raises:
            DatabaseUnavailable: it could not be stored.
        """
        ...
