"""N5 arrays and pyramids that z5py wrote; the attributes of the pyramids' dialects are written by hand."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import z5py

from tests.backends.arrays import Array, labels, noise, sampled
from tests.backends.conftest import S3
from wkdvid.core.geometry import Vec3
from wkdvid.errors import AuthRejected, CorruptChunk, InvalidEntry
from wkdvid.testing.faulty import Answer, FileServer, redirected
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite, check, open_layers

MAGS: Sequence[Vec3] = ((1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 8, 3))
BLOCK = (16, 32, 32)
"""z, y, x."""


def write_array(root: Path, path: str, array: Array, compression: str = "gzip", **attributes: Any) -> Array:
    """Write (c, x, y, z); returns what must be read: block (1, 1, 0) is taken away, which makes it zeros."""
    stored = array[0].T if len(array) == 1 else array.transpose(0, 3, 2, 1)
    chunks = BLOCK if len(array) == 1 else (len(array), *BLOCK)
    add(root, n5="2.0.0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # z5py leaves its files to the garbage collector
        with z5py.File(str(root), "a", use_zarr_format=False) as file:
            file.create_dataset(path, data=np.ascontiguousarray(stored), chunks=chunks, compression=compression)
    if attributes:
        add(root / path, **attributes)
    (root / path / ("1/1/0" if len(array) == 1 else "1/1/0/0")).unlink(missing_ok=True)
    expected = array.copy(order="F")
    expected[:, 32:64, 32:64, :16] = 0
    return expected


def add(folder: Path, *removed: str, **attributes: Any) -> None:
    """Set and remove attributes of an array or a group."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "attributes.json"
    document = json.loads(file.read_text()) if file.exists() else {}
    kept = {name: value for name, value in {**document, **attributes}.items() if name not in removed}
    file.write_text(json.dumps(kept))


class TestArray(VolumeSuite):
    @pytest.fixture(scope="class", params=["raw", "blosc", "lz4"])
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        folder = tmp_path_factory.mktemp(request.param)
        array = write_array(folder / "a.n5", "volumes/grey", noise("uint16"), request.param)
        return StoredVolume(
            folder=folder,
            backend="n5",
            options=lambda base: {"source": f"{base}a.n5/volumes/grey"},
            levels=[StoredLevel(array=array)],
            chunk="a.n5/volumes/grey/2/2/2",
        )


# Dialects. Each writes what says where the levels lie, of 8 x 8 x 40 nm, into a group that holds s0 to s3.


def on_levels(group: Path) -> None:
    """(a) n5-viewer, and BigDataViewer's levels."""
    for i, mag in enumerate(MAGS):
        add(group / f"s{i}", downsamplingFactors=mag, pixelResolution={"unit": "nm", "dimensions": [8.0, 8.0, 40.0]})


def on_group(group: Path) -> None:
    """(b) n5-viewer's older form."""
    add(group, downsamplingFactors=MAGS, pixelResolution={"unit": "um", "dimensions": [0.008, 0.008, 0.04]})


def as_scales(group: Path) -> None:
    """(b, c) a list of scales, a bare list of sizes."""
    add(group, scales=MAGS, pixelResolution=[8, 8, 40])


def as_resolution(group: Path) -> None:
    """(c) Neuroglancer's form."""
    add(group, scales=MAGS, resolution=[8, 8, 40], units=["nm", "nm", "nm"], axes=["x", "y", "z"])


def cosem(group: Path) -> None:
    """(d) COSEM: in C order; voxels are placed by their centres; other attributes say the size of each level."""
    for i in range(4):
        add(group / f"s{i}", transform=cosem_transform(i), pixelResolution={"unit": "nm", "dimensions": [8, 8, 40]})
    datasets = [{"path": f"s{i}", "transform": cosem_transform(i)} for i in range(4)]
    add(group, multiscales=[{"datasets": datasets, "name": "grey"}], scales=MAGS)


def cosem_group(group: Path) -> None:
    """(d) with the transforms on the group alone."""
    datasets = [{"path": f"s{i}", "transform": cosem_transform(i)} for i in range(4)]
    add(group, multiscales=[{"datasets": datasets}])


def cosem_transform(i: int) -> dict[str, Any]:
    scale = [size * factor for size, factor in zip((40, 8, 8), MAGS[i][::-1], strict=True)]
    shift = [(a - b) / 2 for a, b in zip(scale, (40, 8, 8), strict=True)]
    return {"axes": ["z", "y", "x"], "scale": scale, "translate": shift, "units": ["nm", "nm", "nm"]}


DIALECTS: Mapping[str, Callable[[Path], None]] = {
    describe.__name__: describe for describe in (on_levels, on_group, as_scales, as_resolution, cosem, cosem_group)
}


