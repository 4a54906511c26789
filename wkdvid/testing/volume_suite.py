"""What every backend's volumes must do. A backend's tests subclass ``VolumeSuite`` and give the fixture ``stored``:
files that another library wrote than the one that reads them. Where there are no files, they subclass ``ReadingSuite``.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wkdvid.backends.opening import NO_SECRETS, Opener
from wkdvid.backends.presence import LOOK_S
from wkdvid.backends.registry import Backends
from wkdvid.core.credentials import Credentials
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.guard import ANONYMOUS_S3, Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.secrets import Secrets
from wkdvid.core.source import Access
from wkdvid.core.volume import Array, TellsTrouble, Volume
from wkdvid.errors import AuthRejected, BackendError, CorruptChunk, SourceGone, UpstreamUnavailable
from wkdvid.testing.faulty import (
    BUSY,
    DRIPPING,
    LOGIN_PAGE,
    RESET,
    SILENT,
    Answer,
    Asked,
    FileServer,
    Instead,
    broken_off,
    none,
    on,
)

RECOVERY_S = 10.0
BEYOND = 20
"""Voxels that boxes reach outside the volume."""


READERS = 64
TRIES = 3

FAULTS: Mapping[str, tuple[Callable[[bytes], Instead], type[BackendError]]] = {
    "F5 unknown": (lambda chunk: 401, AuthRejected),
    "F5 refused": (lambda chunk: 403, AuthRejected),
    "F8 gone": (lambda chunk: 410, UpstreamUnavailable),
    "F8 no such range": (lambda chunk: 416, CorruptChunk),
    "F14 empty": (lambda chunk: Answer(body=b""), CorruptChunk),
    "F14 login page": (lambda chunk: LOGIN_PAGE, CorruptChunk),
    "F15 half": (lambda chunk: Answer(body=chunk[: len(chunk) // 2]), CorruptChunk),
}
"""What a web server may send instead of a chunk, by the row of the fault matrix; and what comes of it."""
PASSING: Mapping[str, Callable[[bytes], Instead]] = {
    "F1, F2 unavailable": lambda chunk: 503,
    "F3 busy": lambda chunk: BUSY,
    "F4 failing": lambda chunk: 500,
    "F12 reset": lambda chunk: RESET,
    "F13 broken off": broken_off,
}
"""Failures that a second try may overcome."""
STANDSTILLS: Mapping[str, Instead] = {"F10 silent": SILENT, "F11 dripping": DRIPPING}
PATIENCE_S = 1.5
"""What a read may take that meets one of the standstills."""


@dataclass(frozen=True, kw_only=True)
class StoredLevel:
    array: Array
    """(c, x, y, z), with the fill value where nothing was written."""
    start: Vec3 = (0, 0, 0)
    mag: Vec3 = (1, 1, 1)

    @property
    def extent(self) -> Box:
        _, x, y, z = self.array.shape
        return Box.at(self.start, (x, y, z))

    def cut(self, box: Box) -> Array:
        """What a read of the box must give: 0 outside."""
        out = np.zeros((self.array.shape[0], *box.size), self.array.dtype, order="F")
        inside = self.extent.intersect(box)
        if inside is not None:
            out[_slices(inside, box.start)] = self.array[_slices(inside, self.start)]
        return out


def _slices(box: Box, origin: Vec3) -> tuple[slice, ...]:
    sides = zip(box.start, box.stop, origin, strict=True)
    return (slice(None), *(slice(start - zero, stop - zero) for start, stop, zero in sides))


@dataclass(frozen=True, kw_only=True)
class StoredLevels:
    levels: Sequence[StoredLevel]
    """Finest first."""
    tolerance: int = 0
    """Largest difference that a lossy encoding makes."""


@dataclass(frozen=True, kw_only=True)
class StoredVolume(StoredLevels):
    """Levels that are files."""

    folder: Path
    backend: str
    options: Callable[[str], Mapping[str, Any]]
    """The layer's entry, given the URL or path of ``folder``, which ends in ``/``."""
    chunk: str
    """Path below ``folder`` of a stored chunk (or shard) of the finest level."""
    empty_is_absent: bool = False
    """An empty file is a shard without chunks: so TensorStore takes a precomputed one that it reads whole."""


async def open_layers(
    backend: str,
    options: Mapping[str, Any],
    *,
    roots: Sequence[Path] = (),
    http_hosts: Sequence[str] = (),
    s3: Mapping[str, object] = ANONYMOUS_S3,
    limits: Limits | None = None,
) -> list[Volume]:
    """Open the layer ``layer`` of an entry as a registration does.

    Raises:
        InvalidEntry, BackendError: as a registration.
    """
    return await open_with(make_backends(roots, http_hosts, s3, limits), backend, options)


