"""Volumes on disk for tests, written by TensorStore where the format's own writers are not what is tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts

from wkdvid.core.geometry import Vec3

Voxels = npt.NDArray[Any]


def write_precomputed(
    folder: Path,
    levels: Sequence[tuple[Vec3, Voxels]],
    *,
    voxel_size_nm: Sequence[float] = (1, 1, 1),
    offsets: Sequence[Vec3] | None = None,
    encoding: str = "raw",
    kind: str = "image",
) -> Path:
    """Write a precomputed volume.

    Args:
        levels: (mag, array (x, y, z) or (x, y, z, c)) each.
        offsets: ``voxel_offset`` of each level.
    """
    for i, (mag, array) in enumerate(levels):
        voxels = array if array.ndim == 4 else array[..., None]
        scale: dict[str, Any] = {
            "key": "-".join(map(str, mag)),
            "size": list(voxels.shape[:3]),
            "voxel_offset": list(offsets[i]) if offsets else [0, 0, 0],
            "resolution": [s * m for s, m in zip(voxel_size_nm, mag, strict=True)],
            "chunk_size": [64, 64, 64],
            "encoding": encoding,
        }
        if encoding == "compressed_segmentation":
            scale["compressed_segmentation_block_size"] = [8, 8, 8]
        if encoding == "jpeg":
            scale["jpeg_quality"] = 80
        store = ts.open(
            {
                "driver": "neuroglancer_precomputed",
                "kvstore": {"driver": "file", "path": f"{folder}/"},
                "multiscale_metadata": {
                    "type": kind,
                    "data_type": voxels.dtype.name,
                    "num_channels": voxels.shape[3],
                },
                "scale_metadata": scale,
            },
            create=True,
            open=True,
        ).result()
        store.write(voxels).result()
    return folder


def grid(shape: Vec3) -> tuple[Voxels, Voxels, Voxels]:
    """Coordinates (x, y, z) of each voxel of an (x, y, z) array."""
    x, y, z = np.indices(shape)
    return x, y, z
