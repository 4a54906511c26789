"""What is tested with both clients."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any, TypeAlias, TypeVar

from tests.dvid.shelf import UUID
from wkdvid.client import AsyncClient, Client, VoxelsAccessor

T = TypeVar("T")
Either: TypeAlias = Client | AsyncClient


async def opened(client: Either, name: str, uuid: str = UUID, **options: Any) -> VoxelsAccessor[Any]:
    return (
        await client.voxels(uuid, name, **options)
        if isinstance(client, AsyncClient)
        else client.voxels(uuid, name, **options)
    )


async def value(given: T | Awaitable[T]) -> T:
    """What an operation gives, be it awaited or not."""
    if inspect.isawaitable(given):
        result: T = await given
        return result
    return given
