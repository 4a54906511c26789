"""Where a key of a sharded store lies in its files (sharded.md). TensorStore reads values, but does not say where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mmh3
import numpy as np

from wkdvid.codecs.payload import gunzip
from wkdvid.errors import CorruptChunk

INDEX_ENTRY = 16
"""Bytes for each minishard at the begin of a shard."""
_HASHES: Mapping[str, Callable[[int], int]] = {
    "identity": lambda key: key,
    "murmurhash3_x86_128": lambda key: mmh3.hash64(key.to_bytes(8, "little"), x64arch=False, signed=False)[0],
}
_BITS = {"preshift_bits": 63, "minishard_bits": 32, "shard_bits": 64}
"""With the largest that is accepted."""


@dataclass(frozen=True, slots=True)
class Place:
    """The shard and minishard of a key."""

    file: str
    index: range
    """Bytes of the minishard's entry in the shard's index."""


@dataclass(frozen=True, slots=True)
class Sharding:
    preshift_bits: int
    minishard_bits: int
    shard_bits: int
    hash: str
    is_index_packed: bool
    is_data_packed: bool

    @property
    def data_start(self) -> int:
        """What all other offsets in a shard count from."""
        return INDEX_ENTRY << self.minishard_bits

    def place(self, key: int) -> Place:
        hashed = _HASHES[self.hash](key >> self.preshift_bits)
        minishard = hashed & ((1 << self.minishard_bits) - 1)
        shard = hashed >> self.minishard_bits & ((1 << self.shard_bits) - 1)
        name = f"{shard:x}".zfill(-(-self.shard_bits // 4))
        return Place(f"{name}.shard", range(INDEX_ENTRY * minishard, INDEX_ENTRY * (minishard + 1)))

    def minishard_index(self, entry: bytes, what: str) -> range:
        """Bytes of the shard that a minishard's index takes, as its entry tells; empty if there is nothing in it.

        Raises:
            CorruptChunk: they end before they begin.
        """
        start, stop = (int.from_bytes(half, "little") + self.data_start for half in (entry[:8], entry[8:]))
        if stop < start:
            raise CorruptChunk(f"{what}: a minishard ends before it begins")
        return range(start, stop)

    def find(self, index: bytes, key: int, limit: int, what: str) -> range | None:
        """Bytes of the shard that a key's value takes; None if there is no such key.

        Args:
            index: Of the key's minishard, as it is stored; empty where there is none.
            limit: Bytes that it may have when it is unpacked.
        Raises:
            CorruptChunk: it is none.
        """
        unpacked = gunzip(index, limit) if self.is_index_packed and index else index
        if len(unpacked) % 24:
            raise CorruptChunk(
                f"{what}: the index of a minishard has {len(unpacked)} bytes, which no whole entries have"
            )
        ids, gaps, sizes = np.frombuffer(unpacked, "<u8").reshape(3, -1)
        (found,) = np.nonzero(np.cumsum(ids) == np.uint64(key))
        if not found.size:
            return None
        at = int(found[0])
        start = self.data_start + sum(gaps[: at + 1].tolist()) + sum(sizes[:at].tolist())
        return range(start, start + int(sizes[at]))

    def unpacked(self, value: bytes, limit: int) -> bytes:
        """A value as it was before it was stored."""
        return gunzip(value, limit) if self.is_data_packed else value


def parse_sharding(document: object, what: str) -> Sharding:
    """
    Raises:
        CorruptChunk: a member that is missing or wrong, by its path.
    """
    if not isinstance(document, dict) or document.get("@type") != "neuroglancer_uint64_sharded_v1":
        raise CorruptChunk(f"{what}: expected a neuroglancer_uint64_sharded_v1 object")
    if document.get("hash") not in (*_HASHES,):
        raise CorruptChunk(f"{what}.hash: expected one of {', '.join(_HASHES)}")
    return Sharding(
        **{name: _bits(document.get(name), largest, f"{what}.{name}") for name, largest in _BITS.items()},
        hash=document["hash"],
        is_index_packed=_is_packed(document, "minishard_index_encoding", what),
        is_data_packed=_is_packed(document, "data_encoding", what),
    )


def _bits(value: object, largest: int, what: str) -> int:
    if type(value) is int and 0 <= value <= largest:
        return value
    raise CorruptChunk(f"{what}: expected a whole number from 0 to {largest}")


def _is_packed(document: Mapping[str, Any], name: str, what: str) -> bool:
    encoding = document.get(name, "raw")
    if encoding not in ("raw", "gzip"):
        raise CorruptChunk(f"{what}.{name}: expected raw or gzip")
    return bool(encoding == "gzip")
