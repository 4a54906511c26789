"""Work that many wait for."""

from __future__ import annotations

import asyncio
import gc

import pytest

from wkdvid.core.concurrent import begin_shared


async def test_what_fails_when_nobody_waits_any_more_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    ready = asyncio.Event()

    async def fail() -> None:
        await ready.wait()
        raise ValueError("too late")

    shared = begin_shared(fail(), "fail")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(shared), 0)
    ready.set()
    await asyncio.wait([shared])
    del shared
    gc.collect()
    assert caplog.messages == []


async def test_whoever_waits_is_told_of_the_failure() -> None:
    async def fail() -> None:
        raise ValueError("in time")

    shared = begin_shared(fail(), "fail")
    for failed in await asyncio.gather(*(asyncio.shield(shared) for _ in range(2)), return_exceptions=True):
        assert str(failed) == "in time"