def write_levels(root: Path, path: str, dtype: str = "uint16") -> list[StoredLevel]:
    levels = [sampled(noise(dtype), mag) for mag in MAGS]
    return [
        StoredLevel(array=write_array(root, f"{path}/s{i}", level), mag=mag)
        for i, (level, mag) in enumerate(zip(levels, MAGS, strict=True))
    ]


def stored_pyramid(folder: Path, describe: Callable[[Path], None]) -> StoredVolume:
    levels = write_levels(folder / "a.n5", "grey")
    describe(folder / "a.n5/grey")
    return StoredVolume(
        folder=folder,
        backend="n5",
        options=lambda base: {"source": f"{base}a.n5/grey"},
        levels=levels,
        chunk="a.n5/grey/s0/2/2/2",
    )


class TestPyramid(VolumeSuite):
    @pytest.fixture(scope="class", params=["on_levels", "cosem"])
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return stored_pyramid(tmp_path_factory.mktemp(request.param), DIALECTS[request.param])


async def check_levels(options: Mapping[str, Any], root: Path, levels: Sequence[StoredLevel]) -> None:
    (volume,) = await open_layers("n5", options, roots=[root])
    info = volume.info
    assert info.voxel_size_nm == pytest.approx((8, 8, 40))
    assert [level.mag for level in info.levels] == [level.mag for level in levels]
    assert [level.extent for level in info.levels] == [level.extent for level in levels]
    for i, level in enumerate(levels):
        check(await volume.read(i, level.extent), level.array)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_dialects(tmp_path: Path, dialect: str) -> None:
    stored = stored_pyramid(tmp_path, DIALECTS[dialect])
    await check_levels({"source": "a.n5/grey"}, tmp_path, stored.levels)


async def test_bigdataviewer(tmp_path: Path) -> None:
    """(e)"""
    for t in (0, 1):
        levels = write_levels(tmp_path / "a.n5", f"setup0/timepoint{t}", ("uint8", "uint16")[t])
        add(tmp_path / f"a.n5/setup0/timepoint{t}", multiScale=True, resolution=[8.0, 8.0, 40.0])
    add(tmp_path / "a.n5/setup0", downsamplingFactors=MAGS, dataType="uint16")
    await check_levels({"source": "a.n5/setup0/timepoint1"}, tmp_path, levels)
    await check_levels({"source": "a.n5/setup0", "t": 1}, tmp_path, levels)
    (volume,) = await open_layers("n5", {"source": "a.n5/setup0"}, roots=[tmp_path])
    assert volume.info.dtype == np.uint8
    with pytest.raises(InvalidEntry, match="a setup such as setup0"):
        await open_layers("n5", {"source": "a.n5"}, roots=[tmp_path])
    with pytest.raises(InvalidEntry, match="no N5 array"):
        await open_layers("n5", {"source": "a.n5/setup0", "t": 2}, roots=[tmp_path])


@pytest.mark.parametrize(("kind", "category"), [("raw", "color"), ("label", "segmentation")])
async def test_paintera(tmp_path: Path, kind: str, category: str) -> None:
    """(f)"""
    plain = write_levels(tmp_path / "a.n5", "cells/data")
    on_levels(tmp_path / "a.n5/cells/data")
    for i in range(4):
        add(tmp_path / f"a.n5/cells/data/s{i}", "pixelResolution")
    add(tmp_path / "a.n5/cells", painteraData={"type": kind}, maxId=4711)
    add(tmp_path / "a.n5/cells/data", multiScale=True, resolution=[8.0, 8.0, 40.0], offset=[64.0, -32.0, 120.0])
    starts: Sequence[Vec3] = [(8, -4, 3), (4, -2, 3), (2, -1, 3), (1, 0, 1)]
    levels = [
        StoredLevel(array=level.array, mag=level.mag, start=start) for level, start in zip(plain, starts, strict=True)
    ]
    await check_levels({"source": "a.n5/cells"}, tmp_path, levels)
    (volume,) = await open_layers("n5", {"source": "a.n5/cells"}, roots=[tmp_path])
    assert (volume.info.category, volume.info.largest_segment_id) == (category, 4711)


async def test_level_alone_has_its_own_size(tmp_path: Path) -> None:
    stored = stored_pyramid(tmp_path, on_group)
    (volume,) = await open_layers("n5", {"source": "a.n5/grey/s3"}, roots=[tmp_path])
    assert volume.info.voxel_size_nm == pytest.approx((64, 64, 120))
    check(await volume.read(0, stored.levels[3].extent), stored.levels[3].array)


