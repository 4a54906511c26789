"""Streams of blocks: DVID's unit of storage, sent as it is stored."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from wkdvid.client import decoding
from wkdvid.client.calls import Call, Each, Effect, Reply, Steps
from wkdvid.client.decoding import Array
from wkdvid.client.errors import InvalidArgument
from wkdvid.client.slicing import Corner, size_of
from wkdvid.client.twins import E, operation
from wkdvid.client.volume import LABELMAPS, Volume
from wkdvid.codecs import block_stream, jpeg, label_block, payload
from wkdvid.core.geometry import Vec3, volume_of

Blocks: TypeAlias = dict[Vec3, Array]
"""Arrays (x, y, z), or (c, x, y, z) of several channels, Fortran order, by block index. What is missing is zeros."""

IMAGES, LABELS = ("uncompressed", "jpeg"), ("blocks", "lz4", "gzip", "uncompressed")
"""Compressions on the way; the first is the default."""
AT_ONCE = 1000
"""Blocks of one request, as neuclease asks."""
LABEL_BLOCK_BYTES = 16
"""For each voxel, that a label block may have once its gzip is inflated: a label, an index and 9 bits make 13.2."""


class BlockOperations(Volume[E]):
    @operation
    def specificblocks(self, indices: Sequence[Vec3], *, compression: str = "") -> Steps[Blocks]:
        """Blocks by their indices (voxel // BlockSize).

        Args:
            compression: Of images "uncompressed" or "jpeg" (with losses), of labels "blocks", "lz4", "gzip" or
                "uncompressed".
        """
        return self._specific(indices, compression)

    @operation
    def subvolblocks(self, start: Corner, stop: Corner, *, compression: str = "") -> Steps[Blocks]:
        """The blocks of a box (x, y, z) whose sides lie on those of blocks."""
        is_labels = self.typename in LABELMAPS
        size, offset = ("_".join(map(str, point)) for point in (size_of(start, stop), start))
        count = math.prod(size_of(start, stop)) // math.prod(self._block) + 1
        path = self.path("blocks" if is_labels else "subvolblocks", size, offset)
        return self._stream(path, {}, compression, count)

    @property
    def _block(self) -> Vec3:
        x, y, z = self.voxels_metadata.block_size
        return (x, y, z)

    def _specific(self, indices: Sequence[Vec3], compression: str) -> Generator[Effect, Any, Blocks]:
        found: Blocks = {}

        def ask(some: Sequence[Vec3]) -> Generator[Effect, Any, None]:
            query = {"blocks": ",".join(str(n) for index in some for n in index)}
            found.update((yield from self._stream(self.path("specificblocks"), query, compression, len(some))))

        yield Each(ask(indices[i : i + AT_ONCE]) for i in range(0, len(indices), AT_ONCE))
        return found

    def _stream(self, path: str, query: Mapping[str, str], compression: str, count: int) -> Call[Blocks]:
        known = LABELS if self.typename in LABELMAPS else IMAGES
        chosen = compression or known[0]
        if chosen not in known:
            raise InvalidArgument(f"compression {compression!r} of {self.typename}: one of {', '.join(known)}")
        metadata, block = self.voxels_metadata, self._block

        def decode(reply: Reply) -> Blocks:
            return {
                index: _block(data, (metadata.channels, *block), metadata.dtype, chosen)
                for index, data in block_stream.iter_records(reply.body)
            }

        size = decoding.encoded_limit(volume_of(block) * metadata.channels * metadata.dtype.itemsize, chosen)
        return Call(
            action="read blocks",
            path=path,
            query={**self.read_query(), **query, "compression": chosen},
            decode=decode,
            limit=count * (size + 16),
        )


def _block(data: memoryview, shape: tuple[int, int, int, int], dtype: np.dtype[Any], compression: str) -> Array:
    channels, *size = shape
    block = (size[0], size[1], size[2])
    match compression:
        case "jpeg":
            return jpeg.decode_block(data, block)
        case "blocks":
            return label_block.decode(payload.gunzip(data, LABEL_BLOCK_BYTES * volume_of(block)), block)
        case "uncompressed":
            compression = ""
    array = decoding.voxels(data, shape, dtype, compression)
    return array if channels > 1 else array.reshape(block, order="F")
