"""A small experiment to try things with: synthetic tissue, and its cells."""

from __future__ import annotations

import itertools

import numpy as np

from wkdvid.core.geometry import ZERO, Box, Vec3
from wkdvid.testing.bossdb.volume import Channel, Experiment
from wkdvid.tissue import CHUNK, synthesize


def sample_experiment(shape: Vec3) -> Experiment:
    """Channels ``em`` (uint8) and ``cells`` (uint64) in an isotropic pyramid; the same voxels every time.

    Args:
        shape: Voxels (x, y, z) of resolution 0. All are kept in memory, 9 bytes for each.
    """
    grey, cells = np.zeros(shape, np.uint8, order="F"), np.zeros(shape, np.uint64, order="F")
    whole = Box(ZERO, shape)
    for corner in itertools.product(*(range(0, side, CHUNK) for side in shape)):
        box = Box.at((corner[0], corner[1], corner[2]), (CHUNK, CHUNK, CHUNK)).intersect(whole) or whole
        place = tuple(slice(start, stop) for start, stop in zip(box.start, box.stop, strict=True))
        grey[place], cells[place] = synthesize(box)
    return Experiment(
        collection="test",
        name="tissue",
        channels=(Channel(name="em", array=grey), Channel(name="cells", array=cells, type="annotation")),
        voxel_size=(8.0, 8.0, 8.0),
        isotropic=True,
        num_hierarchy_levels=3,
    )
