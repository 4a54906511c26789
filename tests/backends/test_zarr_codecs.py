"""Codecs of zarr-python's that TensorStore lacks."""

from __future__ import annotations

import json
import lzma
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import CRC32, LZ4, LZMA, AsType, Blosc, Delta, FixedScaleOffset, Fletcher32, Shuffle, Zlib
from zarr.codecs import BloscCodec

from tests.backends.arrays import noise, sampled
from tests.backends.conftest import S3
from tests.backends.test_zarr import create_array, stored_array, write_array
from wkdvid.core.limits import Limits
from wkdvid.errors import CorruptChunk, InvalidEntry
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite, check, open_layers

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")

V2: Mapping[str, Mapping[str, Any]] = {
    "lz4": {"compressors": LZ4(), "dtype": ">u2", "order": "F", "fill_value": 515},
    "lzma": {"compressors": LZMA(), "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "delta": {"compressors": Blosc(), "filters": [Delta(dtype="<u2")], "fill_value": 7},
    "filters": {"compressors": Zlib(), "filters": [AsType("<u4", "<u2"), Shuffle(4), Fletcher32()]},
    "offset": {"compressors": None, "filters": [FixedScaleOffset(5, 1, "<u2", "<u4")]},
    "checked": {"compressors": LZ4(), "filters": [CRC32()], "order": "F"},
}


def codec(name: str, **configuration: Any) -> dict[str, Any]:
    """One of v3."""
    return {"name": f"numcodecs.{name}", "configuration": configuration}


V3: Mapping[str, Mapping[str, Any]] = {
    "lz4": {"compressors": codec("lz4"), "fill_value": 9},
    "delta": {"filters": codec("delta", dtype="<u2"), "compressors": codec("lzma")},
    "crc32": {"compressors": codec("crc32"), "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "shuffle": {"compressors": codec("shuffle", elementsize=2), "shards": (64, 64, 64), "fill_value": 9},
}


class TestForeignV2(VolumeSuite):
    @pytest.fixture(scope="class", params=["lz4"])
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return stored_array(tmp_path_factory.mktemp(request.param), zarr_format=2, **V2[request.param])


class TestForeignV3(VolumeSuite):
    @pytest.fixture(scope="class", params=["shuffle"])
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return stored_array(tmp_path_factory.mktemp(request.param), zarr_format=3, **V3[request.param])


@pytest.mark.parametrize(("version", "kind"), [*((2, kind) for kind in V2), *((3, kind) for kind in V3)])
async def test_every_codec(tmp_path: Path, version: int, kind: str) -> None:
    options = (V2 if version == 2 else V3)[kind]
    array = write_array(tmp_path / "a", noise("uint16"), zarr_format=version, **options)
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert volume.info.fill_value == options.get("fill_value", 0)
    assert volume.info.levels[0].chunk_shape == (32, 32, 32)
    check(await volume.read(0, StoredLevel(array=array).extent), array)
    chunk = min(path for path in (tmp_path / "a").rglob("*0") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    with pytest.raises(CorruptChunk):
        await volume.read(0, StoredLevel(array=array).extent)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("version", [2, 3])
async def test_dtypes(tmp_path: Path, dtype: str, version: int) -> None:
    lz4: Any = LZ4() if version == 2 else codec("lz4")
    array = write_array(tmp_path / "a", noise(dtype), zarr_format=version, fill_value=3, compressors=lz4)
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=array).extent), array)


@pytest.mark.parametrize("version", [2, 3])
async def test_encoding_and_a_fill_value_that_is_no_number(tmp_path: Path, version: int) -> None:
    lz4: Any = LZ4() if version == 2 else codec("lz4")
    array = write_array(tmp_path / "a", noise("float32"), zarr_format=version, fill_value=math.nan, compressors=lz4)
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert volume.info.levels[0].encoding == ("lz4" if version == 2 else "numcodecs.lz4")
    read = await volume.read(0, StoredLevel(array=array).extent)
    assert np.isnan(read[0, 40, 40, 5])
    check(read, array)


