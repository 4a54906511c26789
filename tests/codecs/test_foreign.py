"""Decoding apart: whatever the bytes are, this process goes on, and half a chunk is never taken for a whole one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import compresso
import crackle
import fpzip
import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import zfpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numcodecs import LZ4

from tests.backends.arrays import grey, labels, noise
from tests.codecs.damage import changed, damage
from wkdvid.backends import apart
from wkdvid.backends.apart import Decoding, decoded_apart
from wkdvid.errors import CorruptChunk

Array = npt.NDArray[Any]
SIZE = (31, 27, 19)
LABELS = np.moveaxis(labels("uint64", SIZE), 0, 3)
FLOATS = np.asfortranarray(np.moveaxis(noise("float32", SIZE, 2), 0, 3))
IMAGE = np.moveaxis(grey(SIZE), 0, 3)
ZARR = {"zarr_format": 2, "shape": SIZE, "chunks": SIZE, "dtype": "<u2", "compressor": {"id": "lz4"}}
"""Metadata of an array of one chunk."""


def _zarr(array: Array) -> bytes:
    return bytes(LZ4().encode(np.ascontiguousarray(array[..., 0])))


ENCODERS: Mapping[str, tuple[Array, Callable[[Array], bytes]]] = {
    "compresso": (LABELS, lambda array: compresso.compress(array[..., 0])),
    "crackle": (LABELS, lambda array: crackle.compress(array[..., 0])),
    "fpzip": (FLOATS, lambda array: fpzip.compress(array, order="F")),
    "kempressed": (FLOATS, lambda array: fpzip.compress(2 + np.swapaxes(array, 2, 3), order="F")),
    "zfpc": (FLOATS, zfpc.compress),
    "jxl": (IMAGE, lambda array: bytes(imagecodecs.jpegxl_encode(array.reshape(31, -1, order="F").T, lossless=True))),
    "zarr": (np.moveaxis(noise("uint16", SIZE), 0, 3), _zarr),
}
CHECKED = {"crackle"}
"""What has check sums."""


class Chunk:
    """A sound chunk of an encoding."""

    def __init__(self, decoder: str) -> None:
        array, encode = ENCODERS[decoder]
        self.data = bytes(encode(array))
        self.array = array[..., 0] if decoder == "zarr" else array
        parameters = {"array": {**ZARR, "filters": None, "fill_value": 0, "order": "C"}} if decoder == "zarr" else {}
        self.decoding = Decoding(decoder=decoder, shape=self.array.shape, dtype=self.array.dtype, parameters=parameters)

    def decode(self, data: bytes) -> Array:
        return asyncio.run(decoded_apart(self.decoding, data, "the chunk"))


CHUNKS = {decoder: Chunk(decoder) for decoder in ENCODERS}


@pytest.fixture(params=ENCODERS)
def chunk(request: pytest.FixtureRequest) -> Chunk:
    return CHUNKS[request.param]


FUZZ = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("cases", [25, pytest.param(3_000, marks=pytest.mark.soak)])
def test_damaged_bytes(chunk: Chunk, cases: int) -> None:
    """Flipped bits, most of them in the headers, and what is cut off: voxels of the right shape, or none."""

    @settings(FUZZ, max_examples=cases)
    @given(st.data())
    def decode(data: st.DataObject) -> None:
        head = damage(data, chunk.data[:96]) if data.draw(st.booleans()) else bytearray(chunk.data[:96])
        damaged = bytes(head + damage(data, chunk.data[96:]))
        try:
            voxels = chunk.decode(damaged)
        except CorruptChunk:
            return
        assert (voxels.shape, voxels.dtype) == (chunk.array.shape, chunk.array.dtype)
        assert chunk.decoding.decoder not in CHECKED or np.array_equal(voxels, chunk.array)

    decode()
    np.testing.assert_array_equal(chunk.decode(chunk.data), chunk.array)


@pytest.mark.parametrize("cases", [25, pytest.param(1_000, marks=pytest.mark.soak)])
def test_beginning_of_a_chunk(chunk: Chunk, cases: int) -> None:
    """(The last few bytes of a range coder say nothing.)"""

    @settings(FUZZ, max_examples=cases)
    @given(st.integers(0, len(chunk.data) - 8))
    def decode(length: int) -> None:
        with pytest.raises(CorruptChunk):
            chunk.decode(chunk.data[:length])

    decode()


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"<!DOCTYPE html><html></html>" * 9, bytes(10**6)])
def test_garbage(chunk: Chunk, garbage: bytes) -> None:
    with pytest.raises(CorruptChunk, match=f"the chunk: the stored bytes are no {chunk.decoding.decoder} chunk"):
        chunk.decode(garbage)


def _larger_crackle() -> bytes:
    data = CHUNKS["crackle"].data
    header = crackle.header(data)
    header.sx = header.sy = header.sz = 4000
    return bytes(header.tobytes()) + data[header.header_bytes :]


BOMBS: Mapping[str, bytes] = {
    "compresso": changed(CHUNKS["compresso"].data, 6, "<Q", 2**64 - 1),
    "crackle": _larger_crackle(),
    "zfpc": changed(CHUNKS["zfpc"].data, 6, "<Q", 2**32 * 2**16 + 2**16),
    "zarr": changed(CHUNKS["zarr"].data, 0, "<I", 2**31 - 1),
}
"""Their headers declare more voxels than there is memory."""


@pytest.mark.parametrize("decoder", BOMBS)
def test_bombs(decoder: str) -> None:
    with pytest.raises(CorruptChunk):
        CHUNKS[decoder].decode(BOMBS[decoder])
    for pid in decoders():
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert int(peak) < 2**19


def decoders() -> list[int]:
    """Process ids of the decoders that this process has started."""
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    return [int(pid) for pid in children if b"decoder_child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_decoder_that_was_ended_meanwhile(chunk: Chunk) -> None:
    chunk.decode(chunk.data)
    for pid in decoders():
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    for _ in range(2 * apart.PROCESSES):
        np.testing.assert_array_equal(chunk.decode(chunk.data), chunk.array)


def test_decoder_that_does_not_end(chunk: Chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As over bytes that it never comes to the end of."""
    monkeypatch.setattr(apart, "DECODING_S", 1e-6)
    with pytest.raises(CorruptChunk):
        chunk.decode(chunk.data)
    monkeypatch.undo()
    np.testing.assert_array_equal(chunk.decode(chunk.data), chunk.array)


async def test_many_at_a_time() -> None:
    """Each answer is that of its own request, bad ones among them."""
    wanted = [CHUNKS[decoder] for decoder in ENCODERS] * 4
    bad = [i % 5 == 0 for i in range(len(wanted))]
    found = await asyncio.gather(
        *(
            decoded_apart(chunk.decoding, chunk.data[:40] if wrong else chunk.data, "the chunk")
            for chunk, wrong in zip(wanted, bad, strict=True)
        ),
        return_exceptions=True,
    )
    for chunk, wrong, voxels in zip(wanted, bad, found, strict=True):
        if wrong:
            assert isinstance(voxels, CorruptChunk)
        else:
            np.testing.assert_array_equal(np.asarray(voxels), chunk.array)
    assert len(decoders()) <= apart.PROCESSES
