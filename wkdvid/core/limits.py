"""What one request may cost, and what a source may declare (decisions.md 14; guards.md S10, S12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

Bytes: TypeAlias = Annotated[int, "bytes"]
"""A number of bytes; the configuration also takes it with a unit, as in "64 MiB"."""
WholeNumber: TypeAlias = Annotated[int, "0 or more"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Each is checked before anything is read; the answer names the limit by its key here."""

    request_voxels: int = 4096 * MIB
    """Source voxels that one request may read, summed over its buckets, blocks and computed mags."""
    response_bytes: Bytes = 4 * GIB
    """Bytes of a streamed answer."""
    unstreamed_bytes: Bytes = 256 * MIB
    """Bytes of an answer that is built whole before it is sent."""
    buckets: int = 4096
    """Buckets in one webKnossos request."""
    blocks: int = 16384
    """Blocks in one DVID request."""
    body_bytes: Bytes = 32 * MIB
    """Bytes of a request's body."""
    written_bytes: Bytes = 256 * MIB
    """Bytes of the body of a request that writes to a data instance."""
    working_bytes: Bytes = 64 * MIB
    """Decoded bytes that a request holds at a time; larger boxes are read in slabs of this size."""
    chunk_bytes: Bytes = 64 * MIB
    """Decoded bytes of a chunk as a source's metadata declares it; also the size of a shard index."""
    metadata_bytes: Bytes = 4 * MIB
    """Bytes of one metadata document of a source."""
    levels: int = 32
    """Stored resolutions of a layer."""
    user_rate: WholeNumber = 500
    """Requests a second that each worker answers with one token; 0: any number."""
    user_burst: int = 2000
    """Requests with one token that it answers at once after a pause."""
    address_rate: WholeNumber = 2000
    """As ``user_rate``, of one address: of all who come from there, with tokens or without."""
    address_burst: int = 8000
    throttled_ops: int = 8
    """DVID requests with ``throttle=true`` that run at a time in one worker; the next is answered 503."""
