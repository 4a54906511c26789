"""Contrast-limited adaptive histogram equalization (Zuiderveld 1994), plane by plane, as OpenCV has it.

The margin is one tile wide: what OpenCV makes of a plane's middle tile depends on that and on those around it alone, so
blocks fit together as if the plane had been equalized as a whole.
"""

from __future__ import annotations

import cv2
import numpy as np

from wkdvid.core.geometry import Vec3
from wkdvid.core.volume import Array, LayerInfo
from wkdvid.errors import UnsupportedRequest
from wkdvid.transfer.models import BLOCK

CLIP_LIMIT = 2.0
"""Times the mean of the histogram's bins: how much contrast is given at most."""


class Clahe:
    margin: Vec3 = (BLOCK, BLOCK, 0)

    def check(self, info: LayerInfo) -> None:
        if info.dtype.name not in ("uint8", "uint16") or info.num_channels != 1:
            raise UnsupportedRequest(
                f"model clahe is for one channel of uint8 or uint16; layer {info.name!r} has"
                f" {info.num_channels} x {info.dtype.name}"
            )

    def run(self, voxels: Array) -> Array:
        equalizer = cv2.createCLAHE(CLIP_LIMIT, (3, 3))  # of this call alone: it keeps the tables of its last plane
        planes = np.ascontiguousarray(voxels[0].T)
        inner = slice(BLOCK, 2 * BLOCK)
        made = np.stack([equalizer.apply(plane)[inner, inner] for plane in planes])
        return made.T[None]