@pytest.mark.parametrize("chunks", [(50, 20, 80), (7, 66, 75), (41, 33, 11)])
async def test_chunks_of_any_shape(tmp_path: Path, chunks: tuple[int, ...]) -> None:
    """Larger than the array too; order F, empty filters and no fill value."""
    array = noise("uint16")
    options: Any = {"chunks": chunks, "zarr_format": 2, "compressors": LZ4(), "order": "F", "fill_value": 0}
    create_array(str(tmp_path / "a"), data=array[0].T, **options)
    document = json.loads((tmp_path / "a/.zarray").read_text())
    (tmp_path / "a/.zarray").write_text(json.dumps({**document, "filters": [], "fill_value": None}))
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=array).extent), array)


async def test_image_whose_levels_differ(tmp_path: Path) -> None:
    """The finest as TensorStore reads it, the next as zarr-python does."""
    array = noise("uint16")
    kinds: list[Mapping[str, Any]] = [{}, {"compressors": codec("lzma"), "shards": (64, 64, 64)}]
    levels = [
        StoredLevel(array=write_array(tmp_path / str(i), sampled(array, mag), **kind), mag=mag)
        for i, (mag, kind) in enumerate(zip([(1, 1, 1), (2, 2, 1)], kinds, strict=True))
    ]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [40, 8 * 2**i, 8 * 2**i]}]}
        for i in range(2)
    ]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    (tmp_path / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})
    )
    (volume,) = await open_layers("zarr", {"source": str(tmp_path)}, roots=[tmp_path])
    for i, level in enumerate(levels):
        check(await volume.read(i, level.extent), level.array)


async def test_channels_and_time(tmp_path: Path) -> None:
    stored = noise("uint16", (3, 20, 30), 2).reshape(2, 3, 1, 20, 30)
    create_array(str(tmp_path / "a"), data=stored, chunks=(1, 2, 1, 16, 16), zarr_format=2, compressors=LZ4())
    volumes = await open_layers("zarr", {"source": "a", "t": 1}, roots=[tmp_path])
    assert [volume.info.name for volume in volumes] == ["layer_c0", "layer_c1", "layer_c2"]
    for c, volume in enumerate(volumes):
        expected = np.asfortranarray(stored[1, c].transpose(2, 1, 0)[None])
        check(await volume.read(0, volume.info.levels[0].extent), expected)


async def test_shards_from_s3(tmp_path: Path, s3: S3) -> None:
    array = write_array(tmp_path / "a", noise("uint16"), **V3["shuffle"])
    (volume,) = await open_layers("zarr", {"source": f"{s3.upload(tmp_path)}a"}, s3=s3.options)
    check(await volume.read(0, StoredLevel(array=array).extent), array)


