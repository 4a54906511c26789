"""Blosc frames (version 1), in which zarr stores chunks: LZ4 with shuffled bytes, which all its readers know."""

from __future__ import annotations

from typing import Any, cast

import imagecodecs
from numpy.typing import NDArray

COMPRESSOR, LEVEL = "lz4", 3


def shuffles(itemsize: int) -> bool:
    """Whether bytes are put beside those of equal weight. Of single bytes there is nothing to shuffle."""
    return itemsize > 1


def encode(items: NDArray[Any]) -> bytes:
    """A C-contiguous array as one frame."""
    size, data = items.itemsize, cast(bytes, items)  # any buffer will do, though it is declared otherwise
    return bytes(
        imagecodecs.blosc_encode(
            data, level=LEVEL, compressor=COMPRESSOR, shuffle=int(shuffles(size)), typesize=size, numthreads=1
        )
    )
