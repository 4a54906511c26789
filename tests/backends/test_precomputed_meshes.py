"""Meshes of precomputed volumes as the backend gives them: from buckets, beside stored pyramids, of hostile bytes."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.conftest import S3
from tests.mesh_files import add_to_info, in_order, read_by_cloud_volume, write_multi_lod
from tests.volumes import write_precomputed
from wkdvid.backends.apart import Decoding, decoded_apart
from wkdvid.backends.precomputed.manifest import MultiLodInfo, data_size, parse_manifest, parse_multi_lod
from wkdvid.backends.precomputed.sharding import parse_sharding
from wkdvid.core.joined_volume import join
from wkdvid.core.segments import StoresSegments
from wkdvid.core.volume import Volume
from wkdvid.errors import CorruptChunk
from wkdvid.testing.volume_suite import open_layers

SEGMENT = 2**60 + 7
INFO = {"vertex_quantization_bits": 10, "transform": [8, 0, 0, 1, 0, 8, 0, 2, 0, 0, 40, 3]}
SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "hash": "identity",
    "preshift_bits": 0,
    "minishard_bits": 1,
    "shard_bits": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    volume = tmp_path_factory.mktemp("segments") / "v"
    write_precomputed(volume, [((1, 1, 1), np.ones((8, 8, 8), np.uint64))], kind="segmentation")
    write_multi_lod(volume / "mesh", [SEGMENT], sharded=True)
    add_to_info(volume, mesh="mesh/")
    return volume


async def triangles_of(volume: Volume) -> Any:
    assert isinstance(volume, StoresSegments)
    meshes = await volume.meshes()
    assert meshes is not None
    assert meshes.name == "mesh"
    mesh = await meshes.find(SEGMENT)
    assert mesh is not None
    return [await meshes.read_triangles(mesh, mesh.levels[0], one) for one in mesh.levels[0].fragments]


async def test_meshes_in_a_bucket(folder: Path, s3: S3) -> None:
    (volume,) = await open_layers("precomputed", {"source": s3.upload(folder)}, s3=s3.options)
    expected = in_order(read_by_cloud_volume(folder, SEGMENT, 0))
    np.testing.assert_allclose(in_order(np.concatenate(await triangles_of(volume))), expected, atol=1e-2, rtol=0)


async def test_a_layer_with_a_stored_pyramid_keeps_its_meshes(folder: Path) -> None:
    (volume,) = await open_layers("precomputed", {"source": str(folder)}, roots=[folder])
    joined = join([volume])
    assert len(await triangles_of(joined)) == 4
    assert await joined.segment_properties() is None


def manifest(*, levels: int = 1, counts: tuple[int, ...] = (1,), rest: bytes = bytes(16)) -> bytes:
    head = struct.pack("<6fI", 1, 1, 1, 0, 0, 0, levels)
    return head + bytes(16 * levels) + struct.pack(f"<{len(counts)}I", *counts) + rest


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda data: manifest(rest=data)))
def test_any_bytes_are_a_manifest_or_corrupt(data: bytes) -> None:
    info = parse_multi_lod(INFO, "mesh")
    try:
        levels = parse_manifest(data, info, (1, 1, 1), "mesh")
    except CorruptChunk:
        return
    assert sum(len(level.fragments) for level in levels) * 16 <= len(data)
    assert data_size(levels) >= 0


def test_offsets_do_not_overflow() -> None:
    sizes = struct.pack("<6I", 0, 0, 0, 0, 0, 0) + struct.pack("<2I", 2**32 - 1, 2**32 - 1)
    (level,) = parse_manifest(manifest(counts=(2,), rest=sizes), parse_multi_lod(INFO, "m"), (1, 1, 1), "m")
    assert [one.offset for one in level.fragments] == [0, 2**32 - 1]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"vertex_quantization_bits": 0}, "vertex_quantization_bits"),
        ({"vertex_quantization_bits": "10"}, "vertex_quantization_bits"),
        ({"transform": [1] * 12}, "transform"),
        ({"transform": [-8, 0, 0, 1, 0, 8, 0, 2, 0, 0, 40, 3]}, "transform"),
        ({"transform": [float("nan"), 0, 0, 1, 0, 8, 0, 2, 0, 0, 40, 3]}, "transform"),
        ({"transform": [1, 2]}, "transform"),
        ({"transform": None}, "transform"),
        ({"sharding": []}, "sharding"),
        ({"sharding": {**SHARDING, "hash": "md5"}}, "sharding.hash"),
        ({"sharding": {**SHARDING, "minishard_bits": 1000}}, "sharding.minishard_bits"),
        ({"sharding": {**SHARDING, "shard_bits": -1}}, "sharding.shard_bits"),
        ({"sharding": {**SHARDING, "data_encoding": "zip"}}, "sharding.data_encoding"),
    ],
)
def test_an_info_that_is_none(changed: dict[str, Any], told: str) -> None:
    assert isinstance(parse_multi_lod(INFO, "mesh"), MultiLodInfo)
    with pytest.raises(CorruptChunk, match=told):
        parse_multi_lod({**INFO, **changed}, "mesh")


EVIL_SHARDS = {
    "endless index": struct.pack("<2Q", 0, 2**64 - 1),
    "far index": struct.pack("<2Q", 2**64 - 10, 2**64 - 1),
    "backward index": struct.pack("<2Q", 5, 4),
    "cut": b"12",
    "half an index": struct.pack("<2Q", 0, 8) + bytes(8),
    "endless manifest": struct.pack("<2Q3Q", 0, 24, SEGMENT, 0, 2**64 - 1),
    "far manifest": struct.pack("<2Q3Q", 0, 24, SEGMENT, 2**64 - 1, 28),
    "no manifest": struct.pack("<2Q3Q", 0, 24, SEGMENT, 0, 24),
    "fragments before the shard": struct.pack("<2Q3Q", 0, 24, SEGMENT, 24, 60)
    + struct.pack("<6fI4fI3II", 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1000),
}


@pytest.mark.parametrize("evil", EVIL_SHARDS)
async def test_shards_that_lie(folder: Path, tmp_path: Path, evil: str) -> None:
    shutil.copytree(folder, tmp_path / "v")
    one_shard = {**SHARDING, "minishard_bits": 0, "shard_bits": 0}
    (tmp_path / "v" / "mesh" / "info").write_text(
        json.dumps({"@type": "neuroglancer_multilod_draco", **INFO, "sharding": one_shard})
    )
    (tmp_path / "v" / "mesh" / "0.shard").write_bytes(EVIL_SHARDS[evil])
    (volume,) = await open_layers("precomputed", {"source": f"{tmp_path}/v"}, roots=[tmp_path])
    with pytest.raises(CorruptChunk):
        await triangles_of(volume)


@given(st.binary(max_size=100), st.integers(0, 2**64 - 1))
def test_any_bytes_are_an_index_or_corrupt(index: bytes, key: int) -> None:
    for packed in ("raw", "gzip"):
        sharding = parse_sharding({**SHARDING, "minishard_index_encoding": packed}, "sharding")
        try:
            found = sharding.find(index, key, 1000, "shard")
        except CorruptChunk:
            continue
        assert found is None or found.start >= sharding.data_start
    try:
        part = parse_sharding(SHARDING, "s").minishard_index(index[:16].ljust(16, b"\0"), "s")
    except CorruptChunk:
        return
    assert part.start >= 32


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_spoiled_draco_is_corrupt_or_triangles(at: int, byte: int) -> None:
    rng = np.random.default_rng(1)
    good = bytes(DracoPy.encode(rng.integers(0, 1000, (30, 3)).astype("u4"), rng.permutation(30).reshape(10, 3)))
    data = bytearray(good)
    data[at % len(data)] = byte
    decoding = Decoding(decoder="draco", shape=(-1, 3, 3), dtype=np.dtype("<f4"), order="C", most_bytes=10_000)
    try:
        found = asyncio.run(decoded_apart(decoding, bytes(data), "fragment"))
    except CorruptChunk:
        return
    assert found.shape[1:] == (3, 3)
    assert found.nbytes <= 10_000


async def test_draco_of_too_many_triangles_is_refused() -> None:
    vertices = np.random.default_rng(1).integers(0, 1000, (300, 3)).astype("u4")
    data = bytes(DracoPy.encode(vertices, np.arange(300).reshape(100, 3)))
    limited: dict[str, Any] = {"decoder": "draco", "shape": (-1, 3, 3), "dtype": np.dtype("<f4"), "order": "C"}
    assert len(await decoded_apart(Decoding(**limited, most_bytes=3600), data, "fragment")) == 100
    with pytest.raises(CorruptChunk):
        await decoded_apart(Decoding(**limited, most_bytes=3599), data, "fragment")