async def test_facts(tmp_path: Path) -> None:
    write_array(tmp_path, "a", noise("uint16"))
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    info = volume.info
    assert (info.category, info.format, info.voxel_size_nm, info.fill_value) == ("color", "n5", (1.0, 1.0, 1.0), 0)
    assert "voxel size" in info.notes[0]
    (level,) = info.levels
    assert (level.chunk_shape, level.chunk_origin, level.encoding) == ((32, 32, 16), (0, 0, 0), "gzip")


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]
)
async def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    array = write_array(tmp_path, "a", noise(dtype))
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=array).extent), array)


@pytest.mark.parametrize("compression", ["raw", "gzip", "bzip2", "xz", "blosc", "zstd"])
async def test_every_compression(tmp_path: Path, compression: str) -> None:
    array = write_array(tmp_path, "a", noise("uint16"), compression)
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    assert volume.info.levels[0].encoding == compression
    check(await volume.read(0, StoredLevel(array=array).extent), array)


async def test_channels(tmp_path: Path) -> None:
    for channels in (2, 3):
        array = write_array(tmp_path, f"c{channels}", noise("uint8", channels=channels))
        volumes = await open_layers("n5", {"source": f"c{channels}"}, roots=[tmp_path])
        got = [await volume.read(0, StoredLevel(array=array).extent) for volume in volumes]
        assert len(got) == (2 if channels == 2 else 1)
        np.testing.assert_array_equal(np.concatenate(got), array)
    (volume,) = await open_layers("n5", {"source": "c2", "axes": "xyzc", "channel": 1}, roots=[tmp_path])
    assert volume.info.num_channels == 1
    (volume,) = await open_layers("n5", {"source": "c2", "axes": "xyzt", "t": 1}, roots=[tmp_path])
    assert "2 time points; t = 1" in volume.info.notes[-1]


async def test_other_axes(tmp_path: Path) -> None:
    array = write_array(tmp_path, "a", labels("uint32"))
    expected = np.asfortranarray(array.transpose(0, 3, 2, 1))
    (volume,) = await open_layers("n5", {"source": "a", "axes": "zyx", "type": "segmentation"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=expected).extent), expected)
    add(tmp_path / "a", axes=["z", "y", "x"])
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=expected).extent), expected)


async def test_before_n5_2(tmp_path: Path) -> None:
    array = write_array(tmp_path, "a", noise("uint8"))
    add(tmp_path / "a", "compression", compressionType="gzip")
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=array).extent), array)


def blocks(array: Path) -> list[Path]:
    return list(array.glob("*/*/*"))


async def test_zlib(tmp_path: Path) -> None:
    array = write_array(tmp_path, "a", noise("uint8"), "raw")
    for block in blocks(tmp_path / "a"):
        content = block.read_bytes()
        block.write_bytes(content[:16] + zlib.compress(content[16:]))
    add(tmp_path / "a", compression={"type": "gzip", "useZlib": True, "level": 5})
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=array).extent), array)


async def test_small_block_is_filled_up(tmp_path: Path) -> None:
    """F21: a block may be smaller than blockSize anywhere; the rest of it is zeros."""
    array = write_array(tmp_path, "a", noise("uint8"), "raw")
    (tmp_path / "a/0/0/0").write_bytes(struct.pack(">HHIII", 0, 3, 2, 1, 1) + b"\x07\x08")
    array[:, :32, :32, :16] = 0
    array[0, :2, 0, 0] = (7, 8)
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=array).extent), array)


# What cannot be read


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"compression": {"type": "jpeg"}}, "compression 'jpeg'.*blosc, bzip2"),
        ({"compression": None}, "compression None"),
        ({"dataType": "string"}, "dataType 'string'"),
        ({"isLabelMultiset": True}, "label multiset.*paintera-convert extract-to-scalar"),
        ({"dimensions": [1, 0, 2]}, "dimensions: expected"),
        ({"dimensions": [8, 8]}, "blockSize: expected 2"),
        ({"blockSize": [1024, 1024, 1024]}, "limits.chunk_bytes"),
        ({"pixelResolution": {"unit": "nm", "dimensions": [0, 1, 1]}}, "resolution: expected three positive"),
        ({"resolution": "8"}, "resolution: expected three"),
        ({"transform": {"axes": ["z", "y", "u"], "scale": [1, 1, 1]}}, "transform.axes"),
        ({"transform": {"axes": ["z", "y", "x"], "scale": [1, 1]}}, "transform.scale: expected 3"),
        ({"transform": {"axes": ["z", "y", "x"], "scale": [1, 0, 1]}}, "transform.scale: expected positive"),
    ],
)
async def test_refused_by_name(tmp_path: Path, attributes: Mapping[str, Any], message: str) -> None:
    write_array(tmp_path, "a", noise("uint8", (8, 8, 8)))
    add(tmp_path / "a", **attributes)
    with pytest.raises(InvalidEntry, match=message):
        await open_layers("n5", {"source": "a"}, roots=[tmp_path])


