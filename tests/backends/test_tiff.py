"""TIFFs that tifffile and libvips wrote, as volumes."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import tifffile

from tests.backends.arrays import noise
from tests.backends.tiffs import pages_of, save_ome, save_with_vips
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.volume import Volume
from wkdvid.errors import CorruptChunk, UpstreamUnavailable
from wkdvid.testing.faulty import FileServer, on
from wkdvid.testing.volume_suite import (
    StoredLevel,
    StoredVolume,
    VolumeSuite,
    check,
    make_backends,
    open_layers,
    open_with,
)

PLANE: Vec3 = (75, 66, 1)
STACK: Vec3 = (45, 34, 5)
CORNER = Box((0, 0, 0), (1, 1, 1))
"""Of one tile: when its read fails no other is under way."""


def deflated(file: Path) -> Sequence[StoredLevel]:
    return save_with_vips(file, noise("uint8", PLANE), "--compression", "deflate", "--predictor", "horizontal")


def subifds(file: Path) -> Sequence[StoredLevel]:
    return save_with_vips(file, noise("uint16", PLANE), "--compression", "lzw", "--subifd")


def jpeg(file: Path) -> Sequence[StoredLevel]:
    return save_with_vips(file, noise("uint8", (150, 133, 1), 3), "--compression", "jpeg", "--Q", "80")


def stack(file: Path) -> Sequence[StoredLevel]:
    array = noise("uint16", STACK)
    tifffile.imwrite(file, pages_of(array), tile=(32, 16), compression="zlib", predictor=True, byteorder=">")
    return [StoredLevel(array=array)]


def ome(file: Path) -> Sequence[StoredLevel]:
    levels = save_ome(file, noise("float32", STACK, channels=2), [1, 2, 4], {}, compression="zstd", predictor=3)
    return [StoredLevel(array=level.array[1:], mag=level.mag) for level in levels]


def imagej(file: Path) -> Sequence[StoredLevel]:
    array = noise("uint16", STACK)
    tifffile.imwrite(file, pages_of(array), imagej=True, metadata={"axes": "ZYX"})
    return [StoredLevel(array=array)]


WRITERS: Mapping[str, Callable[[Path], Sequence[StoredLevel]]] = {
    writer.__name__: writer for writer in (deflated, subifds, jpeg, stack, ome, imagej)
}


class TestTiff(VolumeSuite):
    """A TIFF is one file: where the suite takes a chunk away or breaks it, that is the whole source."""

    @pytest.fixture(scope="class", params=WRITERS)
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        folder = tmp_path_factory.mktemp(request.param) / "volume"
        folder.mkdir()
        return StoredVolume(
            folder=folder,
            backend="tiff",
            options=lambda base: {"source": f"{base}image.tif", **({"channel": 1} if request.param == "ome" else {})},
            levels=WRITERS[request.param](folder / "image.tif"),
            chunk="image.tif",
            tolerance=2 if request.param == "jpeg" else 0,
        )

    async def test_corrupt_chunk_is_no_data(self, stored: StoredVolume, tmp_path: Path) -> None:
        """In place, with the length it had: only the time of its change tells."""
        folder = tmp_path / "copy"
        shutil.copytree(stored.folder, folder)
        (volume,) = await open_layers(stored.backend, stored.options(f"{folder}/"), roots=[folder])
        size = (folder / stored.chunk).stat().st_size
        (folder / stored.chunk).write_bytes(bytes(size))
        with pytest.raises(UpstreamUnavailable, match="has changed since"):
            await volume.read(0, CORNER)

    async def test_identical_reads_are_one_at_the_source(self, stored: StoredVolume) -> None:
        """Of planes too, of which the suite reads nothing here."""
        with FileServer(stored.folder) as server:
            (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
            server.requests.clear()
            whole = stored.levels[0]
            for array in await asyncio.gather(*(volume.read(0, whole.extent) for _ in range(64))):
                check(array, whole.array, stored.tolerance)
            assert set(Counter(server.requests).values()) == {1}

    async def test_absent_chunk_is_the_fill_value(self, stored: StoredVolume) -> None:
        """But a file that is gone is not absent."""
        with FileServer(stored.folder) as server:
            (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
            server.fault = on("*", 404)
            with pytest.raises(UpstreamUnavailable, match="not there any more"):
                await volume.read(0, CORNER)

    async def test_chunk_that_goes_and_comes_is_seen_by_opening_again(
        self, stored: StoredVolume, tmp_path: Path
    ) -> None:
        other = noise("uint8", (40, 50, 1), seed=7)
        shutil.copytree(stored.folder, tmp_path / "copy")
        file = tmp_path / "copy" / stored.chunk
        with FileServer(file.parent) as server:
            backends = make_backends(roots=[file.parent], http_hosts=[server.host])
            for base in (f"{file.parent}/", server.url):
                (volume,) = await open_with(backends, stored.backend, stored.options(base))
                check(await volume.read(0, stored.levels[0].extent), stored.levels[0].array, stored.tolerance)
            tifffile.imwrite(file, pages_of(other)[0], tile=(16, 16))
            for base in (f"{file.parent}/", server.url):
                (volume,) = await open_with(backends, stored.backend, {"source": f"{base}image.tif"})
                check(await volume.read(0, StoredLevel(array=other).extent), other)

    async def test_half_written_chunk_is_no_data(self, stored: StoredVolume, tmp_path: Path) -> None:
        file = tmp_path / stored.chunk
        whole = (stored.folder / stored.chunk).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CorruptChunk):
            await read_whole(tmp_path, stored)


async def read_whole(folder: Path, stored: StoredVolume) -> Volume:
    (volume,) = await open_layers(stored.backend, stored.options(f"{folder}/"), roots=[folder])
    for i, level in enumerate(volume.info.levels):
        await volume.read(i, level.extent)
    return volume
