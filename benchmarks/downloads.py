"""Our client downloading a whole volume into a file, against a loop over ``requests`` that asks for the same boxes.

Each side has a server of its own. Cold: the server has read nothing yet. Warm: the same again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import requests

from benchmarks.backends import PASSES, per_read
from benchmarks.cases import UUID, raw
from benchmarks.load import WrongAnswer
from benchmarks.servers import Server
from benchmarks.table import Versus
from benchmarks.volumes import CHUNK, Volume, Voxels
from wkdvid.client import Client
from wkdvid.client.slicing import piece_shape, pieces
from wkdvid.client.voxels import PIECE_BYTES
from wkdvid.core.geometry import Box, Vec3

SOURCES = ("grey", "seg")
LIBRARY = "requests"


def case_name(source: str) -> str:
    return f"client: download of a volume, {'uint8' if source == 'grey' else 'uint64 labels'}"


def measure(volume: Volume, source: str, start: Callable[[], AbstractContextManager[Server]]) -> Versus:
    """
    Raises:
        WrongAnswer: one of both did not get the volume's voxels.
    """
    whole = Box((0, 0, 0), (volume.side,) * 3)
    sides = [
        _timed(partial(save, source=source, whole=whole), volume.voxels(source, whole), start)
        for save in (ours, theirs)
    ]
    return Versus(case=case_name(source), library=LIBRARY, ours_us=sides[0], theirs_us=sides[1])


def ours(server: Server, path: Path, source: str, whole: Box) -> None:
    with Client(server.base) as client:
        client.voxels(UUID, source).download(path, (0, *whole.start), (1, *whole.stop))


def theirs(server: Server, path: Path, source: str, whole: Box) -> None:
    """One request after the other, over one connection."""
    dtype = np.dtype(np.uint8 if source == "grey" else np.uint64)
    out = np.lib.format.open_memmap(path, "w+", dtype, whole.size, fortran_order=True)
    shape = piece_shape((CHUNK,) * 3, whole.size, PIECE_BYTES // out.itemsize)
    with requests.Session() as session:
        for piece in pieces(whole.start, whole.stop, shape, whole.start):
            box = Box(_vec3(piece.start), _vec3(piece.stop))
            body = session.get(server.base + raw(source, box).path, timeout=600).content
            out[piece.index] = np.frombuffer(body, out.dtype).reshape(box.size, order="F")


def _vec3(point: tuple[int, ...]) -> Vec3:
    x, y, z = point
    return x, y, z


def _timed(
    download: Callable[[Server, Path], None], expected: Voxels, start: Callable[[], AbstractContextManager[Server]]
) -> tuple[float, float]:
    times = []
    with start() as server, tempfile.TemporaryDirectory() as folder:
        for i in range(len(PASSES)):
            path, begin = Path(folder, f"{i}.npy"), time.perf_counter()
            download(server, path)
            times.append(time.perf_counter() - begin)
            if not np.array_equal(np.load(path, mmap_mode="r").reshape(expected.shape, order="F"), expected):
                raise WrongAnswer("the volume that was downloaded is another one")
    return per_read(times, 1)
