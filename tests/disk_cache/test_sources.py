"""Sources that are kept: read once, served while they are down, changes seen, nobody served what is not theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends import test_n5, test_precomputed, test_zarr
from tests.backends.arrays import Array, noise
from tests.backends.bosses import experiment, image
from tests.backends.s3 import s3_server
from tests.backends.tiffs import save_with_vips
from tests.backends.wkw_files import write_layer
from tests.disk_cache.reading import KEY, Reading, reading
from wkdvid.backends.disk_cache import place as places
from wkdvid.core.entries import DatasetKey
from wkdvid.core.guard import Guard
from wkdvid.core.secrets import Secrets
from wkdvid.core.source import read_source
from wkdvid.core.volume import StoresChunks
from wkdvid.errors import BackendError, CorruptChunk, InvalidEntry, SourceGone, UpstreamUnavailable
from wkdvid.testing.bossdb import BossDouble
from wkdvid.testing.faulty import LOGIN_PAGE, RESET, SILENT, FileServer, Instead, none, on, redirected

SIZE = (75, 66, 41)
TOKEN = "a-token-of-a-user"
SIZES = (0, 1, 65_535, 65_536, 65_537, 200_000)
"""Bytes: around a page."""


def write_plain(folder: Path, array: Array) -> Array:
    """Each writer returns what must be read."""
    test_precomputed.write(folder, array)
    return array


def write_n5(folder: Path, array: Array) -> Array:
    return test_n5.write_array(folder.parent, folder.name, array)


def write_sharded_zarr(folder: Path, array: Array) -> Array:
    return test_zarr.write_array(folder, array, chunks=(16, 32, 32), shards=(32, 64, 64))


def write_sharded_precomputed(folder: Path, array: Array) -> Array:
    test_precomputed.write(folder, array, sharding=test_precomputed.SHARDING)
    return array


FORMATS: Mapping[str, tuple[str, Callable[[Path, Array], Array]]] = {
    "precomputed": ("precomputed", write_plain),
    "sharded precomputed": ("precomputed", write_sharded_precomputed),
    "zarr": ("zarr", test_zarr.write_array),
    "sharded zarr": ("zarr", write_sharded_zarr),
    "n5": ("n5", write_n5),
}


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_format_is_read_once_and_while_its_source_is_down(tmp_path: Path, kind: str) -> None:
    """F2, F12: through a restart, with no request at all; and one that began while it was down."""
    backend, write = FORMATS[kind]
    array = write(tmp_path / "files/v", noise("uint16", SIZE))
    cache = tmp_path / "cache"
    with FileServer(tmp_path / "files") as server:
        layer = {"source": f"{server.url}v"}
        async with reading(cache, server.host) as first:
            assert np.array_equal(await first.voxels(backend, layer), array)
        requests = len(server.requests)
        async with reading(cache, server.host) as second:
            assert np.array_equal(await second.voxels(backend, layer), array)
            assert (second.stale_s, second.cache.counts["miss"]) == (None, 0)
        assert len(server.requests) == requests > 0
    async with reading(cache, server.host, window_s=0) as third:  # the server is gone
        assert np.array_equal(await third.voxels(backend, layer), array)
        assert third.stale_s is not None
        assert set(third.cache.counts) == {"stale"}


async def test_a_tiff_and_wkw_files(tmp_path: Path) -> None:
    """Files that are read in parts, by readers of ours."""
    (tmp_path / "files").mkdir()
    array = noise("uint8", (300, 280, 1))
    save_with_vips(tmp_path / "files/page.tif", array)
    write_layer(tmp_path / "files/ws", noise("uint8", (64, 64, 64)))
    with FileServer(tmp_path / "files") as server:
        layers = {
            "tiff": {"source": f"{server.url}page.tif", "type": "image"},
            "wkw": {"source": f"{server.url}ws/em"},
        }
        async with reading(tmp_path / "cache", server.host) as one:
            before = {backend: await one.voxels(backend, layer) for backend, layer in layers.items()}
        server.fault = on("*", RESET)
        async with reading(tmp_path / "cache", server.host, window_s=0) as one:
            for backend, layer in layers.items():
                assert np.array_equal(await one.voxels(backend, layer), before[backend])


@pytest.fixture
def array() -> Array:
    return noise("uint8", (64, 64, 64))


@pytest.fixture
def server(tmp_path: Path, array: Array) -> Any:
    test_precomputed.write(tmp_path / "files/v", array)
    with FileServer(tmp_path / "files") as server:
        server.tags = True
        yield server


def layer_of(server: FileServer, path: str = "v") -> dict[str, str]:
    return {"source": f"{server.url}{path}"}


@pytest.mark.parametrize("instead", [500, SILENT])
async def test_a_source_that_fails_is_asked_seldom(
    tmp_path: Path, server: FileServer, array: Array, instead: Instead
) -> None:
    """F2, F10: however many read, one waits for it."""
    async with reading(tmp_path / "cache", server.host) as one:
        await one.voxels("precomputed", layer_of(server))
    async with reading(tmp_path / "cache", server.host, window_s=0) as one:
        server.fault = on("*", instead)
        volume = await one.open("precomputed", layer_of(server))
        server.requests.clear()
        for found in await volume.read_all(0, [volume.info.levels[0].extent] * 8):
            assert isinstance(found, np.ndarray)
            assert np.array_equal(found, array)
        assert server.requests == []
        assert one.stale_s is not None
        assert 0 <= one.stale_s <= 60


async def test_what_is_not_kept_fails_until_the_source_answers(tmp_path: Path, server: FileServer) -> None:
    async with reading(tmp_path / "cache", server.host) as one:
        await one.voxels("precomputed", layer_of(server))
        await one.cache.renew([KEY])
        server.fault = on("*", 500)
        volume = await one.open("precomputed", layer_of(server))
        await volume.read(0, volume.info.levels[0].extent)
        assert one.stale_s is not None
        with pytest.raises(UpstreamUnavailable):
            await one.open("precomputed", layer_of(server, "other"), name="other")
        server.fault = none
        with pytest.raises(InvalidEntry, match="no info file"):
            await one.open("precomputed", layer_of(server, "other"), name="other")
    assert one.stale_s is None


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_refused_is_served_nothing(tmp_path: Path, server: FileServer, status: int) -> None:
    """What the source sent before is forgotten, and does not come back when it is down."""
    test_precomputed.write(tmp_path / "files/v", noise("uint8", (32, 32, 16)))  # one chunk
    async with reading(tmp_path / "cache", server.host) as one:
        await one.voxels("precomputed", layer_of(server))
    async with reading(tmp_path / "cache", server.host, window_s=0) as one:
        volume = await one.open("precomputed", layer_of(server))
        server.fault = on("v/8_8_40/*", status)
        for instead in (status, 500):
            server.fault = on("v/8_8_40/*", instead)
            with pytest.raises(BackendError):
                await volume.read(0, volume.info.levels[0].extent)
        assert one.stale_s is None


async def test_holes_are_believed_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F7: absent is the fill value, kept, and asked for again."""
    array = noise("uint8", (128, 64, 64))
    test_precomputed.write(tmp_path / "files/v", array)
    hole = tmp_path / "files/v/8_8_40/96-128_0-32_0-16"
    content = hole.read_bytes()
    hole.unlink()
    with FileServer(tmp_path / "files") as server:
        async with reading(tmp_path / "cache", server.host) as one:
            for _ in range(2):
                found = await one.voxels("precomputed", layer_of(server))
                assert not found[:, 96:, :32, :16].any()
                assert np.array_equal(found[:, :96], array[:, :96])
            assert server.count(f"v/*/{hole.name}") == 1
            hole.write_bytes(content)
            monkeypatch.setattr(places, "ABSENT_S", 0.0)
            assert np.array_equal(await one.voxels("precomputed", layer_of(server)), array)


