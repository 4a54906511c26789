"""Where a chunk of a precomputed scale is stored: chunk index -> key."""

from __future__ import annotations

from wkdvid.backends.precomputed.metadata import ScaleMetadata
from wkdvid.core.geometry import Vec3, divide_up


def chunk_index(scale: ScaleMetadata, start: Vec3) -> Vec3:
    """The index of the chunk that begins at ``start``, in voxels of the scale."""
    x, y, z = ((a - b) // n for a, b, n in zip(start, scale.extent.start, scale.chunk_size, strict=True))
    return (x, y, z)


def chunk_key(scale: ScaleMetadata, index: Vec3) -> str:
    """``{key}/{x0}-{x1}_{y0}-{y1}_{z0}-{z1}``: half-open, absolute voxels, cut at the upper bound (volume.md)."""
    ranges = []
    for axis in range(3):
        start = scale.extent.start[axis] + index[axis] * scale.chunk_size[axis]
        ranges.append(f"{start}-{min(start + scale.chunk_size[axis], scale.extent.stop[axis])}")
    return f"{scale.key}/{'_'.join(ranges)}"


def shard_key(scale: ScaleMetadata, index: Vec3) -> bytes:
    """The compressed Morton code of a chunk (sharded.md) as TensorStore's sharded store takes it, big-endian."""
    grid = divide_up(scale.extent.size, scale.chunk_size)
    bits = [(n - 1).bit_length() for n in grid]
    code = position = 0
    for bit in range(max(bits)):
        for axis in range(3):
            if bit < bits[axis]:
                code |= (index[axis] >> bit & 1) << position
                position += 1
    return code.to_bytes(8, "big")
