"""A process that decodes chunks for another one, and may crash or be ended over a bad one.

On standard input comes a line of JSON for each chunk, then its bytes; on standard output goes a byte that says whether
it could be decoded and, if so, the voxels, as many bytes as the request says. The end of the input ends the process.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from wkdvid.codecs.foreign import Array, decode

MEMORY_BYTES = 256 << 20
"""Of the interpreter, the packages and the stored bytes."""
MEMORY_PER_VOXEL = 64
"""More for the voxels, and what decoders hold beside them. Stored bytes that inflate to more fail."""
DECODED, FAILED = b"\x01", b"\x00"


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while line := requests.readline():
        request = json.loads(line)
        _limit_memory(MEMORY_BYTES + request["size"] + MEMORY_PER_VOXEL * math.prod(request["shape"]))
        voxels = _voxels(request, requests.read(request["size"]))
        answers.write(FAILED if voxels is None else DECODED + voxels)
        answers.flush()


def _voxels(request: Mapping[str, Any], data: bytes) -> bytes | None:
    """What the caller asked for, or None for anything else that the bytes give."""
    shape, dtype = tuple(request["shape"]), np.dtype(request["dtype"])
    try:
        array: Array = decode(request["decoder"], data, shape, request)
        if array.shape != shape or array.dtype.newbyteorder("=") != dtype:
            return None
        return array.astype(dtype, copy=False).tobytes(request["order"])
    except Exception:
        return None


def _limit_memory(size: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size if most == resource.RLIM_INFINITY else min(size, most), most))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # nobody reads them here
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # what a package prints must not get among the voxels
        os.dup2(nowhere.fileno(), 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
