"""What TIFFs there are, one by one: samples, compressions, planes, sizes of voxels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.backends.arrays import Array, grey, noise
from tests.backends.tiff_planes import PLANE, TILE, check_whole, opened, write
from tests.backends.tiffs import pages_of, save_ome, save_with_vips, vips, voxels_of
from wkdvid.core.geometry import Vec3
from wkdvid.core.volume import Volume
from wkdvid.errors import InvalidEntry
from wkdvid.testing.volume_suite import check, open_layers

STACK: Vec3 = (45, 34, 5)


async def layers(folder: Path) -> list[Volume]:
    return await open_layers("tiff", {"source": "a.tif"}, roots=[folder])


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
