"""Decoding in processes of their own: bad bytes make some decoders crash, run for ever or fill the memory.

``codecs.decoder_child`` decodes each chunk in a fork, which this process cannot make: TensorStore does not survive it.
Its processes are started when they are first needed, serve one chunk at a time each, and end with this one.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Literal, cast

import numpy as np

from wkdvid.codecs.decoder_child import DECODED, SIZE_BYTES
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk, UpstreamUnavailable

PROCESSES = 2
"""Of one worker of the server; all workers together can use every core."""
DECODING_S = 10.0
"""The longest that one chunk may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How the bytes of a chunk are to be decoded."""

    decoder: str
    """One of ``codecs.foreign.DECODERS``."""
    shape: tuple[int, ...]
    """-1 for a first length that the bytes tell."""
    dtype: np.dtype[Any]
    order: Literal["C", "F"] = "F"
    most_bytes: int = 0
    """Decoded, where the shape does not tell."""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Of the voxels, in bytes; at most."""
        return self.most_bytes or math.prod(self.shape) * self.dtype.itemsize

    def request(self, data: bytes) -> bytes:
        document = {
            "decoder": self.decoder,
            "shape": self.shape,
            "dtype": self.dtype.str,
            "order": self.order,
            "size": len(data),
            "most_bytes": self.size,
            "seconds": DECODING_S,
            **self.parameters,
        }
        return json.dumps(document).encode() + b"\n"


async def decoded_apart(decoding: Decoding, data: bytes, what: str) -> Array:
    """The voxels in a stored chunk, of the shape and type that are expected.

    Raises:
        CorruptChunk: the bytes of ``what`` are something else, or the decoder did not survive them.
        UpstreamUnavailable: no process can be started, or it was ended.
    """
    loop = asyncio.get_running_loop()
    voxels = await loop.run_in_executor(_THREADS, _decode, decoding, data, what)
    if voxels is None:
        raise CorruptChunk(f"{what}: the stored bytes are no {decoding.decoder} chunk of {decoding.shape} voxels")
    return np.frombuffer(voxels, decoding.dtype).reshape(decoding.shape, order=decoding.order)


_THREADS = ThreadPoolExecutor(PROCESSES, "decoder")
_OF_THREAD = threading.local()


def _decode(decoding: Decoding, data: bytes, what: str) -> bytes | None:
    """By the process of this thread; None if the bytes cannot be decoded."""
    process: subprocess.Popen[bytes] | None = getattr(_OF_THREAD, "process", None)
    if process is None or process.poll() is not None:
        _end(process)
        try:
            _OF_THREAD.process = process = _start()
        except OSError as error:
            raise UpstreamUnavailable(f"{what}: no process can be started to decode it") from error
    try:
        return _ask(process, decoding, data)
    except (BrokenPipeError, EOFError) as error:
        _end(process)
        raise UpstreamUnavailable(f"{what}: the process that decodes it has ended") from error


def _end(process: subprocess.Popen[bytes] | None) -> None:
    _OF_THREAD.process = None
    if process is not None:
        process.kill()
        with suppress(BrokenPipeError), process:  # closes its pipes and waits for it
            pass


def _start() -> subprocess.Popen[bytes]:
    """Its environment is what it needs to import the same packages: no secrets, no settings of our allocator."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "wkdvid.codecs.decoder_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
    )


def _ask(process: subprocess.Popen[bytes], decoding: Decoding, data: bytes) -> bytes | None:
    """The voxels, or None if the process says that it cannot decode them.

    Raises:
        BrokenPipeError, EOFError: it has ended.
    """
    requests, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    requests.write(decoding.request(data) + data)
    requests.flush()
    state = answers.read(1)
    size = int.from_bytes(answers.read(SIZE_BYTES), "little") if state == DECODED else 0
    voxels = answers.read(min(size, decoding.size))
    if not state or len(voxels) != size:
        raise EOFError
    return voxels if state == DECODED else None
