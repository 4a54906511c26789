"""The first bytes of stored objects: no more of a document is loaded than its limit, whatever a source holds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import tensorstore as ts

from wkdvid.backends.failures import status_of
from wkdvid.backends.outcomes import finished
from wkdvid.core.hosts import fetch_start
from wkdvid.core.source import Source


async def read_start(source: Source, key: str, length: int, context: ts.Context) -> bytes | None:
    """The first ``length`` bytes of what ``key`` names, or all where it has fewer; None if it is not there.

    TensorStore reads objects whole, or a range that is wholly there, for which simple web servers send the whole.

    Raises:
        BackendError, or what TensorStore raises: it could not be judged whether it is there.
    """
    if source.is_http:

        async def fetch() -> bytes | None:
            headers = source.access.headers()
            return await fetch_start(source.address_of(key), f"{source.name} ({key})", length, headers)

        return await source.remembered(f"first {length} bytes of {key}", fetch)
    if source.scheme == "file":
        return await asyncio.to_thread(_read_file, Path(source.path, key), length)
    store = await finished(ts.KvStore.open(source.kvstore, context=context))
    try:
        result = await finished(store.read(key, byte_range=slice(0, length)))
    except ValueError as error:
        if status_of(error) != "OUT_OF_RANGE":
            raise
        result = await finished(store.read(key))  # it has fewer bytes
    return result.value if result.state == "value" else None


def _read_file(path: Path, length: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