async def test_changes_are_seen(tmp_path: Path, server: FileServer, array: Array) -> None:
    """F38: at once by a reload, in every worker; what has not changed is not sent again."""
    cache = tmp_path / "cache"
    async with reading(cache, server.host) as one, reading(cache, server.host) as two:
        assert np.array_equal(await one.voxels("precomputed", layer_of(server)), array)
        sent = server.sent_bytes
        for worker in (one, two):
            await worker.cache.renew([KEY])
            assert np.array_equal(await worker.voxels("precomputed", layer_of(server)), array)
            assert worker.cache.counts["confirmed"] >= 1
        assert server.sent_bytes - sent < array.nbytes / 4
        changed = array ^ 1
        test_precomputed.write(tmp_path / "files/v", changed)
        assert np.array_equal(await two.voxels("precomputed", layer_of(server)), array)
        await one.cache.renew([KEY])
        assert np.array_equal(await one.voxels("precomputed", layer_of(server)), changed)
        await one.cache.used_bytes()  # after all that it has still to write
        assert np.array_equal(await two.voxels("precomputed", layer_of(server)), changed)


async def test_a_worker_that_begins_later_knows_of_a_reload(tmp_path: Path, server: FileServer, array: Array) -> None:
    async with reading(tmp_path / "cache", server.host) as one:
        await one.voxels("precomputed", layer_of(server))
        test_precomputed.write(tmp_path / "files/v", array ^ 1)
        await one.cache.renew([KEY])
    async with reading(tmp_path / "cache", server.host) as two:
        assert np.array_equal(await two.voxels("precomputed", layer_of(server)), array ^ 1)


