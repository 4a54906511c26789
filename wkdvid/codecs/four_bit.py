"""webKnossos' ``fourBit`` buckets: the upper half of each byte, two to a byte."""

from __future__ import annotations

import numpy as np

from wkdvid.codecs.payload import Buffer


def pack(bucket: Buffer) -> bytes:
    """Byte k is ``(a[2k] & 0xF0) | (a[2k + 1] >> 4)``. An odd number of bytes is a ValueError."""
    pairs = np.frombuffer(bucket, "<u2")
    return (pairs & 0xF0 | pairs >> 12).astype(np.uint8).tobytes()
