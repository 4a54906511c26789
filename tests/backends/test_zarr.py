"""Zarr arrays that zarr-python wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import BZ2, Blosc, Zlib, Zstd
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

from tests.backends.arrays import Array, noise
from tests.backends.conftest import S3
from wkdvid.core.geometry import Box
from wkdvid.core.limits import Limits
from wkdvid.errors import CorruptChunk, InvalidEntry
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite, check, open_layers

create_array: Any = zarr.create_array  # its types do not take options made at run time


def write_array(path: Path, array: Array, **options: Any) -> Array:
    """Write (c, x, y, z) as czyx, or as zyx where there is one channel; returns what must be read.

    Chunks of 32 voxels from (32, 32, 0) on hold the fill value, which zarr-python then leaves out.
    """
    fill: Any = options.setdefault("fill_value", 0)
    expected = array.copy(order="F")
    expected[:, 32:64, 32:64, :32] = fill
    stored = expected[0].T if len(expected) == 1 else expected.transpose(0, 3, 2, 1)
    chunks = options.pop("chunks", (32,) * stored.ndim)
    dtype = options.pop("dtype", array.dtype)
    written = create_array(str(path), shape=stored.shape, chunks=chunks, dtype=dtype, **options)
    written[...] = stored
    return expected


V2: Mapping[str, Mapping[str, Any]] = {
    "blosc": {"compressors": Blosc(cname="lz4"), "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "zlib": {"compressors": Zlib(), "dtype": ">u2", "fill_value": 515},
    "zstd": {"compressors": Zstd(), "order": "F", "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "bz2": {"compressors": BZ2(), "dtype": ">u2", "order": "F"},
    "raw": {"compressors": None, "fill_value": 7},
}
V3: Mapping[str, Mapping[str, Any]] = {
    "zstd": {"compressors": ZstdCodec(), "fill_value": 9},
    "gzip": {"compressors": GzipCodec(), "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "blosc": {"compressors": BloscCodec(cname="zstd"), "serializer": BytesCodec(endian="big")},
    "transposed": {"compressors": (ZstdCodec(), Crc32cCodec()), "filters": TransposeCodec(order=(2, 1, 0))},
    "sharded": {"compressors": ZstdCodec(), "shards": (64, 64, 64), "fill_value": 9},
    "raw": {"compressors": None},
}


ENCODINGS = {"transposed": "zstd", "sharded": "zstd"}
"""Where it is not the name."""


def stored_array(folder: Path, **options: Any) -> StoredVolume:
    array = write_array(folder / "array", noise("uint16"), **options)
    files = [path for path in (folder / "array").rglob("*") if path.is_file() and path.suffix != ".json"]
    return StoredVolume(
        folder=folder,
        backend="zarr",
        options=lambda base: {"source": f"{base}array"},
        levels=[StoredLevel(array=array)],
        chunk=str(min(path for path in files if path.name[0] != ".").relative_to(folder)),
    )


class TestV2(VolumeSuite):
    @pytest.fixture(scope="class", params=["blosc", "zlib", "zstd"])
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return stored_array(tmp_path_factory.mktemp(request.param), zarr_format=2, **V2[request.param])


class TestV3(VolumeSuite):
    @pytest.fixture(scope="class", params=["blosc", "transposed", "sharded"])
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return stored_array(tmp_path_factory.mktemp(request.param), zarr_format=3, **V3[request.param])


DTYPES = ["uint8", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", [2, 3])
async def test_every_dtype(tmp_path: Path, dtype: str, version: int) -> None:
    array = write_array(tmp_path / "a", noise(dtype), zarr_format=version, fill_value=3)
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert volume.info.fill_value == 3
    check(await volume.read(0, StoredLevel(array=array).extent), array)


async def test_facts(tmp_path: Path) -> None:
    write_array(tmp_path / "a", noise("uint16"), shards=(64, 64, 64), chunks=(32, 16, 8), fill_value=9)
    (volume,) = await open_layers("zarr", {"source": "a", "type": "segmentation"}, roots=[tmp_path])
    info = volume.info
    assert (info.category, info.format, info.voxel_size_nm) == ("segmentation", "zarr", (1.0, 1.0, 1.0))
    assert info.fill_value == 9
    assert "voxel size" in info.notes[0]
    (level,) = info.levels
    assert (level.chunk_shape, level.chunk_origin, level.encoding) == ((8, 16, 32), (0, 0, 0), "zstd")


@pytest.mark.parametrize(
    ("version", "kind", "encoding"),
    [*((2, name, name) for name in V2), *((3, name, ENCODINGS.get(name, name)) for name in V3)],
)
async def test_every_codec(tmp_path: Path, version: int, kind: str, encoding: str) -> None:
    options = (V2 if version == 2 else V3)[kind]
    array = write_array(tmp_path / "a", noise("uint16"), zarr_format=version, **options)
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert (volume.info.levels[0].encoding, volume.info.fill_value) == (encoding, options.get("fill_value", 0))
    check(await volume.read(0, StoredLevel(array=array).extent), array)


@pytest.mark.parametrize(
    "part",
    [
        Box((0, 0, 0), (40, 40, 40)),
        Box((33, 2, 31), (35, 90, 34)),
        Box((-9, 7, -2), (1, 8, 3)),
    ],
)
async def test_a_part(tmp_path: Path, part: Box) -> None:
    """What is beside it is outside, whatever the array holds there."""
    whole = StoredLevel(array=write_array(tmp_path / "a", noise("uint16"), shards=(64, 64, 64)))
    options = {"source": "a", "box": [[*part.start], [*part.stop]]}
    (volume,) = await open_layers("zarr", options, roots=[tmp_path])
    (level,) = volume.info.levels
    assert level.extent == whole.extent.intersect(part)
    assert (level.chunk_shape, level.chunk_origin) == ((32, 32, 32), (0, 0, 0))
    check(await volume.read(0, part), whole.cut(part))
    (x, y, z), (u, v, w) = level.extent.start, level.extent.stop
    for beside in (Box.at((x - 1, y, z), (1, 1, 1)), Box.at((u, v - 1, w - 1), (1, 1, 1))):
        assert not (await volume.read(0, beside)).any()


async def test_no_fill_value_and_none_that_is_a_number(tmp_path: Path) -> None:
    array = write_array(tmp_path / "null", noise("uint16"), zarr_format=2)
    document = json.loads((tmp_path / "null/.zarray").read_text())
    (tmp_path / "null/.zarray").write_text(json.dumps({**document, "fill_value": None}))
    (volume,) = await open_layers("zarr", {"source": "null"}, roots=[tmp_path])
    assert volume.info.fill_value == 0
    check(await volume.read(0, StoredLevel(array=array).extent), array)
    for version in (2, 3):
        array = write_array(tmp_path / f"nan{version}", noise("float32"), zarr_format=version, fill_value=float("nan"))
        (volume,) = await open_layers("zarr", {"source": f"nan{version}"}, roots=[tmp_path])
        read = await volume.read(0, StoredLevel(array=array).extent)
        assert np.isnan(read[0, 40, 40, 5])
        check(read, array)


async def test_shards_from_s3(tmp_path: Path, s3: S3) -> None:
    array = write_array(tmp_path / "a", noise("uint16"), **V3["sharded"])
    (volume,) = await open_layers("zarr", {"source": f"{s3.upload(tmp_path)}a"}, s3=s3.options)
    check(await volume.read(0, StoredLevel(array=array).extent), array)


# Axes


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ("yx", None),
        ("zyx", None),
        ("czyx", None),
        ("tczyx", None),
        ("xyz", "option"),
        ("xyzc", "option"),
        ("cxyz", "names"),
        ("tzyx", "names"),
        ("azyx", "option"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
async def test_axes(tmp_path: Path, axes: str, named: str | None, version: int) -> None:
    sizes = {"x": 12, "y": 11, "z": 10 if "z" in axes else 1, "c": 2 if "c" in axes else 1, "t": 3, "a": 1}
    stored = noise("uint16", (1, 1, int(np.prod([sizes[letter] for letter in axes])))).reshape([sizes[a] for a in axes])
    names = {"dimension_names": list(axes)} if version == 3 and named == "names" else {}
    written = create_array(str(tmp_path / "a"), data=stored, chunks=stored.shape, zarr_format=version, **names)
    if named == "names" and version == 2:
        written.attrs["_ARRAY_DIMENSIONS"] = list(axes)
    options = {"axes": axes} if named == "option" else {}
    index = tuple({"t": 2, "a": 0}.get(letter, slice(None)) for letter in axes)
    rest = [letter for letter in axes if letter not in "ta"]
    missing = [letter for letter in "cxyz" if letter not in rest]
    full = np.expand_dims(stored[index], tuple(range(len(missing))))
    expected = full.transpose([[*missing, *rest].index(letter) for letter in "cxyz"])
    time = {"t": 2} if "t" in axes else {}
    volumes = await open_layers("zarr", {"source": "a", **options, **time}, roots=[tmp_path])
    assert len(volumes) == sizes["c"]
    for c, volume in enumerate(volumes):
        check(await volume.read(0, volume.info.levels[0].extent), np.asfortranarray(expected[c : c + 1]))
    if "t" in axes:
        assert any("3 time points; t = 2" in note for note in volumes[0].info.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": "zy"}, "expected 3 different letters"),
        ({"axes": "zyz"}, "expected 3 different letters"),
        ({"axes": "zyc"}, "with x and y"),
        ({"axes": "ZYX"}, "expected 3"),
        ({"axes": 3}, "expected 3"),
        ({"axes": "ayx"}, "axis 'a' has 41 positions"),
        ({"axes": "tyx", "t": 41}, "from 0 to 40, got 41"),
        ({"axes": "tyx", "t": -1}, "from 0 to 40"),
        ({"axes": "tyx", "t": True}, "from 0 to 40"),
        ({"t": 0}, "no axis t"),
        ({"axes": "cyx", "channel": 41}, "channel: .* from 0 to 40"),
        ({"box": [[0, 0, 0], [-1, 9, 9]]}, "before start"),
        ({"box": [[900, 0, 0], [901, 9, 9]]}, "box: no voxel is in it; the voxels go from .0, 0, 0. to"),
        *(({"box": box}, "box: expected") for box in (3, [], [[0, 0, 0]], [[0, 0, 0], [1, 1, 1.5]], [[0, 0], [1, 1]])),
        ({"box": [[0, 0, 0], [2**60, 1, 1]]}, "box: expected"),
    ],
)
async def test_bad_options(tmp_path: Path, options: Mapping[str, Any], message: str) -> None:
    write_array(tmp_path / "a", noise("uint8"))
    with pytest.raises(InvalidEntry, match=message):
        await open_layers("zarr", {"source": "a", **options}, roots=[tmp_path])


# What TensorStore cannot read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zarr_format": 2, "dtype": "float16"}, "type float16"),
        ({"zarr_format": 2, "dtype": "complex64"}, "type complex64"),
        ({"zarr_format": 2, "dtype": "bool"}, "type bool"),
        ({"zarr_format": 3, "dtype": "float16"}, "type float16"),
        ({"zarr_format": 3, "dtype": "bool"}, "type bool"),
        ({"zarr_format": 3, "dtype": "complex128"}, "type complex128"),
    ],
)
async def test_types_are_refused_by_name(tmp_path: Path, options: Mapping[str, Any], message: str) -> None:
    kind = {"dtype": "uint16", **options}
    create_array(str(tmp_path / "a"), shape=(8, 8, 8), chunks=(8, 8, 8), **kind)
    with pytest.raises(InvalidEntry, match=message):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])


async def test_structures_are_refused(tmp_path: Path) -> None:
    create_array(str(tmp_path / "a"), shape=(8, 8, 8), chunks=(8, 8, 8), dtype="uint8", zarr_format=2)
    document = json.loads((tmp_path / "a/.zarray").read_text())
    (tmp_path / "a/.zarray").write_text(json.dumps({**document, "dtype": [["r", "<u1"], ["g", "<u1"]]}))
    with pytest.raises(InvalidEntry, match=r"voxels of type .*'r'"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])


async def test_limits(tmp_path: Path) -> None:
    shape = (4096, 4096, 4096)
    create_array(str(tmp_path / "chunk"), shape=shape, chunks=(1024, 1024, 1024), dtype="uint8")
    create_array(str(tmp_path / "index"), shape=shape, chunks=(8, 8, 8), shards=(2048, 2048, 2048), dtype="uint8")
    create_array(str(tmp_path / "rank"), shape=(1,) * 6, chunks=(1,) * 6, dtype="uint8")
    for name, message in (("chunk", "limits.chunk_bytes"), ("index", "index of one shard .*limits.chunk_bytes")):
        with pytest.raises(InvalidEntry, match=message):
            await open_layers("zarr", {"source": name}, roots=[tmp_path], limits=Limits())
    with pytest.raises(InvalidEntry, match="6 dimensions"):
        await open_layers("zarr", {"source": "rank"}, roots=[tmp_path])
    with pytest.raises(InvalidEntry, match="expected 6"):
        await open_layers("zarr", {"source": "rank", "axes": "abczyx"}, roots=[tmp_path])


@pytest.mark.parametrize("text", ["{", "[]", '"a"', "[" * 100_000, '{"a":' * 70 + "1" + "}" * 70])
async def test_broken_documents(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/zarr.json").write_text(text)
    with pytest.raises(CorruptChunk, match=r"zarr\.json"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])


# Places


async def test_format_prefix_chooses_the_version(tmp_path: Path) -> None:
    two = write_array(tmp_path / "a", noise("uint8", seed=2), zarr_format=2)
    three = write_array(tmp_path / "a", noise("uint8", seed=3), zarr_format=3, overwrite=False)
    for prefix, array in (("zarr2://", two), ("zarr3://", three), ("zarr://", three), ("", three)):
        (volume,) = await open_layers("zarr", {"source": f"{prefix}{tmp_path}/a"}, roots=[tmp_path])
        check(await volume.read(0, StoredLevel(array=array).extent), array)
