"""TIFFs that are refused, and broken ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.backends.arrays import Array, grey, noise
from tests.backends.tiff_planes import PLANE, opened, write
from tests.backends.tiffs import pages_of, save_ome
from wkdvid.core.geometry import Box
from wkdvid.core.limits import Limits
from wkdvid.errors import BackendError, CorruptChunk, InvalidEntry


def refused_files() -> Iterator[Any]:
    plane = pages_of(noise("uint8", PLANE))[0]
    yield pytest.param(plane > 3, {"tile": None}, "samples of 1 bits", id="bilevel")
    yield pytest.param(plane.astype("u2") >> 4, {"bitspersample": 12, "tile": None}, "samples of 12 bits", id="12 bits")
    yield pytest.param(plane.astype("f2"), {}, "samples of 16 bits, format 3", id="half floats")
    palette = {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}
    yield pytest.param(plane, palette, "come from a palette", id="palette")
    yield pytest.param(plane, {"compression": "jpegxl"}, "compression 50002 with predictor 1 is not read", id="jpegxl")
    four = np.stack([plane] * 4, axis=-1)
    yield pytest.param(four, {"photometric": "separated"}, "colours are of kind 5", id="cmyk")
    large = np.zeros((4000, 5001), np.uint8)
    yield pytest.param(
        large, {"tile": None, "compression": "deflate"}, "without tiles, the limit is 20000000", id="large"
    )
    yield pytest.param(
        np.zeros((16, 16, 16), np.uint8), {"tile": (16, 16, 16), "volumetric": True}, "a depth", id="deep"
    )


@pytest.mark.parametrize(("pages", "options", "problem"), list(refused_files()))
async def test_refused(tmp_path: Path, pages: Array, options: Mapping[str, Any], problem: str) -> None:
    write(tmp_path, pages, **options)
    with pytest.raises(InvalidEntry, match=problem):
        await opened(tmp_path)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(chunk_bytes=511), "has 512 bytes decoded, the limit is 511"),
        (Limits(metadata_bytes=400), r"more than 400 bytes, the limit \(limits.metadata_bytes\)"),
        (Limits(levels=2), "3 levels, the limit is 2"),
    ],
)
async def test_limits(tmp_path: Path, limits: Limits, problem: str) -> None:
    save_ome(tmp_path / "a.tif", noise("uint8", PLANE), [1, 2, 4], {})
    with pytest.raises(InvalidEntry, match=problem):
        await opened(tmp_path, limits)


@pytest.mark.parametrize("content", [b"", b"II", b"\x89PNG\r\n\x1a\n" + bytes(100), b"<html>"])
async def test_no_tiff(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InvalidEntry, match=r"a\.tif: this is no TIFF"):
        await opened(tmp_path)


async def test_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    for name in ("a.tif", "b.tif"):
        with pytest.raises(InvalidEntry, match="there is no such file"):
            await opened(tmp_path, source=name)


@pytest.mark.parametrize("length", [2, 99, 300])
async def test_directories_in_a_circle(tmp_path: Path, length: int) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(length):
            writer.write(np.zeros((16, 16), np.uint8), metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        last, first = file.pages[length - 1], file.pages.first.offset
    end = last.offset + 2 + 12 * len(last.aspage().tags)
    content[end : end + 4] = first.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    if length < 100:  # tifffile looks for circles when it has seen so many pages
        assert (await opened(tmp_path)).info.levels[0].extent.size[2] in (1, length)
    else:
        with pytest.raises(InvalidEntry, match=r"the limit \(limits.metadata_bytes\)"):
            await opened(tmp_path)


OME = (
    '<OME><Image><Pixels DimensionOrder="XYZCT" SizeX="75" SizeY="66" SizeZ="{}" SizeC="{}" SizeT="1">{}'
    "</Pixels></Image></OME>"
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<OME><Image/></OME>", "has no image with pixels"),
        ("<OME><Image></OME>", "not valid XML"),
        (f'<!DOCTYPE x [<!ENTITY a "b">]>{OME.format(1, 1, "")}', "has a document type"),
        (OME.format(10**8, 10**8, ""), "declares 10000000000000000 planes, the file has 1 pages"),
        (OME.format("1e9", 1, ""), "SizeZ of its OME-XML: expected a whole number"),
        (OME.format(1, 1, '<TiffData FirstZ="4"/>'), "places pages outside the image"),
        (OME.format(1, 1, "<TiffData><UUID>a</UUID></TiffData><TiffData><UUID>b</UUID></TiffData>"), "several files"),
        (OME.format(0, 1, ""), "declares 0 planes"),
    ],
)
async def test_odd_ome_xml(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, pages_of(noise("uint8", PLANE))[0], description=text)
    with pytest.raises((InvalidEntry, CorruptChunk), match=problem):
        await opened(tmp_path)


def damage(file: Path, change: Any) -> None:
    """Change the bytes of the first tile."""
    with tifffile.TiffFile(file) as tiff:
        start, size = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    content = bytearray(file.read_bytes())
    content[start : start + size] = change(content[start : start + size])
    file.write_bytes(content)


def without_end(tile: bytearray) -> bytes:
    return bytes(tile[:-2]) + bytes(2)


def larger(tile: bytearray) -> bytes:
    frame = tile.index(b"\xff\xc0")
    return bytes(tile[: frame + 5]) + b"\xff\xdc\xff\xdc" + bytes(tile[frame + 9 :])


def larger_codestream(tile: bytearray) -> bytes:
    return bytes(tile[:8]) + b"\x7f" + bytes(tile[9:])


@pytest.mark.parametrize(
    ("compression", "change"),
    [
        ("jpeg", without_end),
        ("jpeg", larger),
        ("jpeg2000", larger_codestream),
        ("webp", lambda tile: b"RIFX" + tile[4:]),
        ("deflate", lambda tile: bytes(len(tile))),
        ("lzma", lambda tile: bytes(len(tile))),
        ("zstd", lambda tile: tile[:-9] + bytes(9)),
    ],
)
async def test_broken_tile(tmp_path: Path, compression: str, change: Any) -> None:
    array = grey(PLANE, 3)
    write(tmp_path, array[..., 0].transpose(2, 1, 0), photometric="rgb", compression=compression)
    damage(tmp_path / "a.tif", change)
    volume = await opened(tmp_path)
    with pytest.raises(CorruptChunk):
        await volume.read(0, Box((0, 0, 0), (1, 1, 1)))
    neighbour = await volume.read(0, Box((40, 0, 0), (60, 10, 1)))
    assert np.abs(neighbour.astype(int) - array[:, 40:60, :10]).max() < 60


@pytest.mark.parametrize(("tag", "value"), [(325, 60_000), (324, 2**31)])
async def test_tables_that_lead_astray(tmp_path: Path, tag: int, value: int) -> None:
    write(tmp_path, pages_of(noise("uint8", PLANE))[0])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        table = file.pages.first.tags[tag]
        table.overwrite([value] * table.count)
    volume = await opened(tmp_path)
    with pytest.raises(BackendError):
        await volume.read(0, volume.info.levels[0].extent)
