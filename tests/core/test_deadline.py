"""The deadline of an answer that takes many reads."""

from __future__ import annotations

import asyncio

from wkdvid.core.deadline import one_deadline, until


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_each_read_has_its_own() -> None:
    async with until(60) as first:
        began = now()
        await asyncio.sleep(0.01)
        async with until(60) as second:
            assert (first.when() or 0) < (second.when() or 0)
            assert (first.when() or 0) <= began + 60


async def test_reads_together_have_one() -> None:
    """That of the outermost begin, in tasks too; afterwards it is forgotten."""
    ends = []

    async def read() -> None:
        await asyncio.sleep(0.01)
        async with until(60) as end:
            ends.append(end.when())

    with one_deadline():
        await read()
        with one_deadline():
            await asyncio.gather(read(), read())
        await read()
    await read()
    assert len(set(ends[:4])) == 1
    assert (ends[4] or 0) > (ends[0] or 0)
