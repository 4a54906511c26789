"""Damaged TIFFs: each opens and reads with the right shape, or says what is wrong; none hangs or fills the memory."""

from __future__ import annotations

import asyncio
import random
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.backends.arrays import grey, noise
from tests.backends.tiffs import pages_of, save_ome, save_with_vips
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.limits import KIB, MIB, Limits
from wkdvid.errors import BackendError, InvalidEntry
from wkdvid.testing.volume_suite import make_backends, open_with

PLANE: Vec3 = (45, 34, 1)
STACK: Vec3 = (20, 18, 3)
LIMITS = Limits(chunk_bytes=MIB, metadata_bytes=256 * KIB)
RISE_BYTES = 200 * MIB
"""What the process may grow by over all cases, its caches and threads with it."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    file = tmp_path_factory.mktemp("originals") / "a.tif"
    return list(small_files(file))


def small_files(file: Path) -> Iterator[bytes]:
    for compression in ("jpeg", "deflate", "webp", "lzw"):
        save_with_vips(file, grey(PLANE, 3), "--compression", compression)
        yield file.read_bytes()
    save_ome(file, noise("uint16", STACK, channels=2), [1, 2], {}, compression="zstd")
    yield file.read_bytes()
    tifffile.imwrite(file, pages_of(noise("uint16", STACK)), imagej=True, metadata={"axes": "ZYX"})
    yield file.read_bytes()
    pixels = grey(PLANE, 3)[..., 0].transpose(2, 1, 0)
    tifffile.imwrite(file, pixels, photometric="rgb", tile=(16, 32), compression="jpeg2000", byteorder=">")
    yield file.read_bytes()
    tifffile.imwrite(
        file,
        pages_of(noise("float32", STACK)),
        photometric="minisblack",
        predictor=3,
        compression="lzma",
        rowsperstrip=5,
    )
    yield file.read_bytes()


def damaged(originals: list[bytes], rng: random.Random) -> bytes:
    """Bits flipped, bytes and words set, or the end cut off; about half of such a small file is directories."""
    content = bytearray(rng.choice(originals))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(4, len(content))
        match rng.randrange(5):
            case 0:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at] = rng.choice((0, 1, 2, 127, 128, 255))
            case 2:
                content[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\0\0\1\0"))
            case 3:
                content[at : at + 8] = rng.randbytes(8)
            case _ if rng.random() < 0.2:
                del content[max(8, at) :]
    return bytes(content)


async def outcome(folder: Path) -> str:
    backends = make_backends([folder], limits=LIMITS, deadline_s=5)
    try:
        volumes = await open_with(backends, "tiff", {"source": "a.tif"})
    except (InvalidEntry, BackendError) as error:
        return type(error).__name__
    results = set()
    for volume in volumes[:4]:
        for i, level in enumerate(volume.info.levels):
            size = np.minimum(level.extent.size, (64, 64, 4))
            box = Box.at((0, 0, 0), (int(size[0]), int(size[1]), int(size[2])))
            try:
                voxels = await volume.read(i, box)
            except BackendError as error:
                results.add(type(error).__name__)
            else:
                assert voxels.shape == (volume.info.num_channels, *box.size)
                assert voxels.dtype == volume.info.dtype
                results.add("read")
    return "read" if results == {"read"} else "partly read"


@pytest.mark.parametrize("cases", [150, pytest.param(20_000, marks=pytest.mark.soak)])
async def test_damaged_files(originals: list[bytes], tmp_path: Path, cases: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    counts: Counter[str] = Counter()
    for seed in range(cases):
        content = damaged(originals, random.Random(seed))
        (tmp_path / "a.tif").write_bytes(content)
        async with asyncio.timeout(30):
            counts[await outcome(tmp_path)] += 1
    print(f"fuzzing TIFF: {cases} cases,", ", ".join(f"{count} x {name}" for name, count in sorted(counts.items())))
    assert counts.total() == cases
    assert {"read", "partly read", "InvalidEntry", "CorruptChunk"} <= counts.keys()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB - before < RISE_BYTES
