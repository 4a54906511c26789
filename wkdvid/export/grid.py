"""The chunks that layers are exported in, where they are not those that are stored."""

from __future__ import annotations

from wkdvid.core.geometry import Vec3, volume_of

SIDE = 64
VOXELS = SIDE**3


def chunk_shape(size: Vec3) -> Vec3:
    """64 voxels a side. Where the volume is much thinner, they are longer along its other axes: no more voxels in all.

    Args:
        size: Of the volume, in voxels.
    """
    x, y, z = (min(SIDE, n) for n in size)
    shape = [x, y, z]
    while 2 * volume_of((shape[0], shape[1], shape[2])) <= VOXELS:
        longer = [axis for axis in range(3) if shape[axis] < size[axis]]
        if not longer:
            break
        shape[min(longer, key=lambda axis: shape[axis])] *= 2
    return (shape[0], shape[1], shape[2])
