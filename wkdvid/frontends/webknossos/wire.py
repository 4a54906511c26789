"""Values -> bytes and headers of the datastore protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wkdvid.core.body_cache import Body
from wkdvid.errors import BackendError

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


def sorted_out(buckets: Sequence[Body | BackendError]) -> tuple[Sequence[Body], Mapping[str, str]]:
    """The bodies to send, in the order of the request, and the headers that say which others are empty or failed."""
    return (
        [bucket for bucket in buckets if bucket and not isinstance(bucket, BackendError)],
        bucket_headers(
            [i for i, bucket in enumerate(buckets) if not bucket],
            [i for i, bucket in enumerate(buckets) if isinstance(bucket, BackendError)],
        ),
    )


def cutout_headers() -> dict[str, str]:
    """The Python client compares ``MISSING-BUCKETS`` with ``[]`` as text."""
    return _NONE_MISSING


def _indices(indices: Sequence[int]) -> str:
    return f"[{', '.join(map(str, indices))}]"


def joined(bodies: Sequence[Body]) -> Body:
    return bodies[0] if len(bodies) == 1 else b"".join(bodies)
