"""Web servers that send whole files only, such as ``python -m http.server``: what needs parts of files says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
from zarr.codecs import ZstdCodec

from tests.backends import test_n5, test_precomputed, test_zarr, wkw_files
from tests.backends.arrays import noise
from wkdvid.errors import InvalidEntry
from wkdvid.testing.faulty import FileServer
from wkdvid.testing.volume_suite import StoredLevel, check, open_layers

ARRAY = noise("uint8", (30, 40, 35))
"""Less than the 32 voxels on x, from where on the writers of some formats leave a hole."""


def wkw_layer(folder: Path) -> None:
    wkw_files.write_layer(folder, ARRAY)


def tiff_file(folder: Path) -> None:
    tifffile.imwrite(folder / "em", ARRAY[0, :, :, 0].T, tile=(16, 16))


def precomputed(folder: Path, **options: Any) -> None:
    test_precomputed.write(folder / "em", ARRAY, **options)


def sharded_precomputed(folder: Path) -> None:
    precomputed(folder, sharding=test_precomputed.SHARDING)


def zarr_array(folder: Path, **options: Any) -> None:
    test_zarr.create_array(str(folder / "em"), data=ARRAY[0].T, zarr_format=3, compressors=ZstdCodec(), **options)


def sharded_zarr(folder: Path) -> None:
    zarr_array(folder, chunks=(32, 32, 32), shards=(64, 64, 64))


def n5_array(folder: Path) -> None:
    test_n5.write_array(folder, "em", ARRAY)


@pytest.mark.parametrize(
    ("backend", "write"),
    [("wkw", wkw_layer), ("tiff", tiff_file), ("precomputed", sharded_precomputed), ("zarr", sharded_zarr)],
)
async def test_parts_of_files_are_needed(tmp_path: Path, backend: str, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    with FileServer(tmp_path) as server:
        server.ranges = False
        with pytest.raises(InvalidEntry, match="its server sends whole files only"):
            await open_layers(backend, {"source": f"{server.url}em"}, http_hosts=[server.host])


@pytest.mark.parametrize(("backend", "write"), [("precomputed", precomputed), ("zarr", zarr_array), ("n5", n5_array)])
async def test_whole_files_suffice(tmp_path: Path, backend: str, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    with FileServer(tmp_path) as server:
        server.ranges = False
        (volume,) = await open_layers(backend, {"source": f"{server.url}em"}, http_hosts=[server.host])
        check(await volume.read(0, StoredLevel(array=ARRAY).extent), ARRAY)
