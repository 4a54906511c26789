"""Encodings and files of cloud-volume's that TensorStore does not read."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from tests.backends.arrays import grey, labels, noise
from tests.backends.conftest import S3
from tests.backends.test_precomputed import SHARDING, stored_volume, write, write_plain
from wkdvid.core.geometry import Box
from wkdvid.core.limits import Limits
from wkdvid.core.volume import StoresChunks
from wkdvid.errors import CorruptChunk, InvalidEntry
from wkdvid.testing.volume_suite import StoredVolume, VolumeSuite, check, open_layers

KINDS: Mapping[str, Mapping[str, Any]] = {
    "compresso": {"array": labels("uint64"), "encoding": "compresso", "offset": (-13, 7, -100), "factors": [(2, 2, 1)]},
    "crackle_sharded": {"array": labels("uint16"), "encoding": "crackle", "offset": (5, 6, 7), "sharding": SHARDING},
    "fpzip": {"array": noise("float32", channels=2), "encoding": "fpzip", "channel": 1},
    "zfpc": {"array": noise("float32"), "encoding": "zfpc", "offset": (-13, 7, -100)},
    "jxl": {"array": grey(), "encoding": "jxl", "tolerance": 24},
}
MORE: Mapping[str, Mapping[str, Any]] = {
    "compresso_sharded": {"array": labels("uint32"), "encoding": "compresso", "sharding": SHARDING},
    "crackle": {"array": labels("uint64"), "encoding": "crackle", "factors": [(2, 2, 2)]},
    "kempressed": {"array": grey().astype("float32"), "encoding": "kempressed"},
    "zfpc_sharded": {"array": noise("float32"), "encoding": "zfpc", "sharding": SHARDING},
    "jxl_rgb": {"array": grey(channels=3), "encoding": "jxl", "tolerance": 24},
}


def written(folder: Path, kind: Mapping[str, Any]) -> StoredVolume:
    how = dict(kind)
    tolerance, channel = how.pop("tolerance", 0), how.pop("channel", None)
    stored = stored_volume(folder, write(folder, **how), tolerance)
    return stored if channel is None else only(stored, channel)


class TestForeignEncodings(VolumeSuite):
    @pytest.fixture(scope="class", params=KINDS)
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return written(tmp_path_factory.mktemp(request.param) / "volume", KINDS[request.param])


@pytest.mark.parametrize("kind", MORE)
async def test_more_foreign_encodings(tmp_path: Path, kind: str) -> None:
    stored = written(tmp_path, MORE[kind])
    (volume,) = await open_layers("precomputed", {"source": str(tmp_path)}, roots=[tmp_path])
    for i, level in enumerate(stored.levels):
        check(await volume.read(i, level.extent), level.array, stored.tolerance)


def only(stored: StoredVolume, channel: int) -> StoredVolume:
    """The layer that is one of the channels."""
    levels = [replace(level, array=level.array[channel : channel + 1]) for level in stored.levels]
    return replace(stored, levels=levels, options=lambda base: {"source": base, "channel": channel})


async def test_jpeg_xl_of_rgb_pixels(tmp_path: Path) -> None:
    """As Neuroglancer reads it: the image formats of precomputed have colours in pixels."""
    (level,) = write(tmp_path / "v", grey(channels=3))
    _as(tmp_path / "v", "jxl")
    for chunk in (tmp_path / "v/8_8_40").iterdir():
        sides = [b - a for a, b in (map(int, side.split("-")) for side in chunk.name.split("_"))]
        planes = np.frombuffer(chunk.read_bytes(), np.uint8).reshape(3, sides[2] * sides[1], sides[0])
        pixels = np.ascontiguousarray(np.moveaxis(planes, 0, 2))
        chunk.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, photometric="RGB"))
    (volume,) = await open_layers("precomputed", {"source": "v"}, roots=[tmp_path])
    check(await volume.read(0, level.extent), level.array)


def _as(folder: Path, encoding: str, scale: int = 0) -> None:
    """Let the info say another encoding."""
    info = json.loads((folder / "info").read_text())
    info["scales"][scale]["encoding"] = encoding
    (folder / "info").write_text(json.dumps(info))


SUFFIXED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gzip": (".gz", {"array": noise("uint16"), "offset": (-13, 7, -100), "factors": [(2, 2, 1)]}),
    "br": (".br", {"array": labels("uint64"), "encoding": "compressed_segmentation"}),
    "zstd": (".zstd", {"array": noise("uint8", channels=3)}),
    "xz": (".xz", {"array": labels("uint32"), "encoding": "compresso"}),
    "bz2": (".bz2", {"array": labels("uint8")}),
}


@pytest.fixture(params=SUFFIXED)
def suffixed(request: pytest.FixtureRequest, tmp_path: Path) -> StoredVolume:
    suffix, volume = SUFFIXED[request.param]
    stored = stored_volume(tmp_path, write(tmp_path, **volume, compress=request.param))
    assert stored.chunk.endswith(suffix)
    return stored


async def test_suffixed_chunks(suffixed: StoredVolume) -> None:
    (volume,) = await open_layers("precomputed", suffixed.options(str(suffixed.folder)), roots=[suffixed.folder])
    for i, level in enumerate(suffixed.levels):
        check(await volume.read(i, level.extent), level.array)


async def test_some_suffixed_chunks(tmp_path: Path) -> None:
    """A single one is found among many that have none."""
    (level,) = write(tmp_path, noise("uint16"))
    chunk = max((tmp_path / "8_8_40").iterdir())
    (chunk.parent / f"{chunk.name}.gz").write_bytes(gzip.compress(chunk.read_bytes()))
    chunk.unlink()
    (volume,) = await open_layers("precomputed", {"source": str(tmp_path)}, roots=[tmp_path])
    check(await volume.read(0, level.extent), level.array)


async def test_absent_and_damaged_suffixed_chunks(suffixed: StoredVolume) -> None:
    chunk = suffixed.folder / suffixed.chunk
    sound, extent = chunk.read_bytes(), suffixed.levels[0].extent
    for damaged in (b"", b"garbage", sound[: len(sound) // 2], sound[:-1], (suffixed.folder / "info").read_bytes()):
        chunk.write_bytes(damaged)
        (volume,) = await open_layers("precomputed", {"source": str(suffixed.folder)}, roots=[suffixed.folder])
        with pytest.raises(CorruptChunk):
            await volume.read(0, extent)
    chunk.unlink()
    (volume,) = await open_layers("precomputed", {"source": str(suffixed.folder)}, roots=[suffixed.folder])
    array = await volume.read(0, extent)
    lacking = array != suffixed.levels[0].array
    assert lacking.any()
    assert not array[lacking].any()


@pytest.mark.parametrize("inner", [b"", b"too few bytes", b"x" * (32 * 32 * 16 + 1)])
async def test_packed_bytes_that_are_no_chunk(tmp_path: Path, inner: bytes) -> None:
    (level,) = write(tmp_path, noise("uint8"), compress="gzip")
    min((tmp_path / "8_8_40").iterdir()).write_bytes(gzip.compress(inner))
    (volume,) = await open_layers("precomputed", {"source": str(tmp_path)}, roots=[tmp_path])
    with pytest.raises(CorruptChunk):
        await volume.read(0, level.extent)


async def test_packed_bomb(tmp_path: Path) -> None:
    (level,) = write(tmp_path, noise("uint8"), compress="gzip")
    min((tmp_path / "8_8_40").iterdir()).write_bytes(gzip.compress(bytes(10**7)))
    limits = Limits(chunk_bytes=10**6)
    (volume,) = await open_layers("precomputed", {"source": str(tmp_path)}, roots=[tmp_path], limits=limits)
    with pytest.raises(CorruptChunk, match="at most 1000000 bytes"):
        await volume.read(0, level.extent)


async def test_suffixed_chunks_are_handed_on_unpacked(tmp_path: Path) -> None:
    array = noise("uint16")
    write(tmp_path, array, compress="gzip")
    (tmp_path / "8_8_40/0-32_0-32_0-16.gz").unlink()
    (tmp_path / "8_8_40/32-64_0-32_0-16.gz").write_bytes(b"garbage")
    (volume,) = await open_layers("precomputed", {"source": str(tmp_path)}, roots=[tmp_path])
    assert isinstance(volume, StoresChunks)
    assert volume.info.levels[0].encoding == "raw"
    absent, corrupt, sound = await volume.stored_chunks(0, [(0, 0, 0), (1, 0, 0), (2, 2, 2)])
    assert absent is None
    assert isinstance(corrupt, CorruptChunk)
    assert sound == array[0, 64:, 64:, 32:].tobytes("F")


@pytest.fixture
def mixed(tmp_path: Path) -> StoredVolume:
    """Four levels, each stored in a way of its own: crackle, raw, compresso.gz, raw.br."""
    whole = labels("uint64")
    levels = write(tmp_path, whole, encoding="crackle", factors=[(2, 2, 1), (4, 4, 1), (8, 8, 2)])
    info = json.loads((tmp_path / "info").read_text())
    ways: list[tuple[str, bool | str]] = [("raw", False), ("compresso", "gzip"), ("raw", "br")]
    for i, (encoding, compress) in enumerate(ways, 1):
        shutil.rmtree(tmp_path / info["scales"][i]["key"])
        _as(tmp_path, encoding, i)
        write_plain(tmp_path, i, levels[i], compress)
    return stored_volume(tmp_path, levels)


async def test_levels_in_every_way(mixed: StoredVolume) -> None:
    (volume,) = await open_layers("precomputed", {"source": str(mixed.folder)}, roots=[mixed.folder])
    assert [level.encoding for level in volume.info.levels] == ["crackle", "raw", "compresso", "raw"]
    assert volume.info.notes == ()
    for i, level in enumerate(mixed.levels):
        check(await volume.read(i, level.extent), level.array)


async def test_without_the_package_the_other_levels_are_served(
    mixed: StoredVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "crackle", None)
    (volume,) = await open_layers("precomputed", {"source": str(mixed.folder)}, roots=[mixed.folder])
    (note,) = volume.info.notes
    assert "stored as crackle, which needs a package: pip install 'wkdvid[codecs]'; the others are served" in note
    assert [level.encoding for level in volume.info.levels] == ["raw", "compresso", "raw"]
    for i, level in enumerate(mixed.levels[1:]):
        check(await volume.read(i, level.extent), level.array)


def test_server_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    write(tmp_path / "v", labels("uint64", (20, 20, 20)), encoding="compresso")
    blocked = ["compresso", "crackle", "fpzip", "zfpc", "zfpy", "zarr", "numcodecs"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked})); from wkdvid.cli import main;"
        f" sys.argv = ['wkdvid', 'inspect', {str(tmp_path / 'v')!r}]; sys.exit(main())"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "pip install 'wkdvid[codecs]'" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_large_declared_chunk(tmp_path: Path) -> None:
    write(tmp_path, labels("uint64", (20, 20, 20)), encoding="crackle")
    with pytest.raises(InvalidEntry, match=r"limits\.chunk_bytes"):
        await open_layers("precomputed", {"source": str(tmp_path)}, roots=[tmp_path], limits=Limits(chunk_bytes=1000))


async def test_chunk_of_another_size_or_type(tmp_path: Path) -> None:
    (level,) = write(tmp_path, labels("uint64"), encoding="compresso")
    chunks = sorted((tmp_path / "8_8_40").iterdir())
    chunks[0].write_bytes(chunks[-1].read_bytes())
    write(tmp_path / "other", labels("uint32"), encoding="compresso")
    shutil.copy(tmp_path / "other/8_8_40/32-64_32-64_16-32", tmp_path / "8_8_40")
    (volume,) = await open_layers("precomputed", {"source": str(tmp_path)}, roots=[tmp_path])
    for start in (level.extent.start, (32, 32, 16)):
        with pytest.raises(CorruptChunk, match="no compresso chunk of"):
            await volume.read(0, Box.at(start, (1, 1, 1)))
    check(await volume.read(0, Box.at((32, 0, 0), (32, 32, 16))), level.cut(Box.at((32, 0, 0), (32, 32, 16))))


async def test_from_s3(tmp_path: Path, s3: S3) -> None:
    (level,) = write(tmp_path / "v", labels("uint64"), encoding="crackle", sharding=SHARDING)
    (volume,) = await open_layers("precomputed", {"source": s3.upload(tmp_path) + "v"}, s3=s3.options)
    check(await volume.read(0, level.extent), level.array)
