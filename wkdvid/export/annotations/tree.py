"""What stands in the folders of Neuroglancer's precomputed annotations (``precomputed``), read from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wkdvid.core.annotations import AnnotationStore, Selection
from wkdvid.core.geometry import Float3
from wkdvid.errors import NotFound
from wkdvid.export.annotations import precomputed


async def info(store: AnnotationStore, wanted: Selection, kind: str, voxel_size_nm: Float3) -> Mapping[str, Any]:
    """Of a collection.

    Raises:
        NotFound: there is no such kind.
        DatabaseUnavailable: the database does not answer; as all others here.
    """
    _check(kind)
    return precomputed.info(kind, (await store.summaries(wanted)).get(kind), voxel_size_nm)


async def by_id(store: AnnotationStore, wanted: Selection, kind: str, number: str) -> bytes:
    """
    Raises:
        NotFound: there is no such annotation.
    """
    _check(kind)
    is_number = number.isascii() and number.isdigit() and len(number) < 19
    found = await store.find(wanted, int(number) if is_number else 0)
    if found is None or found.kind != kind:
        raise NotFound("no such annotation")
    return precomputed.one(found)


async def cell(store: AnnotationStore, wanted: Selection, kind: str, grid: str, place: str) -> bytes:
    """
    Raises:
        NotFound: there is no such cell.
    """
    _check(kind)
    pages = store.pages(precomputed.in_cell(wanted, kind, grid, place))
    return precomputed.many([one async for page in pages for one in page])


def _check(kind: str) -> None:
    if kind not in precomputed.TYPES:
        raise NotFound(f"no such kind; there are {', '.join(precomputed.TYPES)}")