@pytest.mark.parametrize("version", [2, 3])
async def test_half_of_what_blosc_compressed(tmp_path: Path, version: int) -> None:
    v3 = {"filters": codec("delta", dtype="<u2"), "compressors": [BloscCodec(), codec("crc32")]}
    write_array(tmp_path / "a", noise("uint16"), zarr_format=version, **(V2["delta"] if version == 2 else v3))
    chunk = tmp_path / ("a/0.0.0" if version == 2 else "a/c/0/0/0")
    stored = chunk.read_bytes() if version == 2 else CRC32().decode(chunk.read_bytes())
    half = bytes(stored)[: len(stored) // 2]
    chunk.write_bytes(half if version == 2 else CRC32().encode(half))
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    with pytest.raises(CorruptChunk, match="no zarr chunk"):
        await volume.read(0, volume.info.levels[0].extent)


async def test_bomb_and_wrong_sizes(tmp_path: Path) -> None:
    """A chunk that inflates to more or less than is declared is corrupt, however much more."""
    write_array(tmp_path / "a", noise("uint8"), zarr_format=2, compressors=LZMA())
    chunk = tmp_path / "a/0.0.0"
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    for size in (0, 32**3 - 1, 32**3 + 1, 2 * 32**3, 3 * 10**8):
        compressor = lzma.LZMACompressor(preset=0)
        with chunk.open("wb") as file:
            for _ in range(size // 10**7):
                file.write(compressor.compress(bytes(10**7)))
            file.write(compressor.compress(bytes(size % 10**7)) + compressor.flush())
        with pytest.raises(CorruptChunk, match="no zarr chunk"):
            await volume.read(0, volume.info.levels[0].extent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zarr_format": 2, "filters": [{"id": "pickle"}]}, "filter 'pickle'"),
        ({"zarr_format": 2, "compressor": {"id": "pickle"}}, "compressor 'pickle'"),
        ({"zarr_format": 2, "filters": [{"id": "vlen-utf8"}]}, "filter 'vlen-utf8'"),
        ({"zarr_format": 2, "filters": [{"id": "json2"}], "dtype": "|O"}, r"type \|O"),
        ({"zarr_format": 3, "codecs": [{"name": "numcodecs.pickle"}]}, r"codec 'numcodecs\.pickle'"),
        ({"zarr_format": 3, "codecs": [{"name": "vlen-bytes"}]}, "codec 'vlen-bytes'"),
        ({"zarr_format": 2, "compressor": {"id": "zfpy"}}, "compressor 'zfpy'"),
    ],
)
async def test_what_is_not_safe_stays_refused(tmp_path: Path, options: Mapping[str, Any], message: str) -> None:
    create_array(str(tmp_path / "a"), shape=(8,) * 3, chunks=(8,) * 3, dtype="u1", zarr_format=options["zarr_format"])
    path = tmp_path / "a" / (".zarray" if options["zarr_format"] == 2 else "zarr.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **options}))
    with pytest.raises(InvalidEntry, match=message):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])


SHUFFLE = codec("shuffle", elementsize=2)
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def sharding(chunk_shape: int, codecs: list[Any], index_codecs: list[Any]) -> dict[str, Any]:
    members = {"chunk_shape": [chunk_shape] * 3, "codecs": codecs, "index_codecs": index_codecs}
    return {"name": "sharding_indexed", "configuration": members}


@pytest.mark.parametrize(
    "codecs",
    [
        [sharding(8, [sharding(4, [BYTES, SHUFFLE], [BYTES])], [BYTES])],
        [sharding(8, [BYTES], [BYTES, SHUFFLE])],
        [sharding(8, [BYTES], [BYTES]), SHUFFLE],
        [SHUFFLE, sharding(8, [BYTES], [BYTES])],
        [{"name": "transpose", "configuration": {"order": [2, 1, 0]}}, sharding(8, [BYTES, SHUFFLE], [BYTES])],
    ],
)
async def test_foreign_codecs_around_shards_are_refused_by_name(tmp_path: Path, codecs: list[Any]) -> None:
    create_array(str(tmp_path / "a"), shape=(16,) * 3, chunks=(16,) * 3, dtype="u2")
    document = json.loads((tmp_path / "a/zarr.json").read_text())
    (tmp_path / "a/zarr.json").write_text(json.dumps({**document, "codecs": codecs}))
    with pytest.raises(InvalidEntry, match=r"codec 'numcodecs\.shuffle'"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])


async def test_limits(tmp_path: Path) -> None:
    write_array(tmp_path / "a", noise("uint8"), zarr_format=2, compressors=LZ4())
    with pytest.raises(InvalidEntry, match=r"limits\.chunk_bytes"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path], limits=Limits(chunk_bytes=1000))


@pytest.mark.parametrize("version", [2, 3])
async def test_without_the_extra(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lz4: Any = LZ4() if version == 2 else codec("lz4")
    write_array(tmp_path / "a", noise("uint8"), zarr_format=version, compressors=lz4)
    array = write_array(tmp_path / "plain", noise("uint8"), zarr_format=version)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InvalidEntry, match=r"lz4' needs a package: pip install 'wkdvid\[codecs\]'"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    (volume,) = await open_layers("zarr", {"source": "plain"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=array).extent), array)