async def test_unknown_unit_is_noted(tmp_path: Path) -> None:
    write_array(tmp_path, "a", noise("uint8", (8, 8, 8)), pixelResolution={"unit": "parsec", "dimensions": [4, 4, 40]})
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    assert volume.info.voxel_size_nm == (4.0, 4.0, 40.0)
    (note,) = volume.info.notes
    assert note.startswith("The unit of the voxel size is parsec; nanometres are assumed: ")


async def test_varlength_blocks_are_refused(tmp_path: Path) -> None:
    """F21."""
    write_array(tmp_path, "a", noise("uint8"), "raw")
    block = struct.pack(">HHIIII", 1, 3, 32, 32, 16, 4) + b"\0" * 4
    (tmp_path / "a/0/0/0").write_bytes(block)
    with pytest.raises(InvalidEntry, match="varlength"):
        await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    (tmp_path / "a/0/0/0").unlink()
    (tmp_path / "a/2/2/2").write_bytes(block)
    (volume,) = await open_layers("n5", {"source": "a"}, roots=[tmp_path])
    with pytest.raises(CorruptChunk):
        await volume.read(0, volume.info.levels[0].extent)


async def test_paintera_multisets_are_refused(tmp_path: Path) -> None:
    write_levels(tmp_path, "cells/data")
    add(tmp_path / "cells", painteraData={"type": "label"})
    add(tmp_path / "cells/data", isLabelMultiset=True)
    with pytest.raises(InvalidEntry, match="paintera-convert"):
        await open_layers("n5", {"source": "cells"}, roots=[tmp_path])


async def test_levels_that_say_nothing(tmp_path: Path) -> None:
    write_levels(tmp_path, "grey")
    with pytest.raises(InvalidEntry, match="level 1 does not say its downsamplingFactors"):
        await open_layers("n5", {"source": "grey"}, roots=[tmp_path])
    add(tmp_path / "grey", multiscales=[{"datasets": [{"path": "s0"}, {"path": "s9"}]}])
    with pytest.raises(InvalidEntry, match="no array 's9'"):
        await open_layers("n5", {"source": "grey"}, roots=[tmp_path])
    add(tmp_path / "grey", multiscales=[{"datasets": [{"path": "../../etc"}]}])
    with pytest.raises(InvalidEntry, match="outside"):
        await open_layers("n5", {"source": "grey"}, roots=[tmp_path])


# Places


async def test_from_s3(tmp_path: Path, s3: S3) -> None:
    stored = stored_pyramid(tmp_path, on_levels)
    (volume,) = await open_layers("n5", stored.options(s3.upload(tmp_path)), s3=s3.options)
    for i, level in enumerate(stored.levels):
        check(await volume.read(i, level.extent), level.array)


async def test_redirected(tmp_path: Path) -> None:
    stored = stored_pyramid(tmp_path, on_levels)
    with FileServer(tmp_path) as files, FileServer(tmp_path) as front:
        front.fault = lambda path: redirected(files.url + path)
        (volume,) = await open_layers("n5", stored.options(front.url), http_hosts=[files.host, front.host])
        check(await volume.read(1, stored.levels[1].extent), stored.levels[1].array)
        assert front.paths == ["a.n5/grey/attributes.json"]


async def test_folders_above_that_are_no_groups(tmp_path: Path) -> None:
    """A page, a redirect to a login, a refusal: what a server says of its other folders is not the volume's fault."""
    stored = stored_pyramid(tmp_path, on_group)
    above = ("attributes.json", "a.n5/attributes.json")
    with FileServer(tmp_path) as server:
        for answer in (302, 403, 400, Answer(body=b"<!DOCTYPE html>")):
            server.fault = lambda path, answer=answer: answer if path in above else None  # type: ignore[misc]
            (volume,) = await open_layers("n5", stored.options(server.url), http_hosts=[server.host])
            check(await volume.read(3, stored.levels[3].extent), stored.levels[3].array)


async def test_bucket_that_may_not_be_listed(tmp_path: Path) -> None:
    """It answers 403 for what is not there: the group has no attributes, and there is no s4."""
    stored = stored_pyramid(tmp_path, on_levels)
    add(tmp_path / "a.n5/grey")
    with FileServer(tmp_path) as server:
        server.fault = lambda path: None if (tmp_path / path).is_file() else 403
        (volume,) = await open_layers("n5", stored.options(server.url), http_hosts=[server.host])
        assert len(volume.info.levels) == 4
        server.fault = lambda path: 403
        with pytest.raises(AuthRejected):
            await open_layers("n5", stored.options(server.url), http_hosts=[server.host])
