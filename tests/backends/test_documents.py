"""Metadata documents from every kind of store: how much of them is loaded, how often, and what may go wrong."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.backends import test_n5, test_ome_zarr, test_precomputed, test_zarr
from tests.backends.arrays import noise
from tests.backends.conftest import S3
from wkdvid.backends.opening import Opener
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.errors import AuthRejected, BackendError, CorruptChunk, InvalidEntry, UpstreamUnavailable
from wkdvid.testing.faulty import Answer, Fault, FileServer, broken_off
from wkdvid.testing.volume_suite import check, make_backends, open_layers, open_with

LARGE = 200_000_000
DOCUMENTS = {"precomputed": "info", "zarr": "zarr.json", "n5": "attributes.json"}
OPEN_AND_TELL_PEAK = """
import asyncio, resource, sys
from pathlib import Path
from wkdvid.errors import CorruptChunk
from wkdvid.testing.volume_suite import open_layers

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

backend, source, root, host = sys.argv[1:]
before = peak()
try:
    asyncio.run(open_layers(backend, {"source": source}, roots=[Path(root)], http_hosts=[host]))
except CorruptChunk as error:
    print(peak() - before, error)
"""


def rise_of_memory(backend: str, source: str, root: Path, host: str) -> int:
    """Bytes that a process of its own needs to refuse a source as too large."""
    arguments = [sys.executable, "-c", OPEN_AND_TELL_PEAK, backend, source, str(root), host]
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    rise, _, message = output.partition(" ")
    assert "limits.metadata_bytes" in message
    return int(rise)


@pytest.mark.parametrize(("backend", "name"), DOCUMENTS.items())
def test_a_large_document_on_disk_is_not_loaded(tmp_path: Path, backend: str, name: str) -> None:
    """F26."""
    with (tmp_path / name).open("wb") as file:
        file.truncate(LARGE)
    assert rise_of_memory(backend, ".", tmp_path, "") < LARGE // 4


@pytest.mark.parametrize("kind", ["plain", "bomb"])
def test_a_large_document_of_a_server_is_not_loaded(tmp_path: Path, kind: str) -> None:
    """F26."""
    spaces = b" " * LARGE
    packed = Answer(body=gzip.compress(spaces, 1), headers={"Content-Encoding": "gzip"})
    answer = Answer(body=spaces) if kind == "plain" else packed
    with FileServer(tmp_path) as server:
        server.fault = lambda path: answer
        assert rise_of_memory("zarr", server.url, tmp_path, server.host) < LARGE // 4


@pytest.mark.parametrize("place", ["file", "http", "s3"])
async def test_the_limit_is_exact(tmp_path: Path, s3: S3, place: str) -> None:
    (level,) = test_precomputed.write(tmp_path / "v", noise("uint8", (8, 8, 8)))
    size = (tmp_path / "v/info").stat().st_size
    with FileServer(tmp_path) as server:
        base = {"file": f"{tmp_path}/", "http": server.url, "s3": s3.upload(tmp_path)}[place]
        for limit in (size, size - 1):
            backends = make_backends([tmp_path], [server.host], s3.options, Limits(metadata_bytes=limit))
            opening = open_with(backends, "precomputed", {"source": f"{base}v"})
            if limit == size:
                (volume,) = await opening
                check(await volume.read(0, level.extent), level.array)
            else:
                with pytest.raises(CorruptChunk, match=rf"more than {limit} bytes.*limits\.metadata_bytes"):
                    await opening


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "is not valid JSON"),
        ('{"a":' * 100_000, "is not valid JSON"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested more than 64 levels deep"),
    ],
)
async def test_a_deep_document_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """F26."""
    (tmp_path / "info").write_text(text)
    with pytest.raises(CorruptChunk, match=said):
        await open_layers("precomputed", {"source": "."}, roots=[tmp_path])


async def test_empty_and_odd_documents(tmp_path: Path, s3: S3) -> None:
    (tmp_path / "info").write_bytes(b"")
    for source in (".", s3.upload(tmp_path)):
        with pytest.raises(CorruptChunk, match="info is not valid JSON"):
            await open_layers("precomputed", {"source": source}, roots=[tmp_path], s3=s3.options)
    (tmp_path / "folder/info").mkdir(parents=True)
    for source in ("folder", "info"):
        with pytest.raises(InvalidEntry, match="no info file"):
            await open_layers("precomputed", {"source": source}, roots=[tmp_path])
    with pytest.raises(UpstreamUnavailable):
        await open_layers("precomputed", {"source": "x" * 300}, roots=[tmp_path])


# How often a server is asked


@pytest.mark.parametrize("version", [2, 3])
async def test_each_document_of_an_image_is_read_once(tmp_path: Path, version: int) -> None:
    """But for what finds out about redirects."""
    stored = test_ome_zarr.stored_image(tmp_path, version, False)
    with FileServer(tmp_path) as server:
        await open_layers("zarr", stored.options(server.url), http_hosts=[server.host])
        probes = {"image/zarr.json"} if version == 3 else {"image/zarr.json", "image/.zattrs"}
        array = ".zarray" if version == 2 else "zarr.json"
        group = {"image/.zarray", "image/.zattrs", "image/.zgroup", "image/zarr.json"} if version == 2 else probes
        expected = Counter(group | {f"image/{i}/{array}" for i in range(4)}) + Counter(probes)
        assert Counter(server.paths) == expected


async def test_as_many_n5_levels_are_asked_for_as_the_group_lists(tmp_path: Path) -> None:
    stored = test_n5.stored_pyramid(tmp_path, test_n5.on_group)
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("n5", stored.options(server.url), http_hosts=[server.host])
        assert len(volume.info.levels) == 4
        levels = [f"a.n5/grey/s{i}/attributes.json" for i in range(4)]
        own = ["a.n5/grey/attributes.json"] * 2  # one of them for redirects
        assert sorted(server.paths) == sorted(
            [*own, "attributes.json", "a.n5/attributes.json", *levels, "a.n5/grey/s3/0/0/0"]
        )


async def test_more_n5_levels_than_are_guessed(tmp_path: Path) -> None:
    test_n5.write_array(tmp_path, "a/s0", noise("uint8", (8, 8, 8)))
    for i in range(1, 11):
        test_n5.write_array(tmp_path, f"a/s{i}", noise("uint8", (8, 8, 8)), downsamplingFactors=[2**i] * 3)
    with FileServer(tmp_path) as server:
        server.fault = lambda path: None if (tmp_path / path).is_file() else 403
        for options in ({"source": f"{server.url}a"}, {"source": "a"}):
            (volume,) = await open_layers("n5", options, roots=[tmp_path], http_hosts=[server.host])
            assert len(volume.info.levels) == 11


# What may go wrong


async def check_opening(server: FileServer, fault: Fault, expected: type[BackendError] | None) -> None:
    server.fault = fault
    opening = open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
    if expected is None:
        (volume,) = await opening
        assert volume.info.levels
    else:
        with pytest.raises(expected):
            await opening


PASSING = [408, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", [*PASSING, "cut"])
async def test_passing_faults_of_chunks_and_documents(tmp_path: Path, status: int | str) -> None:
    """F1 to F4, F13."""
    (level,) = test_precomputed.write(tmp_path, noise("uint8", (32, 32, 16)))
    chunk = "8_8_40/0-32_0-32_0-16"

    def answer(path: str) -> int | Answer:
        return broken_off((tmp_path / path).read_bytes()) if isinstance(status, str) else status

    left: list[str] = []
    with FileServer(tmp_path) as server:
        (volume,) = await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])
        server.fault = answer
        with pytest.raises(UpstreamUnavailable):
            await volume.read(0, level.extent)
        await check_opening(server, answer, UpstreamUnavailable)
        for target in (chunk, "info"):
            left[:] = [target] * 2
            fault: Fault = lambda path: answer(path) if path == target and left and left.pop() else None  # noqa: B023, E731
            if target == "info":
                await check_opening(server, fault, None)
            else:
                server.fault = fault
                check(await volume.read(0, level.extent), level.array)
            assert not left


async def test_a_silent_server_costs_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        opener = Opener(Guard((), frozenset({host})), Limits(), pool_bytes=MIB, deadline_s=0.2)
        with pytest.raises(UpstreamUnavailable, match=r"no answer within 0\.2 s"):
            await opener.read_json(opener.guard.parse_source(f"http://{host}/em?sig=s3cr3t"), "info")
    opener.deadline_s = 20
    with pytest.raises(UpstreamUnavailable, match="does not answer") as caught:
        await opener.read_json(opener.guard.parse_source(f"http://{host}/em?sig=s3cr3t"), "info")
    assert "s3cr3t" not in str(caught.value)


async def test_final_faults_of_documents(tmp_path: Path) -> None:
    test_precomputed.write(tmp_path, noise("uint8", (32, 32, 16)))
    with FileServer(tmp_path) as server:
        await check_opening(server, lambda path: 401, AuthRejected)
        await check_opening(server, lambda path: 403, AuthRejected)
        await check_opening(server, lambda path: 418, CorruptChunk)
        await check_opening(server, lambda path: Answer(body=b"<!DOCTYPE html>"), CorruptChunk)
        for status in (404, 410):
            server.fault = lambda path, status=status: status  # type: ignore[misc]
            with pytest.raises(InvalidEntry, match="no info file"):
                await open_layers("precomputed", {"source": server.url}, http_hosts=[server.host])


@pytest.mark.parametrize("write", [test_precomputed.KINDS["uint64"], test_precomputed.KINDS["segmentation64"]])
async def test_an_empty_answer_is_no_chunk(tmp_path: Path, write: dict[str, object]) -> None:
    stored = test_precomputed.stored_volume(tmp_path / "v", test_precomputed.write(tmp_path / "v", **write))  # type: ignore[arg-type]
    await check_empty(stored.folder, "precomputed", "", stored.chunk)


async def test_an_empty_answer_is_no_chunk_of_an_array(tmp_path: Path) -> None:
    test_zarr.stored_array(tmp_path / "two", zarr_format=2, compressors=None)
    test_zarr.stored_array(tmp_path / "three", zarr_format=3, **test_zarr.V3["sharded"])
    test_n5.write_array(tmp_path, "n5", noise("uint8"), "raw")
    await check_empty(tmp_path, "zarr", "two/array", "two/array/0.0.0")
    await check_empty(tmp_path, "zarr", "three/array", "three/array/c/0/0/0")
    await check_empty(tmp_path, "n5", "n5", "n5/0/0/0")


async def check_empty(folder: Path, backend: str, source: str, chunk: str) -> None:
    with FileServer(folder) as server:
        (volume,) = await open_layers(backend, {"source": server.url + source}, http_hosts=[server.host])
        server.fault = lambda path: Answer(body=b"") if path == chunk else None
        with pytest.raises(CorruptChunk):
            await volume.read(0, volume.info.levels[0].extent)


async def test_metadata_that_changes_is_seen_by_opening_again(tmp_path: Path) -> None:
    array = test_zarr.write_array(tmp_path / "a", noise("uint16"), fill_value=3)
    backends = make_backends([tmp_path])
    for fill in (3, 7):
        document = json.loads((tmp_path / "a/zarr.json").read_text())
        (tmp_path / "a/zarr.json").write_text(json.dumps({**document, "fill_value": fill}))
        (volume,) = await open_with(backends, "zarr", {"source": "a"})
        array[:, 32:64, 32:64, :32] = fill
        assert volume.info.fill_value == fill
        check(await volume.read(0, volume.info.levels[0].extent), array)


def test_limit_of_the_tests() -> None:
    assert Limits().metadata_bytes < LARGE // 4 - 8 * MIB
