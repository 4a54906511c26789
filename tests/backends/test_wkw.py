"""Layers of webKnossos datasets, their files written by the format's reference library or by the webknossos package."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.arrays import Array, grey, labels, noise
from tests.backends.conftest import S3
from tests.backends.wkw_files import PROPERTIES, read_properties, write_layer, write_mag, write_properties
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.volume import Volume
from wkdvid.errors import InvalidEntry, UpstreamUnavailable
from wkdvid.testing.faulty import FileServer
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite, check, make_backends, open_layers

KINDS: Mapping[str, Mapping[str, Any]] = {
    "raw": {"array": noise("uint8"), "mags": [(1, 1, 1), (2, 2, 1), (4, 4, 2)]},
    "lz4": {
        "array": noise("uint16"),
        "start": (37, 8, 101),
        "mags": [(1, 1, 1), (2, 2, 2)],
        "encoding": "lz4",
        "file": 4,
    },
    "lz4hc": {"array": labels("uint64"), "start": (5, 20, 3), "encoding": "lz4hc", "block": 32},
    "rgb": {"array": grey(channels=3), "start": (1, 2, 3), "encoding": "lz4", "block": 32, "file": 1},
}
DTYPES = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]
SMALL: Vec3 = (20, 21, 22)
REAL = Path(__file__).parent / "data" / "webknossos"


class TestWkw(VolumeSuite):
    @pytest.fixture(scope="class", params=KINDS)
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        folder = tmp_path_factory.mktemp(request.param)
        levels = write_layer(folder, **KINDS[request.param])
        return StoredVolume(
            folder=folder,
            backend="wkw",
            options=lambda base: {"source": base},
            levels=levels,
            chunk=str(min((folder / "em" / "1").rglob("x*.wkw")).relative_to(folder)),
        )


async def open_one(root: Path, source: str = "d", **options: Any) -> Volume:
    (volume,) = await open_layers("wkw", {"source": source, **options}, roots=[root])
    return volume


async def check_volume(volume: Volume, *levels: StoredLevel) -> None:
    assert [level.mag for level in volume.info.levels] == [level.mag for level in levels]
    for i, level in enumerate(levels):
        assert volume.info.levels[i].extent == level.extent
        check(await volume.read(i, level.extent), level.array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("encoding", ["raw", "lz4"])
async def test_every_dtype(tmp_path: Path, dtype: str, encoding: str) -> None:
    levels = write_layer(tmp_path / "d", noise(dtype, SMALL), start=(3, 4, 5), encoding=encoding)
    volume = await open_one(tmp_path)
    await check_volume(volume, *levels)
    assert volume.info.notes == ()


@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 2), ("uint8", 4), ("float32", 3)])
async def test_channels_become_layers(tmp_path: Path, dtype: str, channels: int) -> None:
    (level,) = write_layer(tmp_path / "d", noise(dtype, SMALL, channels), encoding="lz4", start=(1, 0, 2))
    volumes = await open_layers("wkw", {"source": "d"}, roots=[tmp_path])
    assert [volume.info.name for volume in volumes] == [f"layer_c{c}" for c in range(channels)]
    chosen = await open_one(tmp_path, channel=channels - 1)
    for c, volume in enumerate([*volumes[:-1], chosen]):
        check(await volume.read(0, level.extent), level.array[c : c + 1])
        assert volume.info.notes == ()


@pytest.mark.parametrize("encoding", ["raw", "lz4"])
async def test_jump_tables_of_many_pages(tmp_path: Path, encoding: str) -> None:
    """16 x 16 x 16 blocks in a file."""
    (level,) = write_layer(tmp_path / "d", noise("uint8", (70, 64, 60)), encoding=encoding, block=4, file=16)
    volume = await open_one(tmp_path)
    for start in ((0, 0, 0), (62, 30, 31), (27, 61, 3), (60, 50, 58)):
        box = Box.at(start, (9, 8, 7))
        check(await volume.read(0, box), level.cut(box))


async def test_facts(tmp_path: Path) -> None:
    write_layer(tmp_path / "d", labels("uint32", SMALL), category="segmentation", encoding="lz4hc", start=(4, 4, 4))
    document = read_properties(tmp_path / "d")
    document["scale"] = {"factor": [0.004, 0.004, 0.05], "unit": "micrometer"}
    document["dataLayers"][0]["largestSegmentId"] = 12345
    write_properties(tmp_path / "d", document)
    info = (await open_one(tmp_path)).info
    assert (info.format, info.category, info.largest_segment_id) == ("wkw", "segmentation", 12345)
    assert info.voxel_size_nm == pytest.approx((4, 4, 50))
    (level,) = info.levels
    assert (level.chunk_shape, level.chunk_origin, level.encoding) == ((16, 16, 16), (0, 0, 0), "lz4hc")
    assert (await open_one(tmp_path, type="image")).info.category == "color"


async def test_finest_mag_need_not_be_1(tmp_path: Path) -> None:
    """Coordinates stay webKnossos's; the entry's voxel size is that of the finest level."""
    levels = write_layer(tmp_path / "d", noise("uint8", SMALL), mags=[(1, 1, 1), (2, 2, 1), (4, 4, 2)])
    document = read_properties(tmp_path / "d")
    del document["dataLayers"][0]["mags"][0]
    write_properties(tmp_path / "d", document)
    volume = await open_one(tmp_path)
    await check_volume(volume, *levels[1:])
    assert volume.info.voxel_size_nm == (8.0, 8.0, 40.0)
    assert (await open_one(tmp_path, voxel_size=[10, 10, 30])).info.voxel_size_nm == (5.0, 5.0, 30.0)


async def test_every_file_may_be_packed_in_its_own_way(tmp_path: Path) -> None:
    (level,) = write_layer(tmp_path / "d", noise("uint16", (60, 40, 20)))
    write_mag(tmp_path / "packed", level.array, level.start, "lz4")
    shutil.copy(tmp_path / "packed/z0/y0/x1.wkw", tmp_path / "d/em/1/z0/y0/x1.wkw")
    await check_volume(await open_one(tmp_path), level)


# What the webknossos package writes


def by_position(dtype: str, box: Box, mag: Vec3, channels: int = 1) -> Array:
    """As data/README.md says."""
    places = [np.arange(channels), *(np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True))]
    c, x, y, z = np.meshgrid(*places, indexing="ij")
    voxels = (x // 4 + 3 * (y // 4) + 7 * (z // 4) + 50 * c + 11 * mag[0]) % 250 + 1
    return np.asfortranarray(voxels.astype(dtype))


async def open_dataset(root: Path, name: str, **options: Any) -> dict[str, Volume]:
    return await open_entry(root, {"source": name, **options})


async def open_entry(root: Path, entry: dict[str, Any]) -> dict[str, Volume]:
    backends = make_backends([root])
    entries, problems = backends.parse({"wkw": {"lab": {"data": entry}}})
    assert not problems
    return {one.volume.info.name: one.volume for one in await backends.open_layers(entries[0])}


async def test_a_dataset_of_the_webknossos_package() -> None:
    volumes = await open_dataset(REAL.parent, REAL.name)
    assert list(volumes) == ["color", "raw", "rgb", "two_c0", "two_c1", "ids", "zarr3", "zarr2"]
    whole = Box.at((10, 20, 30), (40, 30, 20))
    for name, volume in volumes.items():
        info, box = volume.info, Box.at((10, 20, 30), (6, 10, 2)) if name == "raw" else whole
        assert info.notes == ()
        assert info.voxel_size_nm == pytest.approx((8, 8, 40))
        assert info.category == ("segmentation" if name == "ids" else "color")
        assert info.largest_segment_id == (2**60 if name == "ids" else None)
        channel = 1 if name == "two_c1" else 0
        for i, level in enumerate(info.levels):
            extent = box.scaled_down(level.mag)
            expected = by_position(info.dtype.name, extent, level.mag, info.num_channels + channel)[channel:]
            check(await volume.read(i, extent), expected)
            assert level.extent == extent
    assert [level.mag for level in volumes["color"].info.levels] == [(1, 1, 1), (2, 2, 1)]
    assert [level.mag for level in volumes["rgb"].info.levels] == [(2, 2, 2)]
    assert [volumes[name].info.dtype.name for name in ("two_c0", "ids", "zarr2")] == ["int16", "uint64", "uint16"]
    with pytest.raises(InvalidEntry, match="layer zarr3 is stored as zarr; name its own folder"):
        await open_one(REAL.parent, REAL.name, layer="zarr3")


async def test_a_dataset_of_the_webknossos_package_over_http() -> None:
    with FileServer(REAL) as server:
        backends = make_backends(http_hosts=[server.host])
        entries, _ = backends.parse({"wkw": {"lab": {"data": {"source": f"{server.url}?token=1"}}}})
        for one in await backends.open_layers(entries[0]):
            place = Box.at((12, 22, 31), (1, 1, 1)).scaled_down(one.volume.info.levels[0].mag)
            assert (await one.volume.read(0, place)).all()


# Which layer is meant


async def test_one_layer_of_several(tmp_path: Path) -> None:
    (em,) = write_layer(tmp_path / "d", noise("uint8", SMALL))
    (ids,) = write_layer(tmp_path / "d", labels("uint32", SMALL), name="ids", category="segmentation")
    await check_volume(await open_one(tmp_path, layer="em"), em)
    await check_volume(await open_one(tmp_path, layer="ids"), ids)
    with pytest.raises(InvalidEntry, match="no WKW layer 'layer'; it has em, ids"):
        await open_one(tmp_path)
    volumes = await open_dataset(tmp_path, "d", layers={"em": {}, "labels": {"layer": "ids"}})
    await check_volume(volumes["em"], em)
    await check_volume(volumes["labels"], ids)
    with pytest.raises(InvalidEntry, match="layer: is an option of a layer"):
        await open_dataset(tmp_path, "d", layer="ids")


async def test_entries_of_webknossos_connect(tmp_path: Path) -> None:
    (em,) = write_layer(tmp_path / "binary/lab/data", noise("uint8", SMALL))
    folder = "binary/lab/data"
    for entry in ({}, {"path": folder}, {"path": folder, "source": "other"}, {"path": folder, "layers": {"em": {}}}):
        volumes = await open_entry(tmp_path, entry)
        assert list(volumes) == ["em"]
        await check_volume(volumes["em"], em)


async def test_layers_that_cannot_be_read_are_named_and_the_others_served(tmp_path: Path) -> None:
    (em,) = write_layer(tmp_path / "d", noise("uint8", SMALL), name="my layer..1")
    document = read_properties(tmp_path / "d")
    (layer,) = document["dataLayers"]
    document["dataLayers"] += [
        {**layer, "name": "far", "dataFormat": "n5"},
        {**layer, "name": "empty", "boundingBox": {"topLeft": [0, 0, 0], "width": 0, "height": 0, "depth": 0}},
        "no object",
    ]
    layer["coordinateTransformations"] = [{"type": "affine"}]
    write_properties(tmp_path / "d", document)
    volumes = await open_dataset(tmp_path, "d")
    assert list(volumes) == ["my_layer_.1"]
    await check_volume(volumes["my_layer_.1"], em)
    notes = volumes["my_layer_.1"].info.notes
    told = ["coordinateTransformations", "layer far: is stored as 'n5'", "layer empty", "dataLayers[3]"]
    assert all(words in note for note, words in zip(notes, told, strict=True))
    with pytest.raises(InvalidEntry, match="layer far: is stored as 'n5'"):
        await open_one(tmp_path, layer="far")


async def test_a_layers_folder_is_described_by_the_dataset_above(tmp_path: Path) -> None:
    levels = write_layer(tmp_path / "d", noise("uint8", SMALL), start=(3, 4, 5), mags=[(1, 1, 1), (2, 2, 1)])
    write_layer(tmp_path / "d", noise("uint16", SMALL), name="other")
    await check_volume(await open_one(tmp_path, "d/em"), *levels)
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("wkw", {"source": f"{server.url}d/em"}, http_hosts=[server.host])
        await check_volume(volume, *levels)


async def test_properties_of_old_datasets(tmp_path: Path) -> None:
    """``wkwResolutions`` whose mag may be one number, no paths, no unit, no number of channels."""
    levels = write_layer(tmp_path / "d", noise("uint8", SMALL), mags=[(1, 1, 1), (2, 2, 2), (4, 4, 2)])
    (tmp_path / "d/em/2").rename(tmp_path / "d/em/2-2-2")
    document = read_properties(tmp_path / "d")
    document["scale"] = [8, 8, 40]
    del document["version"], document["dataLayers"][0]["mags"], document["dataLayers"][0]["numChannels"]
    resolutions = [1, [2, 2, 2], [4, 4, 2]]
    document["dataLayers"][0]["wkwResolutions"] = [{"resolution": mag, "cubeLength": 32} for mag in resolutions]
    write_properties(tmp_path / "d", document)
    volume = await open_one(tmp_path)
    await check_volume(volume, *levels)
    assert volume.info.voxel_size_nm == (8.0, 8.0, 40.0)


# Folders that nothing describes


def whole_files(level: StoredLevel) -> Box:
    return level.extent.scaled_down((32, 32, 32)).scaled_up((32, 32, 32))


async def check_undescribed(volume: Volume, *levels: StoredLevel) -> None:
    assert [level.mag for level in volume.info.levels] == [level.mag for level in levels]
    assert volume.info.voxel_size_nm == (1.0, 1.0, 1.0)
    for i, level in enumerate(levels):
        assert volume.info.levels[i].extent == whole_files(level)
        check(await volume.read(i, whole_files(level)), level.cut(whole_files(level)))


@pytest.fixture
def undescribed(tmp_path: Path) -> list[StoredLevel]:
    mags = [(1, 1, 1), (2, 2, 1), (4, 4, 4)]
    levels = write_layer(tmp_path / "d", noise("uint8", (40, 30, 50)), start=(40, 0, 30), mags=mags, encoding="lz4")
    (tmp_path / "d" / PROPERTIES).unlink()
    (tmp_path / "d/em/mappings").mkdir()
    (tmp_path / "d/em/mappings/x0.wkw").touch()
    return levels


async def test_mags_by_the_names_of_their_folders(tmp_path: Path, undescribed: list[StoredLevel]) -> None:
    volume = await open_one(tmp_path, "d/em")
    await check_undescribed(volume, *undescribed)
    assert any("1 nm is assumed" in note for note in volume.info.notes)
    await check_undescribed(await open_one(tmp_path, "d/em/1"), undescribed[0])
    assert (await open_one(tmp_path, "d/em", voxel_size=[4, 4, 4])).info.notes == ()


async def test_mags_listed_by_s3(tmp_path: Path, undescribed: list[StoredLevel], s3: S3) -> None:
    (volume,) = await open_layers("wkw", {"source": s3.upload(tmp_path) + "d/em"}, s3=s3.options)
    await check_undescribed(volume, *undescribed)


@pytest.mark.usefixtures("undescribed")
async def test_web_servers_list_no_mags(tmp_path: Path) -> None:
    with FileServer(tmp_path) as server, pytest.raises(InvalidEntry, match="a web server does not list the mags"):
        await open_layers("wkw", {"source": f"{server.url}d/em"}, http_hosts=[server.host])


@pytest.mark.parametrize("encoding", ["raw", "lz4"])
async def test_from_s3(tmp_path: Path, s3: S3, encoding: str) -> None:
    levels = write_layer(
        tmp_path / "d", noise("uint16"), start=(3, 4, 5), mags=[(1, 1, 1), (2, 2, 1)], encoding=encoding
    )
    (volume,) = await open_layers("wkw", {"source": s3.upload(tmp_path) + "d"}, s3=s3.options)
    await check_volume(volume, *levels)


# What does not fit


async def test_mags_that_do_not_fit_are_named_and_the_others_served(tmp_path: Path) -> None:
    mags: list[Vec3] = [(1, 1, 1), (2, 2, 1), (4, 4, 1), (4, 4, 4), (8, 8, 2), (8, 8, 8), (16, 16, 16)]
    levels = write_layer(tmp_path / "d", noise("uint8", (40, 40, 40)), mags=mags)
    em = tmp_path / "d" / "em"
    shutil.rmtree(em / "2-2-1")
    shutil.rmtree(em / "4-4-1")
    write_mag(em / "4-4-1", noise("uint16", (10, 10, 40)), (0, 0, 0))
    (em / "8" / "header.wkw").write_bytes(b"WKW\x02" + bytes(12))
    volume = await open_one(tmp_path)
    await check_volume(volume, levels[0], levels[3], levels[6])
    for note, words in zip(
        volume.info.notes,
        ["2-2-1 is left out: .* no header.wkw", "4-4-1 is .* 1 x uint16", "8-8-2 .* finer", "8-8-8 .* version 1"],
        strict=True,
    ):
        assert re.search(words, note)


async def test_voxels_are_what_the_files_have(tmp_path: Path) -> None:
    (level,) = write_layer(tmp_path / "d", noise("uint16", SMALL))
    document = read_properties(tmp_path / "d")
    document["dataLayers"][0]["elementClass"] = "uint8"
    write_properties(tmp_path / "d", document)
    volume = await open_one(tmp_path)
    await check_volume(volume, level)
    assert "says 1 x uint8; the files have 1 x uint16" in volume.info.notes[0]


def in_layer(**members: Any) -> Callable[[Path], None]:
    def change(dataset: Path) -> None:
        document = read_properties(dataset)
        document["dataLayers"][0].update(members)
        write_properties(dataset, document)

    return change


def with_header(data: bytes) -> Callable[[Path], None]:
    def change(dataset: Path) -> None:
        (dataset / "em/1/header.wkw").write_bytes(data)

    return change


def without_layers(dataset: Path) -> None:
    write_properties(dataset, {"scale": [1, 1, 1], "dataLayers": []})


def without_scale(dataset: Path) -> None:
    write_properties(dataset, {**read_properties(dataset), "scale": [0, 1, 1]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_layers, "dataLayers: expected a list"),
        (without_scale, "scale: expected three positive numbers"),
        (in_layer(name=5), r"dataLayers\[0\]: expected an object with a name"),
        (in_layer(category="mesh"), "category: expected color or segmentation"),
        (in_layer(boundingBox=[1, 2]), "boundingBox: expected topLeft"),
        (in_layer(boundingBox={"topLeft": [-9] * 3, "width": 9, "height": 9, "depth": 9}), "holds no voxel"),
        (in_layer(mags=[]), "mags: expected a list"),
        (in_layer(mags=[{"mag": [0, 1, 1]}]), r"mags\[0\]: mag: expected three positive"),
        (in_layer(mags=[{"mag": 1, "path": "../../../etc"}]), "outside the directories"),
        (in_layer(mags=[{"mag": 1, "path": "s3://bucket/x"}]), "lies elsewhere by its own address"),
        (in_layer(mags=[{"mag": [n, 1, 1]} for n in range(1, 40)]), "limits.levels"),
        (with_header(b"WKW\x01\x59\x01\x01\x01" + bytes(8)), "limits.chunk_bytes"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    write_layer(tmp_path / "d", noise("uint8", (8, 8, 8)))
    change(tmp_path / "d")
    with pytest.raises(InvalidEntry, match=message):
        await open_one(tmp_path)


async def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(InvalidEntry, match="there are no mags"):
        await open_one(tmp_path)
    with pytest.raises(InvalidEntry, match="name a dataset's folder"):
        await open_dataset(tmp_path, "d")


async def test_no_level_is_left_out_for_a_passing_failure(tmp_path: Path) -> None:
    write_layer(tmp_path, noise("uint8", SMALL), mags=[(1, 1, 1), (2, 2, 1)])
    with FileServer(tmp_path) as server:
        server.fault = lambda path: 503 if path == "em/2-2-1/header.wkw" else None
        with pytest.raises(UpstreamUnavailable):
            await open_layers("wkw", {"source": server.url}, http_hosts=[server.host])


async def test_a_bucket_that_may_not_be_listed_refuses_what_it_lacks(tmp_path: Path) -> None:
    levels = write_layer(tmp_path / "d", noise("uint8", SMALL), mags=[(1, 1, 1), (2, 2, 2)])
    (tmp_path / "d/em/2").rename(tmp_path / "d/em/2-2-2")
    document = read_properties(tmp_path / "d")
    document["dataLayers"][0]["mags"] = [{"mag": 1}, {"mag": 2}]
    write_properties(tmp_path / "d", document)
    with FileServer(tmp_path) as server:
        server.fault = lambda path: None if (tmp_path / path).is_file() else 403
        (volume,) = await open_layers("wkw", {"source": f"{server.url}d/em"}, http_hosts=[server.host])
        await check_volume(volume, *levels)
