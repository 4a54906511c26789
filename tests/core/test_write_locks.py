"""Locks of writers: between tasks of one process, and between processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from wkdvid.core.geometry import Vec3
from wkdvid.core.write_locks import WriteLocks

A, B, C = (0, 0, 0), (1, 0, 0), (0, 5, -7)
HOLD = """
import asyncio, sys
from pathlib import Path
from wkdvid.core.write_locks import WriteLocks

async def hold():
    locks = WriteLocks(Path(sys.argv[1]))
    async with locks.writing(7), locks.blocks("d", 7, 0, [(1, 0, 0)]):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(hold())
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    """A process that holds a node and a block."""
    return subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)


async def is_free(lock: AbstractAsyncContextManager[None]) -> bool:
    """Whether a lock is to be had; it is let go of again."""
    try:
        async with asyncio.timeout(0.1), lock:
            return True
    except TimeoutError:
        return False


@pytest.fixture
def locks(tmp_path: Path) -> WriteLocks:
    return WriteLocks(tmp_path)


@pytest.mark.parametrize(
    ("data", "version", "scale", "blocks", "free"),
    [
        ("d", 1, 0, [A], False),
        ("d", 1, 0, [C], False),
        ("d", 1, 0, [B, C], False),
        ("d", 1, 0, [B], True),
        ("e", 1, 0, [A], True),
        ("d", 2, 0, [A], True),
        ("d", 1, 1, [A], True),
    ],
)
async def test_a_block_has_one_writer(
    locks: WriteLocks, tmp_path: Path, data: str, version: int, scale: int, blocks: list[Vec3], free: bool
) -> None:
    async with locks.blocks("d", 1, 0, [A, C]):
        for other in (locks, WriteLocks(tmp_path)):
            assert await is_free(other.blocks(data, version, scale, blocks)) == free
    assert await is_free(locks.blocks(data, version, scale, blocks))


async def test_more_blocks_than_there_are_stripes(locks: WriteLocks) -> None:
    many = [(x, y, z) for x in range(20) for y in range(20) for z in range(20)]
    async with locks.blocks("d", 1, 0, many):
        assert not await is_free(locks.blocks("d", 1, 0, [(19, 19, 19)]))


async def test_writers_share_a_node_and_a_commit_has_it_alone(locks: WriteLocks) -> None:
    async with locks.writing(1), locks.writing(1):
        assert not await is_free(locks.committing(1))
        assert await is_free(locks.committing(2))
        assert await is_free(locks.writing(1))
    async with locks.committing(1):
        assert not await is_free(locks.writing(1))
        assert not await is_free(locks.committing(1))
        assert await is_free(locks.writing(0))


async def test_a_commit_comes_about_among_writers_that_never_pause(locks: WriteLocks) -> None:
    done = asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            async with locks.writing(1):
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(write())
        await asyncio.sleep(0.02)
        async with asyncio.timeout(30), locks.committing(1):
            done.set()


async def test_who_waits_can_be_cancelled(locks: WriteLocks) -> None:
    async with locks.blocks("d", 1, 0, [B]):
        waiting = asyncio.create_task(is_free(locks.blocks("d", 1, 0, [A, B])))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await is_free(locks.blocks("d", 1, 0, [A]))
    assert await is_free(locks.blocks("d", 1, 0, [A, B]))


async def test_a_process_that_is_killed_holds_nothing(locks: WriteLocks, tmp_path: Path) -> None:
    other = holder(tmp_path)
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert not await is_free(locks.committing(7))
        assert not await is_free(locks.blocks("d", 7, 0, [(1, 0, 0)]))
        assert await is_free(locks.writing(7))
        other.kill()
    assert await is_free(locks.committing(7))
    assert await is_free(locks.blocks("d", 7, 0, [(1, 0, 0)]))
