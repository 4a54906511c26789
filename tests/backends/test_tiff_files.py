"""What TIFFs there are, one by one: samples, compressions, planes, sizes; and those that are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.backends.arrays import Array, grey, noise
from tests.backends.conftest import S3
from tests.backends.tiffs import pages_of, save_ome, save_with_vips, vips, voxels_of
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.limits import KIB, Limits
from wkdvid.core.volume import Volume
from wkdvid.errors import BackendError, CorruptChunk, InvalidEntry
from wkdvid.testing.faulty import FileServer
from wkdvid.testing.volume_suite import check, make_backends, open_layers

PLANE: Vec3 = (75, 66, 1)
STACK: Vec3 = (45, 34, 5)
TILE = (32, 16)


async def opened(folder: Path, limits: Limits | None = None, **options: Any) -> Volume:
    """The only layer of ``a.tif``."""
    (volume,) = await open_layers("tiff", {"source": "a.tif", **options}, roots=[folder], limits=limits)
    return volume


async def layers(folder: Path) -> list[Volume]:
    return await open_layers("tiff", {"source": "a.tif"}, roots=[folder])


async def check_whole(volume: Volume, array: Array) -> None:
    check(await volume.read(0, volume.info.levels[0].extent), array)


def write(folder: Path, pages: Array, **options: Any) -> None:
    tifffile.imwrite(
        folder / "a.tif", pages, **{"photometric": "minisblack", "tile": TILE, "metadata": None, **options}
    )


# Samples


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "dtype",
    ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"],
)
async def test_dtypes(tmp_path: Path, dtype: str, byteorder: str) -> None:
    array = noise(dtype, PLANE)
    write(tmp_path, pages_of(array)[0], byteorder=byteorder)
    await check_whole(await opened(tmp_path), array)


@pytest.mark.parametrize("predictor", [None, True])
@pytest.mark.parametrize("compression", ["lzw", "packbits", "deflate", "zstd", "lzma"])
@pytest.mark.parametrize("layout", [{}, {"tile": None, "rowsperstrip": 7}])
async def test_lossless_compressions(
    tmp_path: Path, compression: str, predictor: bool | None, layout: Mapping[str, Any]
) -> None:
    array = noise("uint16", PLANE)
    write(tmp_path, pages_of(array)[0], compression=compression, predictor=predictor, **layout)
    await check_whole(await opened(tmp_path), array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{}, {"tile": None, "rowsperstrip": 7}])
async def test_rgb(tmp_path: Path, planar: str, layout: Mapping[str, Any]) -> None:
    array = noise("uint8", PLANE, channels=3)
    pages = array[..., 0].transpose((2, 1, 0) if planar == "contig" else (0, 2, 1))
    write(tmp_path, pages, photometric="rgb", planarconfig=planar, compression="deflate", **layout)
    volume = await opened(tmp_path)
    assert volume.info.num_channels == 3
    await check_whole(volume, array)


async def test_webp_by_vips(tmp_path: Path) -> None:
    array = grey(PLANE, 3)
    save_with_vips(tmp_path / "a.tif", array, "--compression", "webp", "--lossless")
    await check_whole(await opened(tmp_path), array)


@pytest.mark.parametrize("channels", [1, 3])
async def test_jpeg2000(tmp_path: Path, channels: int) -> None:
    array = noise("uint16", PLANE, channels)
    write(tmp_path, pages_of(array)[0], photometric="rgb" if channels == 3 else "minisblack", compression="jpeg2000")
    for volume, channel in zip(await layers(tmp_path), array, strict=True):
        await check_whole(volume, channel[None])


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
async def test_jpeg_with_tables_of_its_own_and_colours_subsampled(tmp_path: Path, subsampling: tuple[int, int]) -> None:
    pages = grey(PLANE, 3)[..., 0].transpose(2, 1, 0)
    write(
        tmp_path, pages, photometric="rgb", compression="jpeg", compressionargs={"level": 90}, subsampling=subsampling
    )
    vips("rawsave", tmp_path / "a.tif", tmp_path / "raw")
    expected = voxels_of(np.fromfile(tmp_path / "raw", np.uint8).reshape(pages.shape))
    volume = await opened(tmp_path)
    check(await volume.read(0, volume.info.levels[0].extent), expected, tolerance=2)


async def test_pages_that_pillow_wrote(tmp_path: Path) -> None:
    array = noise("uint8", STACK)
    first, *others = [Image.fromarray(page) for page in pages_of(array)]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others, compression="tiff_lzw")
    await check_whole(await opened(tmp_path), array)


async def test_white_is_zero(tmp_path: Path) -> None:
    array = noise("uint16", PLANE)
    write(tmp_path, pages_of(array)[0], photometric="miniswhite")
    await check_whole(await opened(tmp_path), 65535 - array)
    await check_whole(await opened(tmp_path, type="segmentation"), array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
async def test_alpha_is_not_served(tmp_path: Path, planar: str) -> None:
    array = noise("uint8", PLANE, channels=4)
    pages = array[..., 0].transpose((2, 1, 0) if planar == "contig" else (0, 2, 1))
    write(tmp_path, pages, photometric="rgb", planarconfig=planar, extrasamples=["unassalpha"])
    await check_whole(await opened(tmp_path), array[:3])


@pytest.mark.parametrize("planar", ["contig", "separate"])
async def test_other_samples_are_layers(tmp_path: Path, planar: str) -> None:
    array = noise("uint16", PLANE, channels=2)
    pages = array[..., 0].transpose((2, 1, 0) if planar == "contig" else (0, 2, 1))
    write(tmp_path, pages, planarconfig=planar, extrasamples=["unspecified"])
    volumes = await open_layers("tiff", {"source": "a.tif"}, roots=[tmp_path])
    assert [volume.info.name for volume in volumes] == ["layer_c0", "layer_c1"]
    for c, volume in enumerate(volumes):
        await check_whole(volume, array[c : c + 1])
    await check_whole(await opened(tmp_path, channel=1), array[1:])


async def test_tiles_that_are_not_stored_are_the_fill_value(tmp_path: Path) -> None:
    array = np.full((1, 64, 32, 1), 7, np.uint8)
    array[:, :16, :32] = noise("uint8", (16, 32, 1))
    tiles: list[Array | None] = [array[0, :16, :32, 0].T.copy(), None, None, None]
    write(tmp_path, iter(tiles), shape=(32, 64), dtype=np.uint8, extratags=[(42113, 2, 1, "7", True)])  # type: ignore[arg-type]
    volume = await opened(tmp_path)
    assert volume.info.fill_value == 7
    await check_whole(volume, array)


# Planes


async def test_channels_and_times_of_an_ome_tiff(tmp_path: Path) -> None:
    array = noise("uint8", STACK, channels=6)
    pages = array.transpose(0, 3, 2, 1).reshape(3, 2, 5, 34, 45)
    tifffile.imwrite(
        tmp_path / "a.tif", pages, ome=True, photometric="minisblack", metadata={"axes": "TCZYX"}, tile=TILE
    )
    for t in range(3):
        volumes = await open_layers("tiff", {"source": "a.tif", "t": t}, roots=[tmp_path])
        for c, volume in enumerate(volumes):
            await check_whole(volume, array[2 * t + c : 2 * t + c + 1])
            assert volume.info.notes[-1 if t else 0].startswith("The source ")
    with pytest.raises(InvalidEntry, match="t: expected a whole number from 0 to 2, got 3"):
        await opened(tmp_path, t=3)


@pytest.mark.parametrize("axes", ["ZYX", "CYX", "TYX", "QYX"])
async def test_axes_that_tifffile_describes(tmp_path: Path, axes: str) -> None:
    array = noise("uint16", STACK)
    write(tmp_path, pages_of(array), metadata={"axes": axes})
    volumes = await open_layers("tiff", {"source": "a.tif"}, roots=[tmp_path])
    depth = {"Z": 5, "Q": 5, "C": 1, "T": 1}[axes[0]]
    assert volumes[0].info.levels[0].extent.size == (45, 34, depth)
    assert len(volumes) == (5 if axes == "CYX" else 1)
    await check_whole(volumes[-1], array[..., 4:] if axes == "CYX" else array[..., :depth])


async def test_stack_of_imagej_with_one_directory(tmp_path: Path) -> None:
    array = noise("uint16", STACK)
    tifffile.imwrite(tmp_path / "a.tif", pages_of(array), imagej=True, metadata={"axes": "ZYX"}, truncate=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1
    await check_whole(await opened(tmp_path), array)


async def test_planes_in_an_order_of_their_own(tmp_path: Path) -> None:
    """As the elements TiffData say; one was never written."""
    array = noise("uint8", STACK)
    order = [3, 0, 4, 1]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        text = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0"'
            ' DimensionOrder="XYZCT" Type="uint8" SizeX="45" SizeY="34" SizeZ="5" SizeC="1" SizeT="1"'
            ' PhysicalSizeX="4" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5" PhysicalSizeZ="0.04">'
            '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            + "".join(f'<TiffData IFD="{k}" FirstZ="{z}" PlaneCount="1"/>' for k, z in enumerate(order))
            + "</Pixels></Image></OME>"
        )
        for z in order:
            writer.write(array[0, :, :, z].T, tile=TILE, metadata=None, description=text if z == 3 else None)
    array[..., 2] = 0
    volume = await opened(tmp_path)
    assert volume.info.voxel_size_nm == pytest.approx((4, 500, 40))
    await check_whole(volume, array)


async def test_pages_of_another_size_are_told_of(tmp_path: Path) -> None:
    array = noise("uint8", STACK)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in pages_of(array):
            writer.write(page, tile=TILE, metadata=None)
        writer.write(np.zeros((13, 14), np.uint8), metadata=None)
    volume = await opened(tmp_path)
    assert volume.info.notes[0] == "1 pages of the file are neither planes nor levels of its image."
    await check_whole(volume, array)


# Sizes


@pytest.mark.parametrize(
    ("options", "entry", "expected"),
    [
        ({"resolution": (1000, 2000), "resolutionunit": "centimeter"}, {}, (10_000, 5_000, 10_000)),
        ({"resolution": (25400, 25400), "resolutionunit": "inch"}, {}, (1000, 1000, 1000)),
        ({"resolution": (25400, 25400), "resolutionunit": "inch"}, {"scale": [2.1, 2.2]}, (2.1, 2.2, 1)),
        ({}, {"scale": [4, 5, 40]}, (4, 5, 40)),
        ({}, {"scale": [4, 5], "voxel_size": [8, 9, 10]}, (8, 9, 10)),
        ({}, {}, (1, 1, 1)),
    ],
)
async def test_voxel_size(
    tmp_path: Path, options: Mapping[str, Any], entry: Mapping[str, Any], expected: tuple[float, ...]
) -> None:
    write(tmp_path, pages_of(noise("uint8", PLANE))[0], **options)
    volume = await opened(tmp_path, **entry)
    assert volume.info.voxel_size_nm == pytest.approx(expected)
    assert any("1 nm is assumed" in note for note in volume.info.notes) == (not options and not entry)


async def test_voxel_size_of_ome_and_imagej(tmp_path: Path) -> None:
    size = {
        "PhysicalSizeX": 4,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.008,
        "PhysicalSizeZ": 4e-5,
        "PhysicalSizeZUnit": "mm",
    }
    save_ome(tmp_path / "a.tif", noise("uint8", STACK), [1, 2], size)
    assert (await opened(tmp_path)).info.voxel_size_nm == pytest.approx((4, 8, 40))
    pages = pages_of(noise("uint8", STACK))
    tifffile.imwrite(
        tmp_path / "a.tif",
        pages,
        imagej=True,
        resolution=(250, 125),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 0.04},
    )
    assert (await opened(tmp_path)).info.voxel_size_nm == pytest.approx((4, 8, 40))


@pytest.mark.parametrize("scale", [[1], [1, 2, 3, 4], [0, 1], ["1", "2"], 4, {"x": 1}])
async def test_scale_that_is_none(tmp_path: Path, scale: object) -> None:
    write(tmp_path, pages_of(noise("uint8", PLANE))[0])
    with pytest.raises(InvalidEntry, match=r"scale: expected positive numbers \[x, y\] or \[x, y, z\]"):
        await opened(tmp_path, scale=scale)


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


# Refused and broken


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
