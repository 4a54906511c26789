"""Values -> bytes and headers of the datastore protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wkdvid.codecs import four_bit
from wkdvid.core.body_cache import Body
from wkdvid.core.volume import Array

_EXPOSED = "Failure-Bucket-Indices, Empty-Bucket-Indices, MISSING-BUCKETS"
_NONE_MISSING = {
    "Access-Control-Max-Age": "600",
    "Cache-Control": "no-cache",
    "Access-Control-Expose-Headers": _EXPOSED,
    "Empty-Bucket-Indices": "[]",
    "Failure-Bucket-Indices": "[]",
    "MISSING-BUCKETS": "[]",
}


def bucket_headers(empty: Sequence[int], failed: Sequence[int]) -> dict[str, str]:
    """The three lists of indices; browsers before 2026 and the Python client read the third, their union."""
    if not (empty or failed):
        return _NONE_MISSING
    return {
        **_NONE_MISSING,
        "Empty-Bucket-Indices": _indices(empty),
        "Failure-Bucket-Indices": _indices(failed),
        "MISSING-BUCKETS": _indices(sorted([*empty, *failed])),
    }


def cutout_headers() -> dict[str, str]:
    """The Python client compares ``MISSING-BUCKETS`` with ``[]`` as text."""
    return _NONE_MISSING


def voxels(array: Array, *, four_bit_wanted: bool) -> Body:
    """Voxels as they are sent: x fastest, channels interleaved.

    Args:
        array: (c, x, y, z). If it is contiguous in Fortran's order what is returned is a view of it.
        four_bit_wanted: Two voxels a byte; honoured for uint8, as the browser asks for no others.
    """
    body = array.T.data.cast("B") if array.flags.f_contiguous else array.tobytes("F")
    return four_bit.pack(body) if four_bit_wanted and array.dtype == np.uint8 else body


def _indices(indices: Sequence[int]) -> str:
    return f"[{', '.join(map(str, indices))}]"


def joined(bodies: Sequence[Body]) -> Body:
    return bodies[0] if len(bodies) == 1 else b"".join(bodies)
