"""Lengths of stored objects, which TensorStore does not tell, and whole ones within a limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tensorstore as ts

from wkdvid.backends.stored_objects import StoredObjects, open_objects
from wkdvid.core.source import file_source, read_source
from wkdvid.errors import AuthRejected, TooLarge, UpstreamUnavailable
from wkdvid.testing.faulty import FileServer, on

CONTEXT = ts.Context({"http_request_retries": {"max_retries": 1}})


async def local(folder: Path) -> StoredObjects:
    return await open_objects(file_source(str(folder)), CONTEXT)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 15, 16, 17, 255, 256, 1000, 65_535, 65_537, 3 * 2**30 + 7])
async def test_lengths(tmp_path: Path, length: int) -> None:
    (tmp_path / "object").touch()
    os.truncate(tmp_path / "object", length)  # without taking the space
    objects = await local(tmp_path)
    assert await objects.length("object") == length
    assert await objects.length("none") is None


async def test_whole_ones_within_a_limit(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(range(100)))
    objects = await local(tmp_path)
    assert await objects.read_small("object", 100) == bytes(range(100))
    assert await objects.read_small("none", 100) is None
    with pytest.raises(TooLarge, match="more than 99 bytes"):
        await objects.read_small("object", 99)


@pytest.mark.parametrize(("status", "error"), [(503, UpstreamUnavailable), (403, AuthRejected)])
async def test_failures_are_no_absence(tmp_path: Path, status: int, error: type[Exception]) -> None:
    (tmp_path / "object").write_bytes(b"1234567")
    with FileServer(tmp_path) as server:
        objects = await open_objects(read_source(server.url), CONTEXT)
        assert await objects.read_small("object", 7) == b"1234567"
        assert await objects.length("object") == 7
        server.fault = on("*", status)
        with pytest.raises(error):
            await objects.length("object")
        with pytest.raises(error):
            await objects.read_small("object", 7)
