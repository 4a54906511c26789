"""Where TIFFs lie, over HTTP, in a bucket, in folders; and how little of them is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.backends.arrays import noise
from tests.backends.conftest import S3
from tests.backends.tiff_planes import PLANE, check_whole, opened, write
from tests.backends.tiffs import pages_of
from wkdvid.core.geometry import Box
from wkdvid.core.limits import KIB
from wkdvid.errors import InvalidEntry
from wkdvid.testing.faulty import FileServer
from wkdvid.testing.volume_suite import check, make_backends, open_layers

# Over HTTP


def fetched(server: FileServer) -> int:
    """Bytes that were asked for; each request names its part."""
    parts = [asked.part.removeprefix("bytes=").split("-") for asked in server.requests]
    return sum(int(last) + 1 - int(first) for first, last in parts)


async def test_only_what_is_wanted_is_fetched(tmp_path: Path) -> None:
    array = noise("uint8", (1024, 1024, 1))
    write(tmp_path, pages_of(array)[0], tile=(128, 128))
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("tiff", {"source": f"{server.url}a.tif"}, http_hosts=[server.host])
        assert fetched(server) < 64 * KIB
        server.requests.clear()
        box = Box((130, 140, 0), (200, 250, 1))
        for _ in range(2):
            check(await volume.read(0, box), array[:, 130:200, 140:250])
        assert server.paths == ["a.tif"]
        assert fetched(server) == 128 * 128
        check(await volume.read(0, Box((120, 120, 0), (136, 136, 1))), array[:, 120:136, 120:136])
        assert len(server.paths) == 4
        assert fetched(server) == 4 * 128 * 128


@pytest.mark.parametrize("planar", ["contig", "separate"])
async def test_other_channels_are_not_fetched(tmp_path: Path, planar: str) -> None:
    array = noise("uint16", PLANE, channels=4)
    pages = array[..., 0].transpose((2, 1, 0) if planar == "contig" else (0, 2, 1))
    write(tmp_path, pages, planarconfig=planar, tile=(16, 16), extrasamples=["unspecified"] * 3)
    with FileServer(tmp_path) as server:
        source = {"source": f"{server.url}a.tif", "channel": 2}
        (volume,) = await open_layers("tiff", source, http_hosts=[server.host])
        server.requests.clear()
        check(await volume.read(0, Box((0, 0, 0), (16, 16, 1))), array[2:3, :16, :16])
        assert fetched(server) == 16 * 16 * 2 * (4 if planar == "contig" else 1)


async def test_strips_are_fetched_at_once(tmp_path: Path) -> None:
    array = noise("uint8", PLANE)
    write(tmp_path, pages_of(array)[0], tile=None, rowsperstrip=1)
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("tiff", {"source": f"{server.url}a.tif"}, http_hosts=[server.host])
        server.requests.clear()
        await check_whole(volume, array)
        assert server.paths == ["a.tif"]


async def test_from_s3(tmp_path: Path, s3: S3) -> None:
    array = noise("uint8", PLANE)
    write(tmp_path, pages_of(array)[0])
    (volume,) = await open_layers("tiff", {"source": f"{s3.upload(tmp_path)}a.tif"}, s3=s3.options)
    await check_whole(volume, array)


async def test_no_file_is_held_open(tmp_path: Path) -> None:
    write(tmp_path, pages_of(noise("uint8", PLANE))[0])
    volume = await opened(tmp_path)
    await volume.read(0, volume.info.levels[0].extent)
    assert (tmp_path / "a.tif").resolve() not in open_files()


def open_files() -> set[Path]:
    return {link.resolve() for link in Path("/proc/self/fd").iterdir()}


# Folders


async def test_layers_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "binary/lab/data"
    folder.mkdir(parents=True)
    for name in ("color.tif", "segmentation_1.ome.TIFF", "notes.txt"):
        tifffile.imwrite(folder / name, np.ones((20, 30), np.uint16), tile=(16, 16))
    backends = make_backends([tmp_path])
    for options in ({}, {"path": "binary/lab/data"}, {"source": f"{folder}/"}):
        entries, problems = backends.parse({"tiff": {"lab": {"data": {"scale": [4, 4], **options}}}})
        assert not problems
        volumes = [one.volume.info for one in await backends.open_layers(entries[0])]
        assert [(info.name, info.category) for info in volumes] == [
            ("color", "color"),
            ("segmentation_1", "segmentation"),
        ]
        assert {info.voxel_size_nm for info in volumes} == {(4, 4, 1)}
    entries, _ = backends.parse({"tiff": {"lab": {"data": {"scale": [4]}}}})
    with pytest.raises(InvalidEntry) as refused:
        await backends.open_layers(entries[0])
    assert len(refused.value.problems) == 1  # not one for each file


@pytest.mark.parametrize(
    ("files", "options", "problem"),
    [
        ([], {}, "there is no folder of this name with"),
        (["a.txt"], {}, "there is no folder of this name with"),
        (["a.tif", "a.tiff"], {}, "two files give their layers the same name"),
        (["my image.tif"], {}, "is not a name"),
        ([], {"path": "../data"}, "holds '..'"),
        ([], {"path": "/etc"}, "outside the directories"),
        ([], {"path": "gs://bucket/folder"}, "on disk only"),
        ([], {"path": 5}, "expected a URL or a path"),
    ],
)
async def test_folders_that_are_refused(
    tmp_path: Path, files: Sequence[str], options: Mapping[str, Any], problem: str
) -> None:
    for name in files:
        (tmp_path / "binary/lab/data").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / "binary/lab/data" / name, np.ones((20, 30), np.uint16))
    backends = make_backends([tmp_path])
    entries, _ = backends.parse({"tiff": {"lab": {"data": options}}})
    with pytest.raises(InvalidEntry, match=problem) as caught:
        await backends.open_layers(entries[0])
    assert str(tmp_path) not in str(caught.value)


async def test_link_that_leads_out_of_the_roots(tmp_path: Path) -> None:
    write(tmp_path, pages_of(noise("uint8", PLANE))[0])
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.tif").symlink_to(tmp_path / "a.tif")
    with pytest.raises(InvalidEntry, match="outside the directories"):
        await opened(inside)
    (inside / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    (inside / "a.tif").unlink()
    (inside / "a.tif").symlink_to("b.tif")
    assert (await opened(inside)).info.levels[0].extent.size == PLANE
