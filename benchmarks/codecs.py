"""How long do the codecs take for one block, on one thread? Label block + gzip is to stay within 5 ms.

    python benchmarks/codecs.py [--medulla medulla.npz] [--rounds 30]

Blocks are 64 x 64 x 64 and slices 512 x 512, cut from the medulla sample (``grayscale``, ``supervoxels``, ``bodies``)
or, without it, made up. Each result is checked. MB/s counts the voxels, not what they are encoded to.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wkdvid.codecs import four_bit, images, jpeg, label_block, payload, segmentation

Array = NDArray[Any]
SHAPE = (64, 64, 64)
TARGET_MS = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    codec: str
    input: str
    voxel_bytes: int
    """Bytes of all voxels of the block or slice."""
    run: Callable[[], Any]
    is_right: Callable[[Any], bool]
    """Whether what ``run`` returned is what it should be."""


def made_up() -> dict[str, Array]:
    """Volumes (x, y, z): waves with noise, and bent cells of two sizes."""
    x, y, _ = np.indices(SHAPE)
    noise = np.random.default_rng(0).normal(0, 12, SHAPE)
    gray = (128 + 60 * np.sin(x / 9) * np.cos(y / 7) + noise).astype(np.uint8)
    return {"gray": gray, "bodies": _cells(24), "supervoxels": _cells(9)}


def _cells(period: int) -> Array:
    x, y, z = np.indices(SHAPE)
    bent = (x + 4 * np.sin(y / 11), y + 4 * np.sin(z / 11), z + 4 * np.sin(x / 11))
    column, row, plane = ((axis + 8).astype(np.uint64) // np.uint64(period) for axis in bent)
    labels: Array = column + np.uint64(1000) * row + np.uint64(10**6) * plane
    return labels


def from_medulla(path: Path) -> dict[str, Array]:
    arrays = np.load(path)
    names = {"gray": "grayscale", "bodies": "bodies", "supervoxels": "supervoxels"}
    return {name: arrays[key][64:128, 64:128, 64:128].T for name, key in names.items()}


def cases(volumes: dict[str, Array]) -> Iterator[Case]:
    gray = np.asfortranarray(volumes["gray"])
    yield from gray_cases(gray)
    labels = {name: np.asfortranarray(volumes[name].astype(np.uint64)) for name in ("bodies", "supervoxels")}
    labels["solid"] = np.full(SHAPE, 5, np.uint64, order="F")
    labels["noise"] = np.asfortranarray(np.random.default_rng(0).integers(0, 2**63, SHAPE, dtype=np.uint64))
    for name, block in labels.items():
        yield from label_cases(name, block)
    for text in ("png", "jpg", "tif", "bmp"):
        yield slice_case(text, "gray slice", np.tile(gray[:, :, 0].T, (8, 8)))
        yield slice_case(text, "bodies slice", np.tile(labels["bodies"][:, :, 0].T, (8, 8)))


def gray_cases(block: Array) -> Iterator[Case]:
    wire, encoded = block.tobytes("F"), jpeg.encode_block(block)
    packed = payload.lz4(wire)

    def nearly(data: bytes) -> bool:
        return float(np.abs(jpeg.decode_block(data, SHAPE).astype(int) - block).mean()) < 6

    def first_halves(data: bytes) -> bool:
        return all(data[n] >> 4 == wire[2 * n] >> 4 for n in range(0, len(data), 97))

    yield Case("jpeg encode", "gray", block.nbytes, lambda: jpeg.encode_block(block), nearly)
    yield Case(
        "jpeg decode", "gray", block.nbytes, lambda: jpeg.decode_block(encoded, SHAPE), lambda got: got.shape == SHAPE
    )
    yield Case(
        "lz4", "gray", block.nbytes, lambda: payload.lz4(wire), lambda got: payload.unlz4(got, len(wire)) == wire
    )
    yield Case(
        "lz4 decode", "gray", block.nbytes, lambda: payload.unlz4(packed, len(wire)), lambda got: bytes(got) == wire
    )
    yield Case("fourBit", "gray", block.nbytes, lambda: four_bit.pack(wire), first_halves)


def label_cases(name: str, block: Array) -> Iterator[Case]:
    view, wire = memoryview(block.T), block.tobytes("F")  # type: ignore[arg-type]  # a buffer, typed so from Python 3.12
    as_blocks, as_words = label_block.encode(block), segmentation.encode(block)

    def same(decoded: Array) -> bool:
        return np.array_equal(decoded, block)

    def same_gzipped(data: bytes) -> bool:
        return same(label_block.decode(payload.gunzip(data, 2 * block.nbytes), SHAPE))

    yield Case("label block + gzip", name, block.nbytes, lambda: payload.gzip(label_block.encode(block)), same_gzipped)
    yield Case("label block decode", name, block.nbytes, lambda: label_block.decode(as_blocks, SHAPE), same)
    yield Case(
        "compressed_segmentation",
        name,
        block.nbytes,
        lambda: segmentation.encode(block),
        lambda got: same(segmentation.decode(got, SHAPE)),
    )
    yield Case("compressed_segmentation decode", name, block.nbytes, lambda: segmentation.decode(as_words, SHAPE), same)
    yield Case(
        "lz4", name, block.nbytes, lambda: payload.lz4(view), lambda got: lz4.block.decompress(got, len(wire)) == wire
    )
    yield Case(
        "gzip", name, block.nbytes, lambda: payload.gzip(view), lambda got: payload.gunzip(got, len(wire)) == wire
    )


def slice_case(text: str, name: str, voxels: Array) -> Case:
    file_format = images.parse_format(text)

    def has_its_size(data: bytes) -> bool:
        return Image.open(io.BytesIO(data)).size == voxels.shape[::-1]

    return Case(text, name, voxels.nbytes, lambda: images.encode_slice(voxels, file_format), has_its_size)


def measure(case: Case, rounds: int) -> float:
    """Median milliseconds of a run, after one that is checked."""
    if not case.is_right(case.run()):
        raise AssertionError(f"{case.codec} of {case.input}: wrong result")
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        case.run()
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medulla", type=Path, help="the medulla sample, an .npz file")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    print(f"{'codec':32}{'input':16}{'ms':>9}{'MB/s':>9}")
    slow = []
    for case in cases(from_medulla(options.medulla) if options.medulla else made_up()):
        ms = measure(case, options.rounds)
        print(f"{case.codec:32}{case.input:16}{ms:9.3f}{case.voxel_bytes / ms / 1000:9.0f}")
        if case.codec == "label block + gzip" and case.input != "noise" and ms > TARGET_MS:
            slow.append(f"{case.input} {ms:.1f} ms")
    print(f"label block + gzip within {TARGET_MS} ms: {', '.join(slow) + ' too slow' if slow else 'yes'}")


if __name__ == "__main__":
    main()
