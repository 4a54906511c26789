"""TensorStore's own specs of arrays that other libraries wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import LZ4

from tests.backends import test_n5, test_precomputed, test_zarr
from tests.backends.arrays import noise, sampled
from tests.backends.conftest import S3
from wkdvid.core.geometry import Vec3
from wkdvid.core.volume import StoresChunks
from wkdvid.errors import CorruptChunk, InvalidEntry
from wkdvid.testing.faulty import FileServer, redirected
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite, check, open_layers

MAGS: Sequence[Vec3] = ((1, 1, 1), (2, 2, 1), (4, 4, 3))


def write_levels(folder: Path, **options: Any) -> list[StoredLevel]:
    return [
        StoredLevel(array=test_zarr.write_array(folder / str(i), sampled(noise("uint16"), mag), **options), mag=mag)
        for i, mag in enumerate(MAGS)
    ]


def zarr3(folder: Path) -> StoredVolume:
    levels = write_levels(folder, fill_value=9)
    return StoredVolume(
        folder=folder,
        backend="tensorstore",
        options=lambda base: {"source": [{"driver": "zarr3", "kvstore": f"{base}{i}"} for i in range(3)]},
        levels=levels,
        chunk="0/c/0/0/0",
    )


def zarr2(folder: Path) -> StoredVolume:
    levels = write_levels(folder, zarr_format=2)
    return StoredVolume(
        folder=folder,
        backend="tensorstore",
        options=lambda base: {
            "source": [{"driver": "zarr", "kvstore": base, "path": str(i)} for i in range(3)],
            "mags": [list(mag) for mag in MAGS],
        },
        levels=levels,
        chunk="0/0.0.0",
    )


def n5(folder: Path) -> StoredVolume:
    array = test_n5.write_array(folder, "a", noise("uint16"), "blosc")
    return StoredVolume(
        folder=folder,
        backend="tensorstore",
        options=lambda base: {"source": {"driver": "n5", "kvstore": f"{base}a"}},
        levels=[StoredLevel(array=array)],
        chunk="a/0/0/0",
    )


def precomputed(folder: Path) -> StoredVolume:
    levels = test_precomputed.write(folder / "v", noise("uint8"), offset=(-13, 7, -100), factors=[(2, 2, 1), (4, 4, 2)])
    return StoredVolume(
        folder=folder,
        backend="tensorstore",
        options=lambda base: {"source": {"driver": "neuroglancer_precomputed", "kvstore": f"{base}v"}},
        levels=levels,
        chunk="v/8_8_40/-13-19_7-39_-100--84",
    )


def scales(folder: Path) -> StoredVolume:
    """One spec per scale."""
    driver = "neuroglancer_precomputed"
    levels = test_precomputed.write(folder / "v", noise("uint8"), offset=(-13, 7, -100), factors=[(2, 2, 1), (4, 4, 2)])
    return StoredVolume(
        folder=folder,
        backend="tensorstore",
        options=lambda base: {
            "source": [{"driver": driver, "kvstore": f"{base}v", "scale_index": i} for i in (2, 0, 1)]
        },
        levels=levels,
        chunk="v/8_8_40/-13-19_7-39_-100--84",
    )


FORMATS = {write.__name__: write for write in (zarr3, zarr2, n5, precomputed, scales)}


class TestSpecs(VolumeSuite):
    @pytest.fixture(scope="class", params=FORMATS)
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return FORMATS[request.param](tmp_path_factory.mktemp(request.param))


async def test_facts_of_precomputed(tmp_path: Path) -> None:
    stored = precomputed(tmp_path)
    (whole,) = await open_layers("tensorstore", stored.options(f"{tmp_path}/"), roots=[tmp_path])
    assert isinstance(whole, StoresChunks)
    assert whole.info.voxel_size_nm == pytest.approx((8, 8, 40))
    kvstore = {"driver": "file", "path": f"{tmp_path}/v"}
    one = {"driver": "neuroglancer_precomputed", "kvstore": kvstore, "scale_index": 1}
    (volume,) = await open_layers("tensorstore", {"source": one}, roots=[tmp_path])
    assert (volume.info.format, volume.info.voxel_size_nm, volume.info.notes) == ("tensorstore", (16.0, 16.0, 40.0), ())
    (level,) = volume.info.levels
    assert (level.chunk_shape, level.chunk_origin, level.encoding) == ((32, 32, 16), (-7, 3, -100), "raw")


async def test_offset_of_a_channel(tmp_path: Path) -> None:
    (level,) = test_precomputed.write(tmp_path / "v", noise("uint16", channels=2), offset=(-3, 4, 5))
    spec = {"driver": "neuroglancer_precomputed", "kvstore": f"{tmp_path}/v", "scale_index": 0}
    (volume,) = await open_layers("tensorstore", {"source": spec, "channel": 1}, roots=[tmp_path])
    assert volume.info.levels[0].extent == level.extent
    check(await volume.read(0, level.extent), level.array[1:])


async def test_transform(tmp_path: Path) -> None:
    """A transform moves, cuts and labels what is read."""
    array = test_zarr.write_array(tmp_path / "a", noise("uint8"))
    transform = {
        "input_labels": ["x", "z", "y"],
        "input_inclusive_min": [10, -5, 0],
        "input_exclusive_max": [20, 6, 66],
        "output": [{"input_dimension": 1, "offset": 7}, {"input_dimension": 2}, {"input_dimension": 0}],
    }
    spec = {"driver": "zarr3", "kvstore": f"{tmp_path}/a", "transform": transform}
    (volume,) = await open_layers("tensorstore", {"source": spec}, roots=[tmp_path])
    expected = StoredLevel(array=np.asfortranarray(array[:, 10:20, :, 2:13]), start=(10, 0, -5))
    assert volume.info.levels[0].extent == expected.extent
    check(await volume.read(0, expected.extent), expected.array)


@pytest.mark.parametrize(
    ("names", "attributes", "options", "size", "axes"),
    [
        (None, {}, {}, (1, 1, 1), "zyx"),
        (["x", "y", "z"], {}, {}, (1, 1, 1), "xyz"),
        (["x", "y", "z"], {}, {"axes": "yxz"}, (1, 1, 1), "yxz"),
        (["a", "b", "c"], {}, {}, (1, 1, 1), "zyx"),
        (["z", "y", "x"], {"dimension_units": ["0.04 um", "8 nm", "8 nm"]}, {}, (8, 8, 40), "zyx"),
        (["z", "y", "x"], {"dimension_units": ["s", "8 nm", "8 nm"]}, {}, (1, 1, 1), "zyx"),
        (None, {}, {"voxel_size": [4, 4, 30]}, (4, 4, 30), "zyx"),
    ],
)
async def test_axes_and_units(
    tmp_path: Path, names: Any, attributes: Mapping[str, Any], options: Mapping[str, Any], size: Any, axes: str
) -> None:
    stored = noise("uint16")[0]
    described = {"dimension_names": names, "attributes": attributes}
    test_zarr.create_array(str(tmp_path / "a"), data=stored, chunks=(32, 32, 32), **described)
    spec = {"driver": "zarr3", "kvstore": f"{tmp_path}/a"}
    (volume,) = await open_layers("tensorstore", {"source": spec, **options}, roots=[tmp_path])
    assert volume.info.voxel_size_nm == pytest.approx(size)
    assert bool(volume.info.notes) == (size == (1, 1, 1))
    expected = np.asfortranarray(stored.transpose([axes.index(letter) for letter in "xyz"])[None])
    check(await volume.read(0, volume.info.levels[0].extent), expected)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (None, {}, "expected a TensorStore spec"),
        ("gs://bucket/a", {}, "expected a TensorStore spec"),
        ([], {}, "expected a TensorStore spec"),
        ([{"driver": "zarr3", "kvstore": "0"}] * 33, {}, "limits.levels"),
        ({"driver": "zip", "kvstore": "0"}, {}, "spec.driver: not offered"),
        ({"driver": "zarr3", "kvstore": "/etc"}, {}, "outside"),
        ({"driver": "zarr3", "kvstore": {"driver": "memory"}}, {}, "kvstore.driver: not offered"),
        ({"driver": "zarr3", "kvstore": "0", "context": {}}, {}, "'context' is not allowed"),
        ({"driver": "zarr3", "kvstore": "0", "metadata": {"shape": "a"}}, {}, "not a valid spec.*shape"),
        ({"driver": "zarr3", "kvstore": "0"}, {"mags": [[1, 1]]}, "mags: expected 1 lists"),
        ({"driver": "zarr3", "kvstore": "0"}, {"mags": [[0, 1, 1]]}, "mags: expected 1 lists"),
        ({"driver": "zarr3", "kvstore": "0"}, {"axes": "xy"}, "expected 3 different letters"),
        ([{"driver": "zarr3", "kvstore": name} for name in ("0", "odd")], {}, "no whole division"),
        ([{"driver": "zarr3", "kvstore": name} for name in ("0", "bytes")], {}, "differ in their channels"),
    ],
)
async def test_refused(tmp_path: Path, source: Any, options: Mapping[str, Any], message: str) -> None:
    write_levels(tmp_path)
    test_zarr.write_array(tmp_path / "odd", noise("uint16", (50, 50, 41)))
    test_zarr.write_array(tmp_path / "bytes", noise("uint8"))
    with pytest.raises(InvalidEntry, match=message):
        await open_layers("tensorstore", {"source": source, **options}, roots=[tmp_path])


async def test_codecs_are_refused_by_name(tmp_path: Path) -> None:
    kind = {"shape": (8, 8, 8), "chunks": (8, 8, 8), "dtype": "uint8"}
    test_zarr.create_array(str(tmp_path / "a"), zarr_format=2, compressors=LZ4(), **kind)
    with pytest.raises(InvalidEntry, match=r"codec 'lz4' cannot be read through .* backend 'zarr'"):
        await open_layers("tensorstore", {"source": {"driver": "zarr", "kvstore": "a"}}, roots=[tmp_path])
    test_n5.write_array(tmp_path, "b", noise("uint8", (8, 8, 8)), "lz4")
    with pytest.raises(InvalidEntry, match=r"codec 'lz4' cannot be read through .* backend 'n5'"):
        await open_layers("tensorstore", {"source": {"driver": "n5", "kvstore": "b"}}, roots=[tmp_path])


async def test_metadata_that_does_not_fit(tmp_path: Path) -> None:
    test_zarr.write_array(tmp_path / "a", noise("uint8"))
    spec = {"driver": "zarr3", "kvstore": "a", "metadata": {"shape": [1, 2, 3]}}
    with pytest.raises(CorruptChunk):
        await open_layers("tensorstore", {"source": spec}, roots=[tmp_path])


@pytest.mark.parametrize("write", [zarr3, n5, precomputed])
async def test_from_s3(tmp_path: Path, s3: S3, write: Any) -> None:
    stored: StoredVolume = write(tmp_path)
    (volume,) = await open_layers("tensorstore", stored.options(s3.upload(tmp_path)), s3=s3.options)
    for i, level in enumerate(stored.levels):
        check(await volume.read(i, level.extent), level.array)


async def test_base_url(tmp_path: Path) -> None:
    stored = zarr3(tmp_path)
    with FileServer(tmp_path) as files, FileServer(tmp_path) as front:
        front.fault = lambda path: redirected(files.url + path)
        spec = {"driver": "zarr3", "kvstore": {"driver": "http", "base_url": front.url, "path": "1/"}}
        (volume,) = await open_layers("tensorstore", {"source": spec}, http_hosts=[files.host, front.host])
        check(await volume.read(0, stored.levels[1].extent), stored.levels[1].array)
        assert front.paths == ["1/zarr.json"]
        with pytest.raises(InvalidEntry, match="is refused"):
            await open_layers("tensorstore", {"source": spec})
