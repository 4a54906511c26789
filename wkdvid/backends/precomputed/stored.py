"""The stored bytes of a scale's chunks: in a folder, in shards, or in local files that say their compression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import imagecodecs
import tensorstore as ts

from wkdvid.backends.failures import translate
from wkdvid.backends.opening import Opener
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.precomputed.chunks import chunk_key, shard_key
from wkdvid.backends.precomputed.metadata import ScaleMetadata
from wkdvid.codecs.payload import gunzip
from wkdvid.core.geometry import Vec3
from wkdvid.core.source import Source
from wkdvid.errors import CorruptChunk

Unpack = Callable[[bytes, int], bytes]


def _unbrotli(data: bytes, limit: int) -> bytes:
    return bytes(imagecodecs.brotli_decode(data, out=limit))


def _unzstd(data: bytes, limit: int) -> bytes:
    return bytes(imagecodecs.zstd_decode(data, out=limit))


UNPACK: Mapping[str, Unpack] = {".gz": gunzip, ".br": _unbrotli, ".zstd": _unzstd}
"""By the suffix that cloud-volume gives local files."""
UNREAD = frozenset({".xz", ".bz2"})
"""It may write these too."""


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

    def begin(self, index: Vec3, suffix: str = "") -> ts.Future[ts.KvStore.ReadResult]:
        """Read a chunk as it is stored."""
        if self.scale.sharding is not None:
            return self._store.read(shard_key(self.scale, index))
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
                return self._unpacked(found.value, suffix, f"{where}{suffix}")
        return None

    def _unpacked(self, data: bytes, suffix: str, where: str) -> bytes:
        if not suffix:
            return data
        try:
            return UNPACK[suffix](data, self._limit)
        except Exception as error:
            raise CorruptChunk(f"{where}: cannot be unpacked to at most {self._limit} bytes") from error


async def open_stored(
    opener: Opener, source: Source, scale: ScaleMetadata, suffixes: Sequence[str] = ()
) -> StoredScale:
    """
    Raises:
        InvalidRequest: the scale's key leads to where it may not.
        BackendError: the store cannot be opened.
    """
    spec = source.kvstore
    if scale.sharding is not None:
        folder = opener.guard.child(source, scale.key)
        spec = {"driver": "neuroglancer_uint64_sharded", "metadata": dict(scale.sharding), "base": folder.kvstore}
    try:
        store = await finished(ts.KvStore.open(spec, context=opener.context))
    except FAILURES as error:
        raise translate(error, f"{source.name} ({scale.key})") from error
    return StoredScale(scale, store, suffixes, source.name, opener.limits.chunk_bytes)
