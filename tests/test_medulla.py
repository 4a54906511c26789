"""The whole volume through both protocols, from every format, at every level: byte for byte what the array says."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudvolume
import numpy as np
import pytest
import zarr

from tests.servers import Server, running
from tests.volumes import Voxels
from wkdvid.core.geometry import Box
from wkdvid.core.pyramid import downsample

LEVELS = 3
FORMATS = ("precomputed", "zarr", "n5")
LAYERS = ("grey", "seg")


def pyramid(array: Voxels, kind: str) -> list[Voxels]:
    """Levels (x, y, z), each half the former, so that odd sides come up: 250, 125, 63."""
    levels = [array]
    for _ in range(LEVELS - 1):
        even = np.pad(levels[-1], [(0, n % 2) for n in levels[-1].shape])[None]
        extent = Box((0, 0, 0), levels[-1].shape)
        levels.append(downsample(even, (0, 0, 0), (2, 2, 2), extent, "segmentation" if kind == "seg" else "color")[0])
    return levels


@pytest.fixture(scope="module")
def arrays(medulla: Mapping[str, Voxels]) -> dict[str, list[Voxels]]:
    return {"grey": pyramid(medulla["grayscale"], "grey"), "seg": pyramid(medulla["bodies"], "seg")}


def write_with_cloudvolume(folder: Path, kind: str, levels: list[Voxels]) -> None:
    info = cloudvolume.CloudVolume.create_new_info(
        num_channels=1,
        layer_type="image" if kind == "grey" else "segmentation",
        data_type=levels[0].dtype.name,
        encoding="raw" if kind == "grey" else "compressed_segmentation",
        resolution=(10, 10, 10),
        voxel_offset=(0, 0, 0),
        volume_size=levels[0].shape,
        chunk_size=(64, 64, 64),
    )
    volume = cloudvolume.CloudVolume(
        f"file://{folder}", info=info, compress=False, progress=False, non_aligned_writes=True
    )
    for level in range(1, len(levels)):
        volume.add_scale((2**level,) * 3, chunk_size=(64, 64, 64))
    volume.commit_info()
    for level, array in enumerate(levels):
        volume.mip = level
        volume[:, :, :] = array[..., None]


def write_with_zarr(folder: Path, levels: list[Voxels]) -> None:
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    for level, array in enumerate(levels):
        stored = group.create_array(
            str(level),
            shape=array.T.shape,
            dtype=array.dtype,
            chunks=(32, 32, 32),
            shards=(64, 64, 64),
            dimension_names=("z", "y", "x"),
        )
        stored[:] = array.T
    axes: list[Any] = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    datasets: list[Any] = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [0.01 * 2**k] * 3}]}
        for k in range(len(levels))
    ]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}


def write_with_n5_writer(folder: Path, levels: list[Voxels]) -> None:
    """N5 by the format's text: big-endian blocks, cut at the edge, behind 16-bit mode and rank and 32-bit sizes."""
    folder.mkdir(parents=True)
    attributes = {
        "n5": "2.0.0",
        "pixelResolution": {"unit": "nm", "dimensions": [10, 10, 10]},
        "downsamplingFactors": [[2**k] * 3 for k in range(len(levels))],
    }
    (folder / "attributes.json").write_text(json.dumps(attributes))
    for level, array in enumerate(levels):
        place = folder / f"s{level}"
        place.mkdir()
        (place / "attributes.json").write_text(
            json.dumps(
                {
                    "dimensions": array.shape,
                    "blockSize": [64, 64, 64],
                    "dataType": array.dtype.name,
                    "compression": {"type": "raw"},
                }
            )
        )
        for index in np.ndindex(*(-(-n // 64) for n in array.shape)):
            block = array[tuple(slice(64 * i, 64 * i + 64) for i in index)]
            path = place.joinpath(*map(str, index))
            path.parent.mkdir(parents=True, exist_ok=True)
            out = io.BytesIO()
            out.write(np.array([0, 3], ">u2").tobytes() + np.array(block.shape, ">u4").tobytes())
            out.write(block.astype(block.dtype.newbyteorder(">")).tobytes("F"))
            path.write_bytes(out.getvalue())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, list[Voxels]]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("medulla")
    for layer, levels in arrays.items():
        write_with_cloudvolume(folder / "precomputed" / layer, layer, levels)
        write_with_zarr(folder / "zarr" / layer, levels)
        write_with_n5_writer(folder / "n5" / layer, levels)
    entries = {
        fmt: {
            "janelia": {
                fmt: {
                    "uuid": f"{fmt}0",
                    "layers": {
                        layer: {"source": f"{fmt}/{layer}", "type": "image" if layer == "grey" else "segmentation"}
                        for layer in LAYERS
                    },
                }
            }
        }
        for fmt in FORMATS
    }
    with running(folder, entries, workers=2) as running_server:
        yield running_server


@pytest.mark.parametrize("fmt", FORMATS)
def test_what_is_there(server: Server, fmt: str) -> None:
    source = server.get(f"/data/datasets/janelia/{fmt}").json()["dataSource"]
    assert source["scale"]["factor"] == [10, 10, 10]
    for layer in source["dataLayers"]:
        assert layer["boundingBox"] == {"topLeft": [0, 0, 0], "width": 250, "height": 250, "depth": 250}
        assert [mag["mag"] for mag in layer["mags"]] == [[1] * 3, [2] * 3, [4] * 3]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("level", range(LEVELS))
def test_webknossos_buckets(server: Server, arrays: dict[str, list[Voxels]], fmt: str, layer: str, level: int) -> None:
    array, mag = arrays[layer][level], 2**level
    grid = [-(-n // 32) for n in array.shape]
    padded = np.zeros([32 * n for n in grid], array.dtype)
    padded[tuple(map(slice, array.shape))] = array

    def column(x_y: tuple[int, ...]) -> None:
        x, y = x_y
        wanted = [
            {"position": [32 * mag * x, 32 * mag * y, 32 * mag * z], "mag": [mag] * 3, "cubeSize": 32}
            for z in range(grid[2])
        ]
        answer = server.buckets(f"janelia/{fmt}/layers/{layer}", *wanted)
        assert answer.headers["Failure-Bucket-Indices"] == "[]"
        empty = json.loads(answer.headers["Empty-Bucket-Indices"])
        cubes = [padded[32 * x : 32 * x + 32, 32 * y : 32 * y + 32, 32 * z : 32 * z + 32] for z in range(grid[2])]
        assert empty == [z for z, cube in enumerate(cubes) if not cube.any()]
        assert answer.content == b"".join(cube.tobytes("F") for cube in cubes if cube.any())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(column, np.ndindex(grid[0], grid[1])))


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("level", range(LEVELS))
def test_dvid_raw(server: Server, arrays: dict[str, list[Voxels]], fmt: str, level: int) -> None:
    for layer in LAYERS:
        array = arrays[layer][level]
        size = "_".join(map(str, array.shape))
        instance = f"grey_{level}" if layer == "grey" and level else layer
        scale = f"?scale={level}" if layer == "seg" else ""
        answer = server.get(f"/api/node/{fmt}0/{instance}/raw/0_1_2/{size}/0_0_0{scale}")
        assert answer.status_code == 200
        assert answer.content == array.tobytes("F")


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_whole_cutout_is_streamed(server: Server, arrays: dict[str, list[Voxels]], fmt: str) -> None:
    query = "mag=1&x=-5&y=0&z=-3&width=260&height=250&depth=256"
    body = server.get(f"/data/datasets/janelia/{fmt}/layers/seg/data?{query}").content
    expected = np.zeros((260, 250, 256), np.uint64)
    expected[5:255, :, 3:253] = arrays["seg"][0]
    assert body == expected.tobytes("F")
