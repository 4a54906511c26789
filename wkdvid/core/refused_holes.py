"""Volumes in stores that answer "forbidden" for what they lack, as S3 does where listing is not allowed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.volume import Array, LevelInfo, StoresChunks, TellsTrouble, Volume
from wkdvid.errors import AccessDenied, AuthRejected, BackendError, SourceGone


class RefusedHoles:
    """A volume of which a chunk that is refused was never written. So are all, if the rights to read are gone."""

    def __init__(self, volume: Volume) -> None:
        self.info = volume.info
        self._refusal: AuthRejected | None = None
        """Of the kind that is no hole."""
        self._volume = volume

    @property
    def trouble(self) -> AuthRejected | SourceGone | None:
        """As ``TellsTrouble`` has it."""
        told = self._volume.trouble if isinstance(self._volume, TellsTrouble) else None
        return told if isinstance(told, SourceGone) else self._refusal

    async def read(self, level: int, box: Box) -> Array:
        (found,) = await self.read_all(level, (box,))
        if isinstance(found, BackendError):
            raise found
        return found

    async def read_all(self, level: int, boxes: Sequence[Box]) -> Sequence[Array | BackendError]:
        found = await self._volume.read_all(level, boxes)
        return [
            await self._by_chunks(level, box) if isinstance(one, AccessDenied) else self._noted(one)
            for box, one in zip(boxes, found, strict=True)
        ]

    async def _by_chunks(self, level: int, box: Box) -> Array | BackendError:
        """A box in which there is a hole."""
        info = self.info
        out = np.zeros((info.num_channels, *box.size), info.dtype, order="F")
        pieces = chunk_pieces(info.levels[level], box)
        for piece, part in zip(pieces, await self._volume.read_all(level, pieces), strict=True):
            if isinstance(part, BackendError) and not isinstance(part, AccessDenied):
                return self._noted(part)
            (x0, y0, z0), (x1, y1, z1), (x, y, z) = piece.start, piece.stop, box.start
            out[:, x0 - x : x1 - x, y0 - y : y1 - y, z0 - z : z1 - z] = (
                info.fill_value if isinstance(part, AccessDenied) else part
            )
        return out

    def _noted(self, found: Array | BackendError) -> Array | BackendError:
        if isinstance(found, AuthRejected):
            self._refusal = found
        return found

    async def aclose(self) -> None:
        await self._volume.aclose()


class RefusedChunks(RefusedHoles):
    """Where stored chunks can be handed on."""

    def __init__(self, volume: Volume, chunks: StoresChunks) -> None:
        """
        Args:
            chunks: The volume again.
        """
        super().__init__(volume)
        self._chunks = chunks

    async def stored_chunks(self, level: int, indices: Sequence[Vec3]) -> Sequence[bytes | BackendError | None]:
        found = await self._chunks.stored_chunks(level, indices)
        return [None if isinstance(one, AccessDenied) else one for one in found]


def with_refused_holes(volume: Volume) -> Volume:
    """The volume with its power to hand on chunks. Files are not handed on: who reads them takes holes as they come."""
    return RefusedChunks(volume, volume) if isinstance(volume, StoresChunks) else RefusedHoles(volume)


def chunk_pieces(level: LevelInfo, box: Box) -> Sequence[Box]:
    """What each chunk of a level has of a box."""
    inside = box.intersect(level.extent)
    if inside is None:
        return ()
    axes = []
    for start, stop, side, origin in zip(inside.start, inside.stop, level.chunk_shape, level.chunk_origin, strict=True):
        first, last = (start - origin) // side, (stop - 1 - origin) // side
        edges = [origin + i * side for i in range(first, last + 2)]
        axes.append([(max(a, start), min(b, stop)) for a, b in itertools.pairwise(edges)])
    return [Box((x[0], y[0], z[0]), (x[1], y[1], z[1])) for x, y, z in itertools.product(*axes)]
