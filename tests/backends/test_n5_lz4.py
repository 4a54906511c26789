"""N5 arrays in LZ4: blocks that lz4-java wrote, edge blocks, damaged ones. z5py's are in test_n5.py."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import lz4.block
import numpy as np
import pytest

from tests.backends.arrays import Array
from wkdvid.core.limits import Limits
from wkdvid.core.volume import Volume
from wkdvid.errors import CorruptChunk, InvalidEntry
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite, check, open_layers

GOLDEN = Path(__file__).parent / "golden/n5_lz4"
SIZE = (21, 10, 5)


def voxels() -> Array:
    """What Generate.java writes."""
    x, y, z = np.indices(SIZE)
    noise = ((x + 100 * y + 10000 * z) * 40503) >> 3 & 0xFFFF
    array = np.where(z < 2, noise, x // 4 + 10 * y + 100 * z).astype(np.uint16)
    array[16:, 8:, 4:] = 0
    return np.asfortranarray(array[None])


class TestLz4OfJava(VolumeSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def stored(cls) -> StoredVolume:
        return StoredVolume(
            folder=GOLDEN,
            backend="n5",
            options=lambda base: {"source": base},
            levels=[StoredLevel(array=voxels())],
            chunk="1/0/0",
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN, tmp_path / "array")


async def opened(folder: Path, limits: Limits | None = None) -> Volume:
    (volume,) = await open_layers("n5", {"source": str(folder)}, roots=[folder], limits=limits)
    return volume


async def test_encoding_is_told(folder: Path) -> None:
    volume = await opened(folder)
    assert [(level.encoding, level.chunk_shape) for level in volume.info.levels] == [("lz4", (16, 8, 4))]


def block(array: Array, mode: int = 0, size: tuple[int, ...] | None = None) -> bytes:
    """A block as z5 writes it."""
    header = struct.pack(">HH", mode, array.ndim) + struct.pack(f">{array.ndim}I", *(size or array.shape))
    return header + bytes(lz4.block.compress(array.astype(">u2").tobytes("F"), store_size=False))


@pytest.mark.parametrize("size", [(5, 2, 1), (3, 1, 1), (16, 8, 4), (5, 8, 2), (0, 0, 0)])
async def test_block_of_any_size_at_the_edge(folder: Path, size: tuple[int, ...]) -> None:
    """Smaller than what the array has there: the rest is 0. Whole: the rest lies outside."""
    stored = np.arange(1, 1 + np.prod(size), dtype=np.uint16).reshape(size, order="F")
    (folder / "1/1/1").parent.mkdir(exist_ok=True)
    (folder / "1/1/1").write_bytes(block(stored))
    expected = voxels()
    inside = stored[:5, :2, :1]
    expected[0, 16 : 16 + inside.shape[0], 8 : 8 + inside.shape[1], 4 : 4 + inside.shape[2]] = inside
    volume = await opened(folder)
    check(await volume.read(0, volume.info.levels[0].extent), expected)


BLOCK = np.ones((16, 8, 4), np.uint16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (block(BLOCK, mode=1), "mode 1"),
        (block(BLOCK, mode=2), "mode 2"),
        (block(BLOCK[:, :, 0]), "2 dimensions"),
        (block(BLOCK, size=(17, 8, 4)), "the array's blocks have"),
        (block(BLOCK, size=(2**32 - 1, 2**32 - 1, 2**32 - 1)), "the array's blocks have"),
        (block(BLOCK, size=(16, 8, 3)), "lz4"),
        (block(BLOCK)[:-1], "lz4"),
        (b"\x00\x00\x00\x03\x00", "no block"),
    ],
)
async def test_what_is_no_block(folder: Path, content: bytes, message: str) -> None:
    (folder / "1/0/0").write_bytes(content)
    volume = await opened(folder)
    with pytest.raises(CorruptChunk, match=f"block 1/0/0.*{message}"):
        await volume.read(0, volume.info.levels[0].extent)


async def test_varlength_blocks_are_refused(folder: Path) -> None:
    (folder / "0/0/0").write_bytes(block(BLOCK, mode=1))
    with pytest.raises(InvalidEntry, match="varlength"):
        await opened(folder)


async def test_large_declared_block(folder: Path) -> None:
    attributes = json.loads((folder / "attributes.json").read_text())
    (folder / "attributes.json").write_text(json.dumps({**attributes, "blockSize": [2**20, 2**20, 2**20]}))
    with pytest.raises(InvalidEntry, match=r"limits\.chunk_bytes"):
        await opened(folder)
    (folder / "attributes.json").write_text(json.dumps(attributes))
    with pytest.raises(InvalidEntry, match=r"limits\.chunk_bytes"):
        await opened(folder, Limits(chunk_bytes=1000))
