"""LZ4 as N5 arrays hold it.

n5-java writes the stream of lz4-java's ``LZ4BlockOutputStream``, which is not LZ4's own frame format: for each block
the magic ``LZ4Block``, a byte whose high nibble is the method, three int32, little-endian (stored size, inflated size,
check sum), and the bytes; an empty block ends it. The check sum is the low 28 bits of xxHash32 of the inflated bytes.
z5 writes a single raw LZ4 block under the same name.
"""

from __future__ import annotations

import struct

import xxhash

from wkdvid.codecs.payload import unlz4
from wkdvid.errors import CorruptChunk

MAGIC = b"LZ4Block"
STORED, COMPRESSED = 0x10, 0x20
SEED = 0x9747B28C
_HEADER = struct.Struct("<8sBiii")


def unlz4_stream(data: bytes, size: int) -> bytes:
    """Inflate a stream of lz4-java, or z5's block.

    Raises:
        CorruptChunk: it is neither, damaged, or not of exactly ``size`` bytes inflated; never inflates more.
    """
    if not data.startswith(MAGIC):
        return unlz4(data, size)
    inflated = bytearray()
    at = 0
    while at < len(data):
        at, block = _block(data, at, size - len(inflated))
        if not block:
            break
        inflated += block
    if len(inflated) != size:
        raise CorruptChunk(f"lz4: {len(inflated)} bytes inflated, expected {size}")
    return bytes(inflated)


def _block(data: bytes, at: int, most: int) -> tuple[int, bytes]:
    """Where the next block begins, and the inflated bytes of the one at ``at``: at most so many."""
    start = at + _HEADER.size
    if start > len(data):
        raise CorruptChunk("lz4: cut short")
    magic, token, stored, inflated, check_sum = _HEADER.unpack_from(data, at)
    stop = start + stored
    if magic != MAGIC or stored < 0 or stop > len(data) or not 0 <= inflated <= most:
        raise CorruptChunk("lz4: a block is damaged, cut short or too large")
    method = token & 0xF0
    if method == COMPRESSED:
        block = unlz4(data[start:stop], inflated)
    elif method == STORED and stored == inflated:
        block = data[start:stop]
    else:
        raise CorruptChunk(f"lz4: a block has the method {method:#x} and {stored} of {inflated} bytes")
    if block and xxhash.xxh32_intdigest(block, SEED) & 0xFFFFFFF != check_sum:
        raise CorruptChunk("lz4: a check sum is wrong")
    return stop, block
