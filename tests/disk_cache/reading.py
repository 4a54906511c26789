"""One process's way to sources that are kept, as a worker has it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from wkdvid.backends.disk_cache.cache import DiskCache
from wkdvid.backends.opening import NO_SECRETS, Opener
from wkdvid.backends.presence import LOOK_S
from wkdvid.backends.registry import Backends
from wkdvid.core.credentials import Credentials
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.secrets import Secrets
from wkdvid.core.source import Access
from wkdvid.core.volume import Volume

KEY = ("lab", "data")


class Reading:
    def __init__(
        self,
        folder: Path,
        host: str,
        *,
        window_s: float = 600,
        secrets: Secrets = NO_SECRETS,
        look_s: float = LOOK_S,
        **s3: Any,
    ) -> None:
        self.cache = DiskCache(folder, 64 * MIB, window_s=window_s, deadline_s=4)
        credentials = Credentials(otherwise={"s3": Access(options=s3)})
        guard = Guard((), frozenset({host}), credentials)
        self.backends = Backends(
            Opener(guard, Limits(), pool_bytes=0, deadline_s=4, secrets=secrets, cache=self.cache, look_s=look_s)
        )

    @property
    def stale_s(self) -> float | None:
        return self.cache.stale_s(KEY)

    async def open(self, backend: str, layer: Mapping[str, Any], name: str = "data", **options: Any) -> Volume:
        document = {backend: {"lab": {name: {"layers": {"layer": dict(layer)}, **options}}}}
        entries, problems = self.backends.parse(document)
        assert not problems, problems
        (opened,) = await self.backends.open_layers(entries[0])
        return opened.volume

    async def voxels(self, backend: str, layer: Mapping[str, Any], **options: Any) -> npt.NDArray[Any]:
        """The finest level, of a layer that is opened anew."""
        volume = await self.open(backend, layer, **options)
        return await volume.read(0, volume.info.levels[0].extent)

    async def written(self) -> None:
        """What was read is on the disk."""
        await self.cache.used_bytes()


@contextlib.asynccontextmanager
async def reading(folder: Path, host: str, **options: Any) -> AsyncIterator[Reading]:
    one = Reading(folder, host, **options)
    await one.cache.start()
    try:
        yield one
        await one.written()
    finally:
        await one.cache.aclose()
