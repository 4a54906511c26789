"""The 16 bytes that every WKW file and every mag's ``header.wkw`` begins with, as a value."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from wkdvid.errors import CorruptChunk

HEADER_FILE = "header.wkw"
HEADER_BYTES = 16
VERSION = 1
ENCODINGS = ("raw", "lz4", "lz4hc")
"""By block type, from 1."""
VOXEL_TYPES = ("u1", "u2", "u4", "u8", "f4", "f8", "i1", "i2", "i4", "i8")
"""By voxel type, from 1. The README ends at the sixth; webKnossos and its library write the others too."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What all files of a level have in common."""

    block_side: int
    """Voxels along each side of a block."""
    file_side: int
    """Blocks along each side of a file."""
    dtype: np.dtype[Any]
    num_channels: int

    @property
    def block_bytes(self) -> int:
        """Of a block, decoded."""
        return self.block_side**3 * self.dtype.itemsize * self.num_channels

    def __str__(self) -> str:
        return f"{self.voxels}, {self.file_side} blocks of {self.block_side} voxels along each side"

    @property
    def voxels(self) -> str:
        """As in ``3 x uint8``."""
        return f"{self.num_channels} x {self.dtype.name}"

    @property
    def blocks(self) -> int:
        """In a file."""
        return self.file_side**3


@dataclass(frozen=True, slots=True)
class Header:
    grid: Grid
    encoding: str
    """``raw``, ``lz4`` or ``lz4hc``: of the blocks of this file; others of the level may have another."""
    data_offset: int
    """Where the first block begins, in bytes; 0 in ``header.wkw``, which has none."""


def parse_header(data: bytes, what: str) -> Header:
    """
    Raises:
        CorruptChunk: it is no header of the one version that there is.
    """
    if len(data) < HEADER_BYTES:
        raise CorruptChunk(f"{what}: {len(data)} bytes are no WKW header, which has {HEADER_BYTES}")
    magic, version, sides, block_type, voxel_type, voxel_bytes, data_offset = struct.unpack_from("<3s5BQ", data)
    if magic != b"WKW" or version != VERSION:
        raise CorruptChunk(f"{what}: does not begin with a WKW header of version {VERSION}")
    if not 0 < block_type <= len(ENCODINGS) or not 0 < voxel_type <= len(VOXEL_TYPES):
        raise CorruptChunk(f"{what}: WKW block type {block_type} of voxel type {voxel_type} is not known")
    dtype = np.dtype(f"<{VOXEL_TYPES[voxel_type - 1]}")
    if voxel_bytes == 0 or voxel_bytes % dtype.itemsize:
        raise CorruptChunk(f"{what}: voxels of {voxel_bytes} bytes are no channels of {dtype.name}")
    grid = Grid(1 << (sides & 15), 1 << (sides >> 4), dtype, voxel_bytes // dtype.itemsize)
    return Header(grid, ENCODINGS[block_type - 1], data_offset)