def make_backends(
    roots: Sequence[Path] = (),
    http_hosts: Sequence[str] = (),
    s3: Mapping[str, object] = ANONYMOUS_S3,
    limits: Limits | None = None,
    secrets: Secrets = NO_SECRETS,
    deadline_s: float = 20,
    look_s: float = LOOK_S,
) -> Backends:
    """Backends that may read from these places, with nothing in their caches."""
    credentials = Credentials(otherwise={"s3": Access(options=s3)})
    guard = Guard(tuple(roots), frozenset(http_hosts), credentials)
    limits = limits or Limits()
    return Backends(Opener(guard, limits, pool_bytes=64 * MIB, deadline_s=deadline_s, secrets=secrets, look_s=look_s))


async def open_with(backends: Backends, backend: str, options: Mapping[str, Any]) -> list[Volume]:
    """As ``open_layers``, what was opened before being known."""
    entries, problems = backends.parse({backend: {"lab": {"data": {"layers": {"layer": dict(options)}}}}})
    assert not problems, problems
    return [one.volume for one in await backends.open_layers(entries[0])]


class ReadingSuite:
    """Reads of a ``volume`` that holds what ``stored`` says: fixtures of the subclass."""

    def test_info(self, stored: StoredLevels, volume: Volume) -> None:
        info, array = volume.info, stored.levels[0].array
        assert info.name == "layer"
        assert info.dtype == array.dtype
        assert info.dtype.byteorder in "|=<"
        assert info.num_channels == array.shape[0]
        assert [level.mag for level in info.levels] == [level.mag for level in stored.levels]
        assert [level.extent for level in info.levels] == [level.extent for level in stored.levels]
        assert all(min(level.chunk_shape) > 0 for level in info.levels)
        assert all(level.encoding for level in info.levels)

    async def test_whole_levels(self, stored: StoredLevels, volume: Volume) -> None:
        for i, level in enumerate(stored.levels):
            check(await volume.read(i, level.extent), level.array, stored.tolerance)

    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(data=st.data())
    async def test_any_box(self, stored: StoredLevels, volume: Volume, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(stored.levels) - 1), "level")
        box = data.draw(boxes(stored.levels[i].extent), "box")
        check(await volume.read(i, box), stored.levels[i].cut(box), stored.tolerance)

    async def test_boxes_across_every_corner(self, stored: StoredLevels, volume: Volume) -> None:
        for i, level in enumerate(stored.levels):
            for corner in itertools.product(*zip(level.extent.start, level.extent.stop, strict=True)):
                box = Box.at((corner[0] - 3, corner[1] - 2, corner[2] - 1), (6, 5, 4))
                check(await volume.read(i, box), level.cut(box), stored.tolerance)

    async def test_outside_is_zero(self, stored: StoredLevels, volume: Volume) -> None:
        start, stop = stored.levels[0].extent.start, stored.levels[0].extent.stop
        for corner in (stop, (start[0] - 4, start[1], start[2]), (start[0], stop[1] + 10**9, start[2])):
            array = await volume.read(0, Box.at(corner, (4, 3, 2)))
            assert array.shape == (volume.info.num_channels, 4, 3, 2)
            assert not array.any()

    async def test_many_at_a_time(self, stored: StoredLevels, volume: Volume) -> None:
        level = stored.levels[0]
        (x, y, z) = (max(side - 1, 1) for side in level.extent.size)  # a flat volume has one voxel on an axis
        box = Box.at(level.start, (x, y, z))
        expected = level.cut(box)
        for array in await asyncio.gather(*(volume.read(0, box) for _ in range(READERS))):
            check(array, expected, stored.tolerance)

    async def test_closing_twice(self, stored: StoredLevels, volume: Volume) -> None:
        await volume.aclose()
        await volume.aclose()


