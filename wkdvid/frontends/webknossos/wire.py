"""Values -> bytes and headers of the datastore protocol."""

from __future__ import annotations

from collections.abc import Sequence

from wkdvid.codecs import four_bit
from wkdvid.core.volume import Array
from wkdvid.frontends.webknossos.buckets import Buckets

_EXPOSED = "Failure-Bucket-Indices, Empty-Bucket-Indices, MISSING-BUCKETS"
_NONE_MISSING = {
    "Access-Control-Max-Age": "600",
    "Cache-Control": "no-cache",
    "Access-Control-Expose-Headers": _EXPOSED,
    "Empty-Bucket-Indices": "[]",
    "Failure-Bucket-Indices": "[]",
    "MISSING-BUCKETS": "[]",
}


def bucket_headers(buckets: Buckets) -> dict[str, str]:
    """The three lists of indices; browsers before 2026 and the Python client read the third, their union."""
    if not (buckets.empty or buckets.failed):
        return _NONE_MISSING
    return {
        **_NONE_MISSING,
        "Empty-Bucket-Indices": _indices(buckets.empty),
        "Failure-Bucket-Indices": _indices(buckets.failed),
        "MISSING-BUCKETS": _indices(sorted([*buckets.empty, *buckets.failed])),
    }


def cutout_headers() -> dict[str, str]:
    """The Python client compares ``MISSING-BUCKETS`` with ``[]`` as text."""
    return _NONE_MISSING


def cutout_body(array: Array, *, four_bit_wanted: bool) -> bytes:
    """A slab of a cutout, (c, x, y, z): x fastest, channels interleaved; zeros are sent."""
    body = array.tobytes("F")
    return four_bit.pack(body) if four_bit_wanted and array.itemsize == 1 else body


def _indices(indices: Sequence[int]) -> str:
    return f"[{', '.join(map(str, indices))}]"


def joined(bodies: Sequence[bytes]) -> bytes:
    return bodies[0] if len(bodies) == 1 else b"".join(bodies)
