"""All of a listing in one form or another, piece by piece."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import orjson

from wkdvid.core.annotations import Annotation
from wkdvid.core.geometry import Float3
from wkdvid.export.annotations import csv_form, nml, parquet
from wkdvid.export.annotations.elements import elements

Pages: TypeAlias = AsyncIterator[Sequence[Annotation]]
Parts: TypeAlias = AsyncIterator[bytes]
PIECE = 1 << 20


async def as_csv(pages: Pages) -> Parts:
    yield csv_form.header()
    async for page in pages:
        yield csv_form.rows(page)


async def as_nml(pages: Pages, dataset: str, voxel_size_nm: Float3) -> Parts:
    organization, _, name = dataset.rpartition("/")
    yield nml.header(name, organization, voxel_size_nm)
    number = 1
    async for page in pages:
        yield nml.trees(page, number)
        number += len(page)
    yield nml.FOOTER


async def as_parquet(pages: Pages) -> Parts:
    """By way of a file, as the library writes into one."""
    with tempfile.TemporaryFile() as file:
        await asyncio.to_thread(parquet.write, _from_thread(pages), file)
        file.seek(0)
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


def _from_thread(pages: Pages) -> Iterator[Sequence[Annotation]]:
    """For a thread that is not the event loop's."""
    loop = asyncio.get_running_loop()

    def rest() -> Iterator[Sequence[Annotation]]:
        while (page := asyncio.run_coroutine_threadsafe(_next(pages), loop).result()) is not None:
            yield page

    return rest()


async def _next(pages: Pages) -> Sequence[Annotation] | None:
    return await anext(pages, None)


async def as_elements(pages: Pages) -> Parts:
    """A JSON list of DVID's."""
    async for part in listed(pages, lambda page: [each for one in page for each in elements(one)]):
        yield part


async def listed(pages: Pages, told: Callable[[Sequence[Annotation]], Sequence[Mapping[str, object]]]) -> Parts:
    before = b"["
    async for page in pages:
        if some := told(page):
            yield before + orjson.dumps(some)[1:-1]
            before = b","
    yield b"]" if before == b"," else b"[]"
