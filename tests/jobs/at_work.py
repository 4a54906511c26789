"""A catalog and what works on its jobs, in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wkdvid.config import load_config
from wkdvid.core.jobs import Job
from wkdvid.core.services import Services
from wkdvid.identity.opening import open_identities
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.jobs import SqlJobStore
from wkdvid.server import make_runner, make_services


@dataclass(frozen=True, slots=True)
class AtWork:
    services: Services
    store: SqlJobStore

    async def ended(self, kind: str, layer: str, parameters: Mapping[str, str]) -> Job:
        """The job, submitted and run to its end."""
        job = await self.services.jobs.submit(kind, "lab/brain", layer, parameters)
        return [job async for job in self.services.jobs.changes(job.id) if job is not None][-1]


def write_entry(data_dir: Path, layers: Mapping[str, Any]) -> None:
    entry = {"precomputed": {"lab": {"brain": {"layers": layers}}}}
    (data_dir / "datasets.json").write_text(json.dumps(entry))


async def emptied(folder: Path) -> None:
    """Wait until there is nothing in a folder."""

    def wait() -> None:
        end = time.monotonic() + 60
        while left := list(folder.iterdir()):
            assert time.monotonic() < end, left
            time.sleep(0.05)

    await asyncio.to_thread(wait)


@contextlib.asynccontextmanager
async def at_work(data_dir: Path, scheduler: str | None = None) -> AsyncIterator[AtWork]:
    config = load_config(None, {}, {"data_dir": str(data_dir), "jobs.scheduler": scheduler})
    migrate(config.metadata.database_url)
    store = SqlJobStore(open_engine(config.metadata.database_url))
    services = make_services(config, store, open_identities(config)[0])
    working = asyncio.create_task(make_runner(config, services, store).watch())
    try:
        yield AtWork(services, store)
    finally:
        working.cancel()
        await asyncio.wait([working])
        await services.catalog.aclose()
        services.executor.shutdown()
