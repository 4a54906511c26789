"""The services of one worker, without HTTP of its own, that is the datastore of a main server on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np

from tests.volumes import write_precomputed
from wkdvid.config import load_config
from wkdvid.core.services import Services
from wkdvid.identity.opening import open_identities
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.jobs import SqlJobStore
from wkdvid.server import make_services
from wkdvid.testing.webknossos import MainServer

KEY = "secret-key-of-the-datastore"
LAYERS = {"em": {"source": "em", "type": "image"}, "cells": {"source": "cells", "type": "segmentation"}}
DOCUMENT = {"precomputed": {"lab": {"brain": {"layers": LAYERS}}, "elsewhere": {"brain": {"layers": LAYERS}}}}


def write_volumes(folder: Path) -> None:
    """``em`` and ``cells``, as the entries name them."""
    write_precomputed(folder / "em", [((1, 1, 1), np.ones((50, 40, 30), np.uint8))], voxel_size_nm=(4, 4, 40))
    cells = np.ones((50, 40, 30), np.uint64)
    write_precomputed(folder / "cells", [((1, 1, 1), cells)], voxel_size_nm=(4, 4, 40), kind="segmentation")


@contextlib.asynccontextmanager
async def datastore(main: MainServer, data: Path, **environ: str) -> AsyncIterator[Services]:
    (data / "datasets.json").write_text(json.dumps(DOCUMENT))
    config = load_config(None, {**main.environ, **environ}, {"data_dir": str(data)})
    migrate(config.metadata.database_url)
    services = make_services(config, SqlJobStore(open_engine(config.metadata.database_url)), open_identities(config)[0])
    try:
        yield services
    finally:
        await services.main_server.aclose()
        await services.catalog.aclose()
        services.executor.shutdown()


async def comes_true(what: Callable[[], bool]) -> bool:
    """Whether it does, within 20 s."""
    for _ in range(1000):
        if what():
            return True
        await asyncio.sleep(0.02)
    return False


def calls(main: MainServer, action: str) -> int:
    return len([request for request in main.requests if request.path.endswith(f"/{action}")])