@pytest.mark.parametrize("tags", [True, False])
async def test_a_shard_that_changes_is_never_mixed(tmp_path: Path, tags: bool) -> None:
    """Pages of two versions of one file: the index of one names places in the other."""
    layout = {"chunks": (32, 32, 32), "shards": (64, 64, 128), "overwrite": True}
    array = noise("uint8", (128, 64, 64))
    test_zarr.write_array(tmp_path / "files/v", array, **layout)
    with FileServer(tmp_path / "files") as server:
        server.tags = tags
        async with reading(tmp_path / "cache", server.host) as one:
            volume = await one.open("zarr", layer_of(server))
            extent = volume.info.levels[0].extent
            await volume.read(0, type(extent)((0, 0, 0), (32, 32, 32)))
            changed = test_zarr.write_array(tmp_path / "files/v", array // 2, **layout)
            await one.cache.renew([KEY])
            assert np.array_equal(await one.voxels("zarr", layer_of(server)), changed)


async def test_what_does_not_decode_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F14: a login page in the place of a chunk, or of a document."""
    monkeypatch.setattr(places, "DOUBT_S", 0.0)
    array = test_zarr.write_array(tmp_path / "files/v", noise("uint8", (64, 64, 64)))
    with FileServer(tmp_path / "files") as server:
        async with reading(tmp_path / "cache", server.host) as one:
            for pattern in ("v/c/*", "v/zarr.json"):
                server.fault = on(pattern, LOGIN_PAGE)
                with pytest.raises(BackendError) as raised:
                    await one.voxels("zarr", layer_of(server), name=pattern[2])
                assert isinstance(raised.value, CorruptChunk)
                server.fault = none
                assert np.array_equal(await one.voxels("zarr", layer_of(server), name=pattern[2]), array)
                await one.cache.renew([("lab", "z")])


async def test_a_source_that_goes_is_not_served_from_what_is_kept(
    tmp_path: Path, server: FileServer, array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F9: it answers that it has nothing, so what it has not sent would be shown as empty."""
    monkeypatch.setattr(places, "DOUBT_S", 0.0)
    async with reading(tmp_path / "cache", server.host, look_s=0.0) as one:
        volume = await one.open("precomputed", layer_of(server))
        assert np.array_equal(await volume.read(0, volume.info.levels[0].extent), array)
        (tmp_path / "files/v").rename(tmp_path / "away")
        with pytest.raises(SourceGone):
            await volume.read(0, volume.info.levels[0].extent)
        with pytest.raises(InvalidEntry, match="no info file"):
            await one.open("precomputed", layer_of(server))
        (tmp_path / "away").rename(tmp_path / "files/v")
        monkeypatch.setattr(places, "ABSENT_S", 0.0)
        assert np.array_equal(await one.voxels("precomputed", layer_of(server)), array)


async def test_an_entry_may_do_without(tmp_path: Path, server: FileServer, array: Array) -> None:
    async with reading(tmp_path / "cache", server.host) as one:
        found = await one.voxels("precomputed", layer_of(server), disk_cache=False)
        assert np.array_equal(found, array)
        assert one.cache.counts["miss"] == 0


async def test_redirects_are_kept_too(tmp_path: Path, server: FileServer, array: Array) -> None:
    server.fault = lambda path: redirected(f"/v/{path[4:]}") if path.startswith("old/") else None
    async with reading(tmp_path / "cache", server.host) as one:
        assert np.array_equal(await one.voxels("precomputed", layer_of(server, "old")), array)
    server.fault = on("*", 503)
    async with reading(tmp_path / "cache", server.host, window_s=0) as one:
        assert np.array_equal(await one.voxels("precomputed", layer_of(server, "old")), array)


async def test_a_host_that_cannot_be_checked_is_not_asked(tmp_path: Path) -> None:
    """Its name may lead to a private address by the time that it can be resolved again."""
    calls = 0

    async def fetch() -> bytes:
        nonlocal calls
        calls += 1
        return b"kept"

    async with reading(tmp_path / "cache", "") as one:
        guard = Guard((), frozenset()).kept_by(one.cache.of(DatasetKey(*KEY), is_apart=False))
        source = guard.parse_source("https://wkdvid.invalid/v")
        assert await source.remembered("info", fetch) == b"kept"
        await one.cache.renew([KEY])
        await guard.check_host(source)
        assert await source.remembered("info", fetch) == b"kept"
        with pytest.raises(UpstreamUnavailable, match="cannot be resolved"):
            await source.remembered("else", fetch)
        assert (calls, one.stale_s is not None) == (1, True)


async def test_what_a_token_has_fetched_is_its_datasets_alone(tmp_path: Path) -> None:
    """Another dataset without the token is asked to show its own, although the address is the same."""
    (tmp_path / "token").write_text(TOKEN)
    token = f"file:{tmp_path}/token"
    with BossDouble(experiment(image(public=False))) as double:
        double.accounts.tokens.add(TOKEN)
        layer = {"domain": double.url, "collection": "lab", "experiment": "brain", "channel": "em"}
        secrets = Secrets({token: (double.url,)})
        async with reading(tmp_path / "cache", double.host, secrets=secrets) as one:
            before = await one.voxels("boss", {**layer, "token": token})
            with pytest.raises(BackendError):
                await one.open("boss", layer, name="other")
    async with reading(tmp_path / "cache", double.host, secrets=secrets, window_s=0) as one:  # it is gone
        assert np.array_equal(await one.voxels("boss", {**layer, "token": token}), before)
        with pytest.raises(BackendError):
            await one.open("boss", {**layer, "token": token}, name="other")


async def test_a_bucket(tmp_path: Path, array: Array) -> None:
    """S3: metadata, chunks and what is listed, after the server has gone."""
    test_precomputed.write(tmp_path / "v", array)
    layer = {"source": "s3://published/v"}
    with s3_server() as (endpoint, client):
        client.create_bucket(Bucket="published", ACL="public-read")
        for file in filter(Path.is_file, (tmp_path / "v").rglob("*")):
            client.upload_file(str(file), "published", f"v/{file.relative_to(tmp_path / 'v')}", {"ACL": "public-read"})
        s3 = {"endpoint": endpoint, "aws_region": "us-east-1", "aws_credentials": {"type": "anonymous"}}
        async with reading(tmp_path / "cache", "", **s3) as one:
            assert np.array_equal(await one.voxels("precomputed", layer), array)
            await one.cache.renew([KEY])
            assert np.array_equal(await one.voxels("precomputed", layer), array)
            assert one.cache.counts["confirmed"] >= 1
    async with reading(tmp_path / "cache", "", window_s=0, **s3) as one:
        volume = await one.open("precomputed", layer)
        assert np.array_equal(await volume.read(0, volume.info.levels[0].extent), array)
        assert isinstance(volume, StoresChunks)
        assert isinstance((await volume.stored_chunks(0, [(0, 0, 0)]))[0], bytes)
        assert one.stale_s is not None


PARTS = st.one_of(
    st.just(slice(None)),
    st.builds(lambda start, length: slice(start, start + length), st.integers(0, 210_000), st.integers(1, 140_000)),
    st.builds(lambda start: slice(start, None), st.integers(0, 210_000)),
    st.builds(lambda length: slice(-length, None), st.integers(1, 70_000)),
)


def test_any_part_of_an_object_is_what_it_is_without(tmp_path: Path) -> None:
    """Every kind of range that TensorStore asks for, kept or not, in any order."""
    (tmp_path / "files").mkdir()
    for size in SIZES:
        (tmp_path / "files" / f"{size} b%2f+é").write_bytes(np.random.default_rng(size).bytes(size))
    with FileServer(tmp_path / "files") as server, asyncio.Runner() as runner:
        server.tags = True
        one = Reading(tmp_path / "cache", server.host)
        runner.run(one.cache.start())
        through = one.cache.of(DatasetKey(*KEY), is_apart=False)
        source = Guard((), frozenset({server.host})).kept_by(through).parse_source(server.url)

        @settings(max_examples=30)
        @given(size=st.sampled_from(SIZES), parts=st.lists(PARTS, min_size=1, max_size=3))
        def compare(size: int, parts: list[slice]) -> None:
            runner.run(one.cache.renew([KEY]))  # all has to be asked for again
            for part in parts * 2:
                found = [runner.run(outcome(spec, f"{size} b%2f+é", part)) for spec in (source.kvstore, source.origin)]
                assert found[0] == found[1]

        compare()
        runner.run(one.cache.aclose())
    assert one.cache.counts["hit"] > 0
    assert one.cache.counts["confirmed"] > 0


async def outcome(spec: Mapping[str, object], key: str, part: slice) -> object:
    try:
        store = await ts.KvStore.open(spec)
        found = await store.read(key, byte_range=None if part == slice(None) else part)
    except ValueError as error:
        return str(error).split(":")[0]
    return found.state, found.value


def test_a_source_has_one_origin() -> None:
    """Without a cache nothing is changed."""
    source = read_source("https://example.org/v")
    assert source.kvstore == source.origin
