"""Places that look alike: likelocation over many signatures, beside comparing them all in numpy; and making the index.

Two sets of generated signatures: drawn at random, and clustered, as those of tissue are: each some turned bits away
from one of many centres, of which some have many more than others. Both searches have to find the same.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.table import Figure
from wkdvid.core.geometry import Vec3
from wkdvid.signatures.bands import NEAR
from wkdvid.signatures.building import build
from wkdvid.signatures.index import SignatureIndex, open_index
from wkdvid.signatures.records import Records, records_of
from wkdvid.signatures.search import like_location
from wkdvid.signatures.signer import Signer, describe

Item = TypeVar("Item")

COUNT = 20_000_000
STRIDE = 16
CHUNK = 1_000_000
QUERIES = 100
COMPARED = 20
"""Queries that are also answered by comparing all."""
CENTRES = 20_000
TURNED = 6
"""Bits that a signature of a cluster may be away from its centre."""
SETS = ("random", "clustered")
MB = 10**6


def case_name(kind: str, count: int) -> str:
    return f"signatures, {count:,} {kind}"


def figures(kind: str, count: int, work: Path) -> Iterator[Figure]:
    """
    Args:
        kind: One of ``SETS``.
        work: Folder for the index, which is removed.
    """
    folder, name = work / "signatures" / kind, case_name(kind, count)
    begin = time.perf_counter()
    build(folder, generated(kind, count), 160, {})
    yield Figure(case=f"{name}: index made", value=count / (time.perf_counter() - begin), unit="signatures/s")
    size = sum(path.stat().st_size for path in folder.rglob("*.npy"))
    yield Figure(case=f"{name}: index", value=size / MB, unit="MB")
    index = open_index(folder)
    assert index is not None
    yield from _searches(index, name)
    shutil.rmtree(folder)


def _searches(index: SignatureIndex, name: str) -> Iterator[Figure]:
    rng = np.random.default_rng(1)
    asked = [_vector(index, int(number)) for number in rng.integers(0, len(index.points), QUERIES)]
    signatures = [_signature(index, at) for at in asked[:COMPARED]]
    for signature in signatures:
        check(index, signature)
    ours = _p50_ms(lambda at: like_location(index, at), asked)
    theirs = _p50_ms(lambda signature: compared(index.signatures, signature), signatures)
    yield Figure(case=f"{name}: likelocation, p50", value=ours, unit="ms")
    yield Figure(case=f"{name}: comparing all in numpy, p50", value=theirs, unit="ms")


def generated(kind: str, count: int) -> Iterator[Records]:
    """On a grid, as many as that."""
    rng, side = np.random.default_rng(0), round(count ** (1 / 3)) + 1
    centres = rng.integers(0, 2**64, CENTRES, np.uint64)
    for start in range(0, count, CHUNK):
        numbers = np.arange(start, min(start + CHUNK, count))
        signatures = rng.integers(0, 2**64, len(numbers), np.uint64)
        if kind == "clustered":
            chosen = (CENTRES * rng.random(len(numbers)) ** 3).astype(np.int64)  # the first ones far more often
            signatures = centres[chosen] ^ _bits(rng, len(numbers))
        places = np.stack([numbers % side, numbers // side % side, numbers // side**2], axis=1)
        yield records_of(places * STRIDE, signatures)


def _bits(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint64]:
    """Up to ``TURNED`` bits of 64 each."""
    turned = np.zeros(count, np.uint64)
    for _ in range(TURNED):
        turned ^= np.uint64(1) << rng.integers(0, 64, count, np.uint64)
    return turned


def compared(signatures: npt.NDArray[np.uint64], signature: int) -> npt.NDArray[np.int64]:
    """Numbers of those that are near."""
    return np.flatnonzero(np.bitwise_count(signatures ^ np.uint64(signature)) <= NEAR)


def check(index: SignatureIndex, signature: int) -> None:
    """Whether both find the same."""
    numbers, _ = index.bands.near(signature, NEAR)
    wanted = compared(index.signatures, signature)
    assert np.array_equal(numbers, wanted[index.bands.kept[wanted]])


def sign_figure(voxels: npt.NDArray[np.uint8]) -> Figure:
    """
    Args:
        voxels: (x, y, z).
    """
    features, _ = describe(voxels[None], STRIDE)
    begin = time.perf_counter()
    features, _ = describe(voxels[None], STRIDE)
    Signer.of(features).sign(features)
    rate = len(features) / (time.perf_counter() - begin)
    return Figure(case="signatures computed, one thread", value=rate, unit="signatures/s")


def _vector(index: SignatureIndex, number: int) -> Vec3:
    x, y, z = index.points[number].tolist()
    return (x, y, z)


def _signature(index: SignatureIndex, at: Vec3) -> int:
    (number,) = np.flatnonzero((index.points == at).all(axis=1))
    return int(index.signatures[number])


def _p50_ms(ask: Callable[[Item], object], asked: Sequence[Item]) -> float:
    times = []
    for one in asked:
        begin = time.perf_counter()
        ask(one)
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)
