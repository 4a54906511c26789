"""A process that decodes chunks for another one, each in a fork of its own.

The fork may crash over bad bytes, run for ever, fill the memory, or spoil its own memory unnoticed: nothing of that
comes to the next chunk. This process has no threads and imports what the forks need, so that forking is quick and safe.

On standard input comes a line of JSON for each chunk, then its bytes; on standard output goes a byte that says whether
it could be decoded and, if so, the number of bytes of the voxels, which is at most what the request says, and the
voxels. The end of the input ends the process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from wkdvid.codecs.foreign import PACKAGES, Array, decode

MEMORY_BYTES = 256 << 20
"""Of the interpreter, the packages and the stored bytes."""
MEMORY_PER_VOXEL = 64
"""More for the voxels, and what decoders hold beside them. Stored bytes that inflate to more fail."""
DECODED, FAILED = b"\x01", b"\x00"
SIZE_BYTES = 8
"""Of the number, little-endian, that says how many bytes of voxels follow."""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["size"])
        for package in PACKAGES[request["decoder"]]:
            importlib.import_module(package)
        fork = os.fork()
        if fork == 0:
            _answer(request, data, answers)
        _, status = os.waitpid(fork, 0)
        if status != 0:
            answers.write(FAILED)
            answers.flush()


def _answer(request: Mapping[str, Any], data: bytes, answers: BinaryIO) -> None:
    """Write the voxels, if the bytes give what the caller asked for, and end this fork, with 0 if so."""
    try:
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])  # which ends it, wherever it is
        shape, dtype = tuple(request["shape"]), np.dtype(request["dtype"])
        most = request["most_bytes"]
        _limit_memory(MEMORY_BYTES + len(data) + MEMORY_PER_VOXEL * most // dtype.itemsize)
        array: Array = decode(request["decoder"], data, shape, request)
        if _is_like(array, shape) and array.dtype.newbyteorder("=") == dtype and array.nbytes <= most:
            voxels = array.astype(dtype, copy=False).tobytes(request["order"])
            signal.setitimer(signal.ITIMER_REAL, 0)
            answers.write(DECODED + len(voxels).to_bytes(SIZE_BYTES, "little") + voxels)
            answers.flush()
            os._exit(0)
    finally:
        os._exit(1)


def _is_like(array: Array, shape: tuple[int, ...]) -> bool:
    """-1 stands for a first length that the bytes tell."""
    return array.shape == (shape if shape[:1] != (-1,) else (len(array), *shape[1:]))


def _limit_memory(size: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size if most == resource.RLIM_INFINITY else min(size, most), most))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # nobody reads them here
    gc.disable()  # a collection in a fork copies the memory that it shares with this process
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # what a package prints must not get among the voxels
        os.dup2(nowhere.fileno(), 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
