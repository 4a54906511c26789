"""Precomputed volumes that cloud-volume wrote."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloudvolume import CloudVolume
from cloudvolume.lib import Bbox
from PIL import Image

from tests.backends.arrays import Array, grey, labels, noise
from tests.backends.conftest import S3
from wkdvid.core.geometry import Vec3
from wkdvid.core.limits import Limits
from wkdvid.core.volume import StoresChunks
from wkdvid.errors import AuthRejected, InvalidEntry, UpstreamUnavailable
from wkdvid.testing.faulty import Answer, FileServer, none, on, redirected
from wkdvid.testing.volume_suite import (
    StoredLevel,
    StoredVolume,
    VolumeSuite,
    check,
    make_backends,
    open_layers,
    open_with,
)

CHUNK: Vec3 = (32, 32, 16)
LABEL_ENCODINGS = {"compressed_segmentation", "compresso", "crackle"}
SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "hash": "identity",
    "minishard_bits": 2,
    "shard_bits": 3,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


def write(
    folder: Path,
    array: Array,
    *,
    offset: Vec3 = (0, 0, 0),
    encoding: str = "raw",
    factors: Sequence[Vec3] = (),
    compress: bool | str = False,
    sharding: Mapping[str, Any] | None = None,
) -> list[StoredLevel]:
    """Write a volume with coarser levels of noise, ``factors`` times the finest; cloud-volume says where they lie."""
    info = CloudVolume.create_new_info(
        num_channels=array.shape[0],
        layer_type="segmentation" if encoding in LABEL_ENCODINGS else "image",
        data_type=array.dtype.name,
        encoding=encoding,
        resolution=[8, 8, 40],
        voxel_offset=offset,
        volume_size=array.shape[1:],
        chunk_size=CHUNK,
    )
    if sharding is not None:
        info["scales"][0]["sharding"] = dict(sharding)
    volume = CloudVolume(f"file://{folder}", info=info, compress=compress, progress=False, bounded=False)
    for factor in factors:
        volume.add_scale(factor, chunk_size=CHUNK, encoding=encoding)
    volume.commit_info()
    levels = [StoredLevel(array=array, start=offset)]
    for i, factor in enumerate(factors, 1):
        start, size = vector(volume.mip_voxel_offset(i)), vector(volume.mip_volume_size(i))
        if encoding in LABEL_ENCODINGS:
            coarse = labels(array.dtype.name, size)
        else:
            coarse = noise(array.dtype.name, size, array.shape[0], seed=i)
        levels.append(StoredLevel(array=coarse, start=start, mag=factor))
    for i, level in enumerate(levels):
        (write_sharded if sharding else write_plain)(folder, i, level, compress)
    return levels


def vector(numbers: Iterable[Any]) -> Vec3:
    x, y, z = (int(n) for n in numbers)
    return (x, y, z)


def write_plain(folder: Path, mip: int, level: StoredLevel, compress: bool | str) -> None:
    volume = CloudVolume(
        f"file://{folder}", mip=mip, compress=compress, progress=False, non_aligned_writes=True, fill_missing=True
    )
    volume[:, :, :] = np.moveaxis(level.array, 0, 3)


def write_sharded(folder: Path, mip: int, level: StoredLevel, _: object) -> None:
    """One shard after the other, as igneous does."""
    volume = CloudVolume(f"file://{folder}", mip=mip, progress=False)
    (folder / volume.key).mkdir()
    size, array = volume.image.shard_shape(mip), np.moveaxis(level.array, 0, 3)
    size = vector(size)
    for corner in itertools.product(*(range(0, array.shape[axis], size[axis]) for axis in range(3))):
        part = array[tuple(slice(at, at + n) for at, n in zip(corner, size, strict=True))]
        start = np.array(level.start) + corner
        name, content = volume.image.make_shard(part, Bbox(start, start + part.shape[:3]), mip)
        (folder / volume.key / name).write_bytes(content)


KINDS: Mapping[str, Mapping[str, Any]] = {
    "uint8": {"array": noise("uint8"), "offset": (-13, 7, -100), "factors": [(2, 2, 1), (4, 4, 1), (8, 8, 2)]},
    "uint64": {"array": noise("uint64"), "factors": [(3, 2, 2)]},
    "rgb": {"array": noise("uint8", channels=3), "offset": (5, 6, 7)},
    "segmentation64": {
        "array": labels("uint64"),
        "encoding": "compressed_segmentation",
        "factors": [(2, 2, 2)],
    },
    "sharded": {"array": noise("uint16"), "offset": (-13, 7, -100), "sharding": SHARDING},
    "sharded_segmentation": {
        "array": labels("uint64"),
        "encoding": "compressed_segmentation",
        "sharding": {**SHARDING, "hash": "murmurhash3_x86_128", "minishard_bits": 6, "shard_bits": 0},
    },
}


def stored_volume(folder: Path, levels: Sequence[StoredLevel], tolerance: int = 0, **facts: bool) -> StoredVolume:
    finest = folder / json.loads((folder / "info").read_text())["scales"][0]["key"]
    return StoredVolume(
        folder=folder,
        backend="precomputed",
        options=lambda base: {"source": base},
        levels=levels,
        chunk=str(min(finest.iterdir()).relative_to(folder)),
        tolerance=tolerance,
        **facts,
    )


class TestPrecomputed(VolumeSuite):
    @pytest.fixture(scope="class", params=KINDS)
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        folder = tmp_path_factory.mktemp(request.param) / "volume"
        levels = write(folder, **KINDS[request.param])
        return stored_volume(folder, levels, empty_is_absent=request.param == "sharded")


class TestJpeg(VolumeSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def stored(cls, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        folder = tmp_path_factory.mktemp("jpeg") / "volume"
        return stored_volume(folder, write(folder, grey(channels=3), encoding="jpeg"), tolerance=24)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int8", "int16", "int32", "float32"])
async def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    (level,) = write(tmp_path / "v", noise(dtype), offset=(0, -5, 3))
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    check(await volume.read(0, level.extent), level.array)


async def test_grey_jpeg(tmp_path: Path) -> None:
    (level,) = write(tmp_path / "v", grey(), encoding="jpeg")
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    array = await volume.read(0, level.extent)
    check(array, level.array, tolerance=24)
    assert isinstance(volume, StoresChunks)
    (stored,) = await volume.stored_chunks(0, [(1, 1, 1)])
    assert isinstance(stored, bytes)
    picture = np.asarray(Image.open(io.BytesIO(stored))).reshape(CHUNK[::-1])
    np.testing.assert_array_equal(picture.transpose(2, 1, 0), array[0, 32:64, 32:64, 16:32])


async def test_facts(tmp_path: Path) -> None:
    (written,) = write(tmp_path / "v", labels("uint32"), encoding="compressed_segmentation", offset=(-64, 0, 9))
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    info = volume.info
    assert (info.category, info.format, info.voxel_size_nm) == ("segmentation", "precomputed", (8.0, 8.0, 40.0))
    (level,) = info.levels
    assert (level.chunk_shape, level.chunk_origin, level.encoding) == (CHUNK, (-64, 0, 9), "compressed_segmentation")
    check(await volume.read(0, written.extent), written.array)


@pytest.mark.parametrize("channels", [2, 4])
async def test_channels_become_layers(tmp_path: Path, channels: int) -> None:
    (level,) = write(tmp_path / "v", noise("uint16", channels=channels), offset=(-3, 4, 5))
    volumes = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    assert [volume.info.name for volume in volumes] == [f"layer_c{c}" for c in range(channels)]
    (chosen,) = await open_layers("precomputed", {"source": "v", "channel": channels - 1}, roots=[tmp_path])
    for c, volume in enumerate([*volumes[:-1], chosen]):
        check(await volume.read(0, level.extent), level.array[c : c + 1])


async def test_absent_chunk_is_zero(tmp_path: Path) -> None:
    (level,) = write(tmp_path / "v", noise("uint8"))
    (tmp_path / "v/8_8_40/32-64_0-32_16-32").unlink()
    expected = level.array.copy(order="F")
    expected[:, 32:64, 0:32, 16:32] = 0
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    check(await volume.read(0, level.extent), expected)


@pytest.mark.parametrize("sharding", [None, SHARDING])
async def test_stored_chunks(tmp_path: Path, sharding: Mapping[str, Any] | None) -> None:
    offset = (-13, 7, -100)
    write(tmp_path / "v", array := noise("uint16"), offset=offset, sharding=sharding)
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    assert isinstance(volume, StoresChunks)
    for index in ((0, 0, 0), (2, 2, 2), (1, 0, 2)):
        x, y, z = (slice(i * n, (i + 1) * n) for i, n in zip(index, CHUNK, strict=True))
        assert await volume.stored_chunks(0, [index]) == [array[0, x, y, z].tobytes("F")]


async def test_absent_failed_and_refused_stored_chunks(tmp_path: Path) -> None:
    """What a server sends instead of a chunk is not inspected, but its status is."""
    (level,) = write(tmp_path, noise("uint8"))
    answers = {"0-32_0-32_0-16": 404, "32-64_0-32_0-16": 503, "64-75_0-32_0-16": 403, "0-32_32-64_0-16": 410}
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
        assert isinstance(volume, StoresChunks)
        server.fault = lambda path: answers.get(path.partition("/")[2])
        indices = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0)]
        absent, failed, refused, gone, there = await volume.stored_chunks(0, indices)
    assert absent is None
    assert isinstance(failed, UpstreamUnavailable)
    assert isinstance(refused, AuthRejected)
    assert isinstance(gone, UpstreamUnavailable)
    assert there == level.array[0, 32:64, 32:64, :16].tobytes("F")


@pytest.mark.parametrize("compress", ["gzip", "br"])
async def test_packed_chunks_of_a_server_that_knows_nothing_of_them(tmp_path: Path, compress: str) -> None:
    levels = write(tmp_path, noise("uint8"), compress=compress, factors=[(2, 2, 1)])
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
        for i, level in enumerate(levels):
            check(await volume.read(i, level.extent), level.array)
        server.fault = on("8_8_40/*", 503)  # which keeps nobody from opening it
        (volume,) = await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
        with pytest.raises(UpstreamUnavailable):
            await volume.read(0, levels[0].extent)


async def test_packed_chunks_of_a_server_that_says_so(tmp_path: Path) -> None:
    """As docs/backends/precomputed.md proposes."""
    (level,) = write(tmp_path, noise("uint8"), compress="gzip")
    with FileServer(tmp_path) as server:

        def packed(path: str) -> Answer | None:
            file = tmp_path / f"{path}.gz"
            return Answer(body=file.read_bytes(), headers={"Content-Encoding": "gzip"}) if file.is_file() else None

        server.fault = packed
        (volume,) = await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
        check(await volume.read(0, level.extent), level.array)


async def test_png_chunks_that_pillow_wrote(tmp_path: Path) -> None:
    (level,) = write(tmp_path / "v", noise("uint16"))
    info = json.loads((tmp_path / "v/info").read_text())
    info["scales"][0]["encoding"] = "png"
    (tmp_path / "v/info").write_text(json.dumps(info))
    for chunk in (tmp_path / "v" / info["scales"][0]["key"]).iterdir():
        width = 32 if not chunk.name.startswith("64-") else 11
        Image.fromarray(np.frombuffer(chunk.read_bytes(), "<u2").reshape(-1, width)).save(chunk, "png")
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    check(await volume.read(0, level.extent), level.array)


async def test_odd_scale_is_left_out(tmp_path: Path) -> None:
    levels = write(tmp_path / "v", noise("uint8"), factors=[(2, 2, 1), (4, 4, 1)])
    info = json.loads((tmp_path / "v/info").read_text())
    info["scales"][0]["encoding"] = "fractal"
    info["data_type"] = "UINT8"
    info["scales"].reverse()
    (tmp_path / "v/info").write_text(json.dumps(info))
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    assert [level.mag for level in volume.info.levels] == [(1, 1, 1), (2, 2, 1)]
    assert "stored as fractal, which cannot be read" in volume.info.notes[0]
    for i, level in enumerate(levels[1:]):
        check(await volume.read(i, level.extent), level.array)


def _int64(info: dict[str, Any]) -> None:
    info["data_type"] = "int64"


def _fpzip(info: dict[str, Any]) -> None:
    info["scales"][0]["encoding"] = "fpzip"


def _no_scales(info: dict[str, Any]) -> None:
    info["scales"] = []


def _far_key(info: dict[str, Any]) -> None:
    info["scales"][0]["key"] = "../../../../etc"


def _large_chunk(info: dict[str, Any]) -> None:
    info["scales"][0]["chunk_sizes"] = [[1024, 1024, 1024]]


def _odd_sharding(info: dict[str, Any]) -> None:
    info["scales"][0]["sharding"] = "none"


def _many_scales(info: dict[str, Any]) -> None:
    info["scales"] = [{**info["scales"][0], "resolution": [2**i] * 3, "key": str(i)} for i in range(40)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_int64, "data_type 'int64'"),
        (_fpzip, "fpzip, which has no 1 x uint8.*convert"),
        (_no_scales, "at least one scale"),
        (_far_key, "outside"),
        (_large_chunk, "limits.chunk_bytes"),
        (_odd_sharding, r"scales\[0\].sharding: expected an object"),
        (_many_scales, "limits.levels"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, change: Any, message: str) -> None:
    """F26, of what is declared."""
    write(tmp_path / "v", noise("uint8", (8, 8, 8)))
    info = json.loads((tmp_path / "v/info").read_text())
    change(info)
    (tmp_path / "v/info").write_text(json.dumps(info))
    with pytest.raises(InvalidEntry, match=message):
        await open_layers("precomputed", {"source": "v"}, roots=[tmp_path], limits=Limits())


async def test_no_volume_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidEntry, match="no info file"):
        await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])


@pytest.mark.parametrize(
    "options",
    [{"factors": [(2, 2, 1)]}, {"sharding": {**SHARDING, "data_encoding": "raw", "preshift_bits": 0, "shard_bits": 4}}],
)
async def test_from_s3(tmp_path: Path, s3: S3, options: Mapping[str, Any]) -> None:
    levels = write(tmp_path / "v", noise("uint16"), offset=(-13, 7, -100), **options)
    (volume,) = await open_layers("precomputed", {"source": s3.upload(tmp_path) + "v"}, s3=s3.options)
    for i, level in enumerate(levels):
        check(await volume.read(i, level.extent), level.array)


async def test_redirects_are_followed_once(tmp_path: Path) -> None:
    (level,) = write(tmp_path / "v", noise("uint8"))
    with FileServer(tmp_path) as files, FileServer(tmp_path) as front:
        front.fault = lambda path: redirected(f"{files.url}v/{path}")
        hosts = [files.host, front.host]
        (volume,) = await open_layers("precomputed", {"source": front.url}, http_hosts=hosts)
        check(await volume.read(0, level.extent), level.array)
        assert set(front.paths) == {"info"}
        with pytest.raises(InvalidEntry, match=r"http to '127\.0\.0\.1' is refused"):
            await open_layers("precomputed", {"source": front.url}, http_hosts=[front.host])


async def test_who_keeps_what_is_read_has_to_see_that_the_source_is_there(tmp_path: Path) -> None:
    """F9: a look that fails does not make what is absent empty. Who shows it goes on."""
    write(tmp_path / "v", noise("uint8"))
    with FileServer(tmp_path) as server:
        for look_s in (0.0, 1e-9):
            backends = make_backends(http_hosts=[server.host], look_s=look_s)
            (volume,) = await open_with(backends, "precomputed", {"source": f"{server.url}v"})
            server.fault = on("v/info", 503)
            if look_s:
                await volume.read(0, volume.info.levels[0].extent)
            else:
                with pytest.raises(UpstreamUnavailable, match="info"):
                    await volume.read(0, volume.info.levels[0].extent)
            server.fault = none


async def test_passing_failure_is_retried(tmp_path: Path) -> None:
    (level,) = write(tmp_path / "v", noise("uint8"))
    left = [503, 429, 500]
    with FileServer(tmp_path / "v") as server:
        (volume,) = await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
        server.fault = lambda path: left.pop() if left and path.endswith("_0-16") else None
        check(await volume.read(0, level.extent), level.array)
        assert not left
        server.fault = lambda path: 503
        with pytest.raises(UpstreamUnavailable):
            await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
