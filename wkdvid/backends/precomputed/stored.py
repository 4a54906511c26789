"""The stored bytes of a scale's chunks: in a folder, in shards, or in local files that say their compression."""

from __future__ import annotations

import asyncio
import time
from bz2 import BZ2Decompressor
from collections.abc import Callable, Mapping, Sequence
from lzma import LZMADecompressor

import imagecodecs
import tensorstore as ts

from wkdvid.backends.failures import translate
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.precomputed.chunks import chunk_key, shard_key
from wkdvid.backends.precomputed.metadata import ScaleMetadata
from wkdvid.backends.quoting import plain
from wkdvid.codecs.payload import gunzip
from wkdvid.core.geometry import Vec3
from wkdvid.core.source import Source
from wkdvid.errors import CorruptChunk, InvalidRequest


def _whole(decompressor: LZMADecompressor | BZ2Decompressor, data: bytes, limit: int) -> bytes:
    unpacked = decompressor.decompress(data, limit + 1)
    if not decompressor.eof or decompressor.unused_data or len(unpacked) > limit:
        raise ValueError("cut short, or too large")
    return unpacked


UNPACK: Mapping[str, Callable[[bytes, int], bytes]] = {
    ".gz": gunzip,
    ".br": lambda data, limit: bytes(imagecodecs.brotli_decode(data, out=limit)),
    ".zstd": lambda data, limit: bytes(imagecodecs.zstd_decode(data, out=limit)),
    ".xz": lambda data, limit: _whole(LZMADecompressor(), data, limit),
    ".bz2": lambda data, limit: _whole(BZ2Decompressor(), data, limit),
}
"""By the suffix that cloud-volume gives local files. At most so many bytes, else an exception."""


class StoredScale:
    def __init__(self, scale: ScaleMetadata, store: ts.KvStore, suffixes: Sequence[str], what: str, limit: int) -> None:
        """
        Args:
            suffixes: Of ``UNPACK``, that names of chunks may have.
            what: The source, for messages.
            limit: Largest number of bytes that a chunk may have when it is unpacked.
        """
        self.scale = scale
        self.suffixes = suffixes
        self.what = what
        self._store = store
        self._limit = limit
        self._opened = time.time()

    def begin(self, index: Vec3, suffix: str = "") -> ts.Future[ts.KvStore.ReadResult]:
        """Read a chunk as it is stored. The indices of shards are read once for as long as the scale is open."""
        if self.scale.sharding is not None:
            return self._store.read(shard_key(self.scale, index), staleness_bound=self._opened)
        return self._store.read(chunk_key(self.scale, index) + suffix)

    async def read(self, index: Vec3) -> bytes | None:
        """The bytes of a chunk in the scale's encoding, or None if it was never written.

        Raises:
            BackendError: they cannot be read, or not be unpacked.
        """
        where = f"{self.what}, chunk {chunk_key(self.scale, index)}"
        for suffix in ("", *self.suffixes):
            try:
                found = await finished(self.begin(index, suffix))
            except FAILURES as error:
                raise translate(error, where) from error
            if found.state == "value":
                return await self._unpacked(found.value, suffix, f"{where}{suffix}") if suffix else found.value
        return None

    async def _unpacked(self, data: bytes, suffix: str, where: str) -> bytes:
        try:
            return await asyncio.to_thread(UNPACK[suffix], data, self._limit)
        except Exception as error:
            raise CorruptChunk(f"{where}: cannot be unpacked to at most {self._limit} bytes") from error


async def open_stored(
    opener: Opener, source: Source, scale: ScaleMetadata, suffixes: Sequence[str] = ()
) -> StoredScale:
    """
    Raises:
        InvalidRequest: the scale's key leads to where it may not, or its sharding holds what no spec may.
        BackendError: the store cannot be opened.
    """
    spec = source.kvstore
    if scale.sharding is not None:
        folder = opener.guard.child(source, scale.key)
        spec = {"driver": "neuroglancer_uint64_sharded", "metadata": dict(scale.sharding), "base": folder.kvstore}
    try:
        store = await finished(ts.KvStore.open(spec, context=opener.context))
    except (OverflowError, TypeError) as error:
        raise InvalidRequest(f"{source.name} ({plain(scale.key)}): sharding: a number is too large") from error
    except FAILURES as error:
        raise translate(error, f"{source.name} ({plain(scale.key)})") from error
    return StoredScale(scale, store, suffixes, source.name, opener.limits.chunk_bytes)
