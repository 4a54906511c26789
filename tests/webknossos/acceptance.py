"""How webKnossos's browser takes an answer to a POST of buckets apart, and when it throws it away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

Taken: TypeAlias = bytes | Literal["empty", "failed"]
"""What the browser holds of a bucket: voxels; nothing, shown as zeros and not asked for again; or it asks again."""

BUCKET_VOXELS = 32**3
NEW_HEADERS = ("Empty-Bucket-Indices", "Failure-Bucket-Indices")


class Rejected(Exception):
    """The browser throws the whole answer away and asks again."""


def take(
    wanted: Sequence[Mapping[str, Any]], headers: Mapping[str, str], body: bytes, voxel_bytes: int, *, packs: bool
) -> list[Taken]:
    """What the browser of 2026 makes of an answer.

    Args:
        wanted: The buckets that were asked for, of 32 voxels a side.
        packs: Whether two samples share a byte where a bucket says ``fourBit``.
    Raises:
        Rejected: the body is not as long as the headers say.
    """
    empty, failed = (_indices(headers[name]) for name in NEW_HEADERS)
    taken: list[Taken] = []
    start = 0
    for i, bucket in enumerate(wanted):
        if i in empty or i in failed:
            taken.append("failed" if i in failed else "empty")
            continue
        packed = packs and bucket.get("fourBit") is True
        stop = start + BUCKET_VOXELS * voxel_bytes // (2 if packed else 1)
        taken.append(_unpacked(body[start:stop]) if packed else body[start:stop])
        start = stop
    if start != len(body):
        raise Rejected(f"{len(body)} bytes, not {start}")
    return taken


def take_as_of_2019(
    wanted: Sequence[Mapping[str, Any]], headers: Mapping[str, str], body: bytes, voxel_bytes: int, *, packs: bool
) -> list[Taken]:
    """What browsers before 2026, which know one header, make of it: what is missing is empty to them."""
    renamed = {"Empty-Bucket-Indices": headers["MISSING-BUCKETS"], "Failure-Bucket-Indices": "[]"}
    return take(wanted, renamed, body, voxel_bytes, packs=packs)


def _indices(header: str) -> set[int]:
    """
    Raises:
        Rejected: not as the real server writes them.
    """
    found = json.loads(header)
    if header != f"[{', '.join(map(str, found))}]" or sorted(set(found)) != found:
        raise Rejected(header)
    return set(found)


def _unpacked(body: bytes) -> bytes:
    """Each byte's upper half, then its lower half, as the upper four bits of two."""
    packed = np.frombuffer(body, np.uint8)
    return np.stack([packed & 0xF0, packed << 4], axis=1).tobytes()
