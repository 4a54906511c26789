"""What goes wrong while voxels are stored: a killed writer, no room, damaged chunks; and a bucket as the place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import boto3
import numpy as np
import pytest
import sqlalchemy as sa

from tests.backends.s3 import s3_server
from tests.volumes import Voxels
from tests.written.test_volumes import B, check_labels, most_frequent, noise
from tests.written.workers import Worker, files, workers
from wkdvid.backends.written import arrays
from wkdvid.backends.written.arrays import place_of_volumes
from wkdvid.backends.written.journal import Note
from wkdvid.core.credentials import Credential, Credentials, anonymous_access
from wkdvid.core.geometry import Box
from wkdvid.core.repositories import Node
from wkdvid.core.source import Source
from wkdvid.errors import BackendError, ConfigError, CorruptChunk, DatabaseUnavailable, UpstreamUnavailable
from wkdvid.metadata.engine import transaction

LABELS = np.random.default_rng(5).integers(0, 3, (2 * B, 2 * B, 2 * B), np.uint64)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with workers(tmp_path) as (one,):
        yield one


async def left_undone(worker: Worker, *, lower: bool = True) -> str:
    """A node with the blocks of a write, and the note that its writer, who is no more, has left of it."""
    root = await worker.make("labelmap", max_scale=2, indexed=True)
    repository, node, instance = await worker.at(root, "v")
    blocks_alone = replace(instance, settings={**instance.settings, "indexed": False})
    blocks = {
        (x, y, z): np.asfortranarray(LABELS[x * B : x * B + B, y * B : y * B + B, z * B : z * B + B][None])
        for x, y, z in np.ndindex(2, 2, 2)
    }
    with contextlib.suppress(InterruptedError):
        async with worker.journal.noted(Note(instance.data_uuid, node.version, tuple(blocks), lower)):
            await worker.volumes.write_blocks(repository, node, blocks_alone, 0, blocks, lower=False, extend=False)
            raise InterruptedError
    assert not (await worker.read(root, (0, 0, 0), (B, B, B), 1)).any()
    assert (await (await worker.index(root)).sizes([1, 2])).tolist() == [0, 0]
    return root


async def is_whole(worker: Worker, root: str) -> bool:
    await check_labels(worker, root, LABELS)
    coarse = most_frequent(LABELS)
    found = await worker.read(root, (0, 0, 0), (B, B, B), 1)
    coarser = await worker.read(root, (0, 0, 0), (B // 2,) * 3, 2)
    repository, _, instance = await worker.at(root, "v")
    has_extent = repository.extent(root, instance) == Box((0, 0, 0), (2 * B, 2 * B, 2 * B))
    return has_extent and np.array_equal(found, coarse) and np.array_equal(coarser, most_frequent(coarse))


async def test_what_a_killed_writer_has_left_undone_is_done_by_the_next_worker(worker: Worker, tmp_path: Path) -> None:
    root = await left_undone(worker)
    with workers(tmp_path, 2) as others:
        await asyncio.gather(*(other.volumes.mend() for other in others))
        assert await is_whole(others[0], root)
    assert worker.journal.paths() == []


async def test_it_is_done_before_a_commit(worker: Worker) -> None:
    root = await left_undone(worker)
    await worker.commit(root)
    assert await is_whole(worker, root)
    assert worker.journal.paths() == []


async def test_lower_scales_that_did_not_follow_still_do_not(worker: Worker) -> None:
    root = await left_undone(worker, lower=False)
    await worker.volumes.mend()
    await check_labels(worker, root, LABELS)
    assert not (await worker.read(root, (0, 0, 0), (B, B, B), 1)).any()
    assert worker.journal.paths() == []


async def test_labels_that_cannot_be_counted_are_counted_later(worker: Worker) -> None:
    root = await worker.make("labelmap", indexed=True)
    await worker.write(root, (0, 0, 0), LABELS)
    with transaction(worker.engine) as connection:
        connection.execute(sa.text("ALTER TABLE label_blocks RENAME TO elsewhere"))
    with pytest.raises(DatabaseUnavailable):
        await worker.write(root, (0, 0, 0), LABELS + 1)
    assert len(worker.journal.paths()) == 1
    with transaction(worker.engine) as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO label_blocks"))
    await worker.volumes.mend()
    await check_labels(worker, root, LABELS + 1)
    assert worker.journal.paths() == []


async def test_what_a_commit_does_meanwhile_is_done(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    root = await left_undone(worker)
    _, node, _ = await worker.at(root, "v")
    async with worker.locks.committing(node.version):
        mending = asyncio.create_task(worker.volumes.mend())
        await asyncio.sleep(0.05)  # until it waits for the node
        worker.journal.forget(*worker.journal.paths())
        await worker.repositories.commit(root, None, [])
    await mending
    assert "not mended yet" not in caplog.text


async def test_what_is_being_written_is_not_taken_for_left_undone(worker: Worker) -> None:
    root = await worker.make("labelmap", max_scale=1)
    at = await worker.at(root, "v")
    async with worker.journal.noted(Note(at[2].data_uuid, at[1].version, ((0, 0, 0),), lower=True)):
        await worker.volumes.mend()
        assert len(worker.journal.paths()) == 1
    assert files(worker.folder) == []


async def test_a_note_of_nothing_that_is_known_stays(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.suppress(InterruptedError):
        async with worker.journal.noted(Note("0" * 32, 77, ((0, 0, 0),), lower=True)):
            raise InterruptedError
    await worker.volumes.mend()
    assert len(worker.journal.paths()) == 1
    assert "not mended yet" in caplog.text


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a disk that is full: nothing larger can be stored."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_without_room_everything_stays_as_it_was(worker: Worker) -> None:
    root = await worker.make(block=64)
    before = noise((128, 64, 64))
    await worker.write(root, (0, 0, 0), before)
    after: Voxels = noise((128, 64, 64), seed=2)
    after[:64] = 7  # this block shrinks so far that there is room for it
    with largest_file(4096), pytest.raises(UpstreamUnavailable, match="there is no room left to store it"):
        await worker.write(root, (0, 0, 0), after)
    found = await worker.read(root, (0, 0, 0), (128, 64, 64))
    assert np.array_equal(found[64:], before[64:])
    assert np.array_equal(found[:64], before[:64]) or np.array_equal(found[:64], after[:64])
    await worker.write(root, (0, 0, 0), after)
    assert np.array_equal(await worker.read(root, (0, 0, 0), (128, 64, 64)), after)


async def test_without_room_for_a_whole_note_nothing_is_begun(worker: Worker) -> None:
    root = await worker.make("labelmap", max_scale=1)
    with largest_file(20), pytest.raises(UpstreamUnavailable, match="the journal of writes: there is no room"):
        await worker.write(root, (0, 0, 0), LABELS)
    assert (worker.journal.paths(), files(worker.folder)) == ([], [])
    await worker.volumes.mend()


async def test_without_locks_nothing_is_written(worker: Worker) -> None:
    root = await worker.make()
    locks = worker.folder / "state" / "writes.lock"
    locks.unlink(missing_ok=True)
    locks.mkdir()  # what cannot be opened to be written
    with pytest.raises(UpstreamUnavailable, match="the locks of writes cannot be opened: Is a directory"):
        await worker.write(root, (0, 0, 0), noise((B, B, B)))
    assert files(worker.folder) == []


async def test_a_commit_finds_its_notes_while_others_look_for_theirs(worker: Worker, tmp_path: Path) -> None:
    done = threading.Event()

    async def commit_another(other: Worker) -> None:
        while not done.is_set():
            async with other.volumes.committing(Node(uuid="another", version=99)):
                pass

    with workers(tmp_path) as (other,), ThreadPoolExecutor(1) as pool:
        committing = pool.submit(asyncio.run, commit_another(other))
        root = await worker.make("labelmap", max_scale=1)
        _, node, instance = await worker.at(root, "v")
        for _ in range(30):
            with contextlib.suppress(InterruptedError):
                async with worker.journal.noted(Note(instance.data_uuid, node.version, ((0, 0, 0),), True)):
                    raise InterruptedError
            async with worker.volumes.committing(node):
                left = worker.journal.paths()
            if left:
                break
        done.set()
        committing.result()
    assert left == []


async def test_lower_scales_that_cannot_be_stored_are_made_later(worker: Worker, tmp_path: Path) -> None:
    root = await worker.make("labelmap", max_scale=1)
    await worker.write(root, (0, 0, 0), LABELS)
    (chunk,) = (tmp_path / name for name in files(tmp_path) if "/s1/" in name)
    chunk.unlink()
    chunk.mkdir()  # what cannot be written over
    with pytest.raises(BackendError):
        await worker.write(root, (0, 0, 0), LABELS + 1)
    assert len(worker.journal.paths()) == 1
    chunk.rmdir()
    await worker.volumes.mend()
    assert np.array_equal(await worker.read(root, (0, 0, 0), (B, B, B), 1), most_frequent(LABELS + 1))


async def test_a_flipped_bit_is_no_data(worker: Worker, tmp_path: Path) -> None:
    root = await worker.make()
    await worker.write(root, (0, 0, 0), noise((B, B, B)))
    chunk = tmp_path / files(tmp_path)[0]
    text = bytearray(chunk.read_bytes())
    text[len(text) // 2] ^= 4
    chunk.write_bytes(text)
    with pytest.raises(CorruptChunk):
        await worker.read(root, (0, 0, 0), (B, B, B))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Source]:
    environ = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    with s3_server() as (endpoint, client):
        for name, value in (environ | {"AWS_ENDPOINT_URL": endpoint}).items():
            monkeypatch.setenv(name, value)
        client.create_bucket(Bucket="lab")
        granted = Credential(prefix="s3://lab", environment=True)
        yield place_of_volumes(tmp_path, "s3://lab/our volumes", Credentials([granted]))


async def test_volumes_in_a_bucket(bucket: Source, tmp_path: Path) -> None:
    with workers(tmp_path, 2, bucket) as (one, other):
        root = await one.make("labelmap", max_scale=1)
        await one.write(root, (0, 0, 0), LABELS)
        await one.commit(root)
        child = await one.child(root)
        await other.write(child, (3, 0, 0), np.ones((B, B, B), np.uint64))
        expected = LABELS.copy()
        expected[3 : B + 3, :B, :B] = 1
        assert np.array_equal(await one.read(child, (0, 0, 0), LABELS.shape), expected)
        assert np.array_equal(await one.read(child, (0, 0, 0), (B, B, B), 1), most_frequent(expected))
        assert np.array_equal(await one.read(root, (0, 0, 0), LABELS.shape), LABELS)
    assert not (tmp_path / "voxels").exists()


async def test_a_bucket_that_is_not_there_is_told(bucket: Source, tmp_path: Path) -> None:
    """It may be misspelt, or removed later. TensorStore itself would try to make an array there for ever."""
    gone = replace(bucket, authority="gone")
    with workers(tmp_path, 1, gone) as (one,):
        root = await one.make("labelmap", max_scale=1)
        async with asyncio.timeout(20):
            with pytest.raises(BackendError, match="gone"):
                await one.write(root, (0, 0, 0), LABELS)
            with pytest.raises(BackendError, match="gone"):
                await one.read(root, (0, 0, 0), (B, B, B))


async def test_a_bucket_that_goes_is_not_shown_as_empty(bucket: Source, tmp_path: Path) -> None:
    with workers(tmp_path, 1, bucket) as (one,), pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "LOOK_S", 0.0)
        root = await one.make("labelmap")
        await one.write(root, (0, 0, 0), LABELS)
        assert np.array_equal(await one.read(root, (0, 0, 0), LABELS.shape), LABELS)
        remove_bucket("lab")
        with pytest.raises(BackendError, match="lab"):
            await one.read(root, (0, 0, 0), LABELS.shape)


def remove_bucket(name: str) -> None:
    s3 = boto3.resource("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    s3.Bucket(name).objects.all().delete()
    s3.Bucket(name).delete()


def test_a_google_bucket_without_credentials_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment"):
        place_of_volumes(tmp_path, "gs://lab/volumes", Credentials([], anonymous_access({})))
