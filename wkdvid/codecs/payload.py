"""LZ4 and gzip as DVID sends and takes them.

Data is a C-contiguous buffer; of an array (c, x, y, z) in Fortran order that is ``memoryview(array.T)``.
"""

from __future__ import annotations

from typing import TypeAlias

from isal import isal_zlib
from lz4 import block as lz4_block

from wkdvid.errors import CorruptChunk

Buffer: TypeAlias = bytes | bytearray | memoryview

GZIP_LEVEL = 1
"""Of isal's 0 to 3. For label blocks level 0 leaves 10 to 15 % more bytes, 2 takes off 1 %, 3 is slower and worse."""
_GZIP_FILE = 31
"""zlib's ``wbits`` for deflate in a gzip file."""


def lz4(data: Buffer) -> bytes:
    """A raw LZ4 block, without its size: a labelmap's ``compression=lz4``."""
    block: bytes = lz4_block.compress(data, store_size=False)
    return block


def lz4_sized(data: Buffer) -> bytes:
    """Size as uint32, then a raw LZ4 block: a block of an image stored with LZ4."""
    block: bytes = lz4_block.compress(data, store_size=True)
    return block


def unlz4(data: Buffer, size: int) -> bytes:
    """Inflate a raw LZ4 block.

    Raises:
        CorruptChunk: not LZ4, or not of exactly ``size`` bytes inflated; never inflates more.
    """
    try:
        inflated: bytes = lz4_block.decompress(data, uncompressed_size=size)
    except lz4_block.LZ4BlockError:
        raise CorruptChunk(f"lz4: not an LZ4 block of {size} bytes inflated") from None
    if len(inflated) != size:
        raise CorruptChunk(f"lz4: {len(inflated)} bytes inflated, expected {size}")
    return inflated


def gzip(data: Buffer) -> bytes:
    """A gzip file without time or name: equal data gives equal bytes."""
    return isal_zlib.compress(data, GZIP_LEVEL, _GZIP_FILE)


def gunzip(data: Buffer, limit: int) -> bytes:
    """Inflate a gzip file of one member.

    Raises:
        CorruptChunk: not one whole gzip file, or over ``limit`` bytes inflated; stops one byte after that.
    """
    inflater = isal_zlib.decompressobj(_GZIP_FILE)
    try:
        inflated = inflater.decompress(data, limit + 1)
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub declares an instance
        raise CorruptChunk(f"gzip: {error}") from None
    if len(inflated) > limit:
        raise CorruptChunk(f"gzip: over {limit} bytes inflated")
    if not inflater.eof or inflater.unused_data:
        raise CorruptChunk("gzip: cut short" if not inflater.eof else "gzip: bytes are left over")
    return inflated