class VolumeSuite(ReadingSuite):
    """Every test runs for every ``stored`` that the subclass gives."""

    @pytest.fixture
    async def volume(self, stored: StoredVolume) -> AsyncIterator[Volume]:
        (volume,) = await open_layers(stored.backend, stored.options(f"{stored.folder}/"), roots=[stored.folder])
        yield volume
        await volume.aclose()

    async def test_corrupt_chunk_is_no_data(self, stored: StoredVolume, tmp_path: Path) -> None:
        folder = tmp_path / "copy"
        shutil.copytree(stored.folder, folder)
        (folder / stored.chunk).write_bytes(b"garbage")
        (volume,) = await open_layers(stored.backend, stored.options(f"{folder}/"), roots=[folder])
        with pytest.raises(CorruptChunk):
            await volume.read(0, stored.levels[0].extent)
        for i, level in enumerate(stored.levels[1:], 1):
            check(await volume.read(i, level.extent), level.array, stored.tolerance)

    async def test_over_http(self, stored: StoredVolume) -> None:
        with FileServer(stored.folder) as server:
            (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
            for i, level in enumerate(stored.levels):
                check(await volume.read(i, level.extent), level.array, stored.tolerance)

    async def test_identical_reads_are_one_at_the_source(self, stored: StoredVolume) -> None:
        """F29: many readers at a time ask the source for what one does; what is broken off is asked for again."""
        with FileServer(stored.folder) as server:
            for _ in range(TRIES):
                one, many = [await self._asked(stored, server, readers) for readers in (1, READERS)]
                if many == one:
                    break
        assert one.total() >= 1
        assert many == one, f"more: {many - one}, less: {one - many}"

    async def _asked(self, stored: StoredVolume, server: FileServer, readers: int) -> Counter[Asked]:
        (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
        server.requests.clear()
        for array in await asyncio.gather(*(volume.read(0, stored.levels[0].extent) for _ in range(readers))):
            check(array, stored.levels[0].array, stored.tolerance)
        return Counter(server.requests)

    async def test_absent_chunk_is_the_fill_value(self, stored: StoredVolume) -> None:
        """F7."""
        with FileServer(stored.folder) as server:
            (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
            server.fault = on(stored.chunk, 404)
            check_lacking(await volume.read(0, stored.levels[0].extent), volume, stored)

    async def test_a_source_that_goes_is_not_empty(self, stored: StoredVolume, tmp_path: Path) -> None:
        """F9: a disk that is unmounted, a bucket or a folder that is removed. It is open no more when it comes back."""
        folder, away = tmp_path / "copy", tmp_path / "away"
        shutil.copytree(stored.folder, folder)
        with FileServer(folder) as server:
            backends = make_backends(roots=[folder], http_hosts=[server.host], look_s=0.0)
            for base in (f"{folder}/", server.url):
                (volume,) = await open_with(backends, stored.backend, stored.options(base))
                folder.rename(away)
                with pytest.raises(UpstreamUnavailable):
                    await volume.read(0, stored.levels[0].extent)
                away.rename(folder)
                if isinstance(volume, TellsTrouble) and isinstance(volume.trouble, SourceGone):
                    with pytest.raises(SourceGone):
                        await volume.read(0, stored.levels[0].extent)
                (volume,) = await open_with(backends, stored.backend, stored.options(base))
                check(await volume.read(0, stored.levels[0].extent), stored.levels[0].array, stored.tolerance)

    async def test_chunk_that_goes_and_comes_is_seen_by_opening_again(
        self, stored: StoredVolume, tmp_path: Path
    ) -> None:
        """F7, F38: what was read before does not hide it."""
        folder = tmp_path / "copy"
        shutil.copytree(stored.folder, folder)
        with FileServer(folder) as server:
            backends = make_backends(roots=[folder], http_hosts=[server.host])
            for base in (f"{folder}/", server.url):
                (volume,) = await open_with(backends, stored.backend, stored.options(base))
                check(await volume.read(0, stored.levels[0].extent), stored.levels[0].array, stored.tolerance)
            (folder / stored.chunk).rename(tmp_path / "chunk")
            for base in (f"{folder}/", server.url):
                (volume,) = await open_with(backends, stored.backend, stored.options(base))
                check_lacking(await volume.read(0, stored.levels[0].extent), volume, stored)
            (tmp_path / "chunk").rename(folder / stored.chunk)
            for base in (f"{folder}/", server.url):
                (volume,) = await open_with(backends, stored.backend, stored.options(base))
                check(await volume.read(0, stored.levels[0].extent), stored.levels[0].array, stored.tolerance)

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_fault_is_no_data(self, stored: StoredVolume, fault: str) -> None:
        """Nothing of it is kept: the read after it is whole."""
        make, expected = FAULTS[fault]
        with FileServer(stored.folder) as server:
            (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
            server.fault = on(stored.chunk, make((stored.folder / stored.chunk).read_bytes()))
            if fault == "F14 empty" and stored.empty_is_absent:
                check_lacking(await volume.read(0, stored.levels[0].extent), volume, stored)
                return
            with pytest.raises(expected):
                await volume.read(0, stored.levels[0].extent)
            server.fault = none
            check(await read_recovered(volume), stored.levels[0].array, stored.tolerance)

    async def test_half_written_chunk_is_no_data(self, stored: StoredVolume, tmp_path: Path) -> None:
        folder = tmp_path / "copy"
        shutil.copytree(stored.folder, folder)
        chunk = (folder / stored.chunk).read_bytes()
        (folder / stored.chunk).write_bytes(chunk[: len(chunk) // 2])
        (volume,) = await open_layers(stored.backend, stored.options(f"{folder}/"), roots=[folder])
        with pytest.raises(CorruptChunk):
            await volume.read(0, stored.levels[0].extent)

    async def test_passing_failures(self, stored: StoredVolume) -> None:
        """F1 to F4, F10 to F13, all at a time, since each takes as long as the tries do."""
        chunk = (stored.folder / stored.chunk).read_bytes()
        twice = (check_overcome(stored, make(chunk)) for make in PASSING.values())
        for_ever = (check_passing(stored, make(chunk)) for make in PASSING.values())
        standing = (check_standstill(stored, instead) for instead in STANDSTILLS.values())
        await asyncio.gather(*twice, *for_ever, *standing)


async def check_overcome(stored: StoredVolume, instead: Instead) -> None:
    """What happens twice is not noticed."""
    with FileServer(stored.folder) as server:
        (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
        server.fault = on(stored.chunk, instead, times=2)
        check(await volume.read(0, stored.levels[0].extent), stored.levels[0].array, stored.tolerance)
        assert server.count(stored.chunk) > 2, instead


async def check_passing(stored: StoredVolume, instead: Instead) -> None:
    """What goes on is a failure, tried three times or four; afterwards all is well again."""
    with FileServer(stored.folder) as server:
        (volume,) = await open_layers(stored.backend, stored.options(server.url), http_hosts=[server.host])
        server.fault = on(stored.chunk, instead)
        with pytest.raises(UpstreamUnavailable):
            await volume.read(0, stored.levels[0].extent)
        assert server.count(stored.chunk) > 2, instead
        server.fault = none
        check(await read_recovered(volume), stored.levels[0].array, stored.tolerance)


async def check_standstill(stored: StoredVolume, instead: Instead) -> None:
    """A read ends with its deadline."""
    with FileServer(stored.folder) as server:
        backends = make_backends(http_hosts=[server.host], deadline_s=PATIENCE_S)
        (volume,) = await open_with(backends, stored.backend, stored.options(server.url))
        server.fault = on(stored.chunk, instead)
        with pytest.raises(UpstreamUnavailable, match="no answer within"):
            await volume.read(0, stored.levels[0].extent)


def boxes(extent: Box) -> st.SearchStrategy[Box]:
    """Boxes in and around an extent, empty ones too (F23)."""
    sides = [
        st.tuples(st.integers(start - BEYOND, stop + BEYOND), st.integers(0, 40))
        for start, stop in zip(extent.start, extent.stop, strict=True)
    ]
    return st.tuples(*sides).map(lambda s: Box.at((s[0][0], s[1][0], s[2][0]), (s[0][1], s[1][1], s[2][1])))


async def read_recovered(volume: Volume) -> Array:
    """The finest level, after a fault: a read may yet join the transfers of the one that failed."""
    end = asyncio.get_running_loop().time() + RECOVERY_S
    while True:
        try:
            return await volume.read(0, volume.info.levels[0].extent)
        except BackendError:
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.05)


def check_lacking(array: Array, volume: Volume, stored: StoredVolume) -> None:
    """Of the finest level the stored chunk is absent: some voxels have the fill value, the others are right."""
    absent = np.abs(array.astype(float) - stored.levels[0].array) > stored.tolerance
    assert absent.any()
    assert (array[absent] == volume.info.fill_value).all()


def check(array: Array, expected: Array, tolerance: int = 0) -> None:
    """The array is laid out as the contract says, and holds what is expected."""
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype
    assert array.dtype.byteorder in "|=<"
    assert array.flags.f_contiguous
    if tolerance:
        difference = np.abs(array.astype(np.int64) - expected.astype(np.int64))
        assert difference.max(initial=0) <= tolerance
    elif not np.array_equal(array, expected):  # what says where they differ takes much longer
        np.testing.assert_array_equal(array, expected)
