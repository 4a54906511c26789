"""Typed annotations in the forms of other programs, and many of them at once from such."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from wkdvid.core.annotations import Annotation, Selection
from wkdvid.core.geometry import Float3
from wkdvid.core.users import WRITE
from wkdvid.errors import InvalidRequest, NotFound, TooLarge, WkdvidError
from wkdvid.export.annotations import csv_form, neuroglancer, nml, parquet, streams, tree
from wkdvid.export.annotations.imports import FORMS, Source
from wkdvid.frontends.clio.calls import Access, Answer, Call, Route, Unprocessable, problem
from wkdvid.frontends.clio.typed import PATH, merging, selection
from wkdvid.metadata.clio.annotations import Puts

Export: TypeAlias = Callable[[Call, Selection], Awaitable[Answer]]
OCTETS = "application/octet-stream"


# ---- out ----------------------------------------------------------------------------------------------------------


async def _csv(call: Call, wanted: Selection) -> Answer:
    return Answer(streams.as_csv(call.clio.typed.pages(wanted)), csv_form.CONTENT_TYPE)


async def _nml(call: Call, wanted: Selection) -> Answer:
    pages, size = call.clio.typed.pages(wanted), await voxel_size_nm(call)
    return Answer(streams.as_nml(pages, call.dataset, size), nml.CONTENT_TYPE)


async def _parquet(call: Call, wanted: Selection) -> Answer:
    return Answer(streams.as_parquet(call.clio.typed.pages(wanted)), parquet.CONTENT_TYPE)


async def _dvid(call: Call, wanted: Selection) -> Answer:
    return Answer(streams.as_elements(call.clio.typed.pages(wanted)))


async def _neuroglancer(call: Call, wanted: Selection) -> Any:
    some: list[Annotation] = []
    async for page in call.clio.typed.pages(wanted):
        some += page
        if len(some) > neuroglancer.MOST:
            raise TooLarge(f"a state holds at most {neuroglancer.MOST} annotations; name a box, or open 'precomputed'")
    document = (await call.clio.datasets.all()).get(call.dataset) or {}
    known = document.get("neuroglancer")
    layers = known.get("layers") if isinstance(known, dict) else None
    return neuroglancer.state(some, await voxel_size_nm(call), layers if isinstance(layers, list) else [])


EXPORTS: Mapping[str, Export] = {
    "csv": _csv,
    "nml": _nml,
    "parquet": _parquet,
    "dvid": _dvid,
    "neuroglancer": _neuroglancer,
}


async def export(call: Call) -> Any:
    make = EXPORTS.get(call.parts["form"])
    if make is None:
        raise NotFound(f"no such form; there are {', '.join(EXPORTS)}")
    return await make(call, await selection(call))


async def voxel_size_nm(call: Call) -> Float3:
    """Of the registered dataset, else as the document's ``dimensions`` say; else 1."""
    organization, _, name = call.dataset.partition("/")
    try:
        dataset = await call.services.dataset((organization, name), call.token)
        return next(iter(dataset.layers.values())).info.voxel_size_nm
    except (WkdvidError, StopIteration):
        document = (await call.clio.datasets.all()).get(call.dataset) or {}
        return _dimensions(document.get("dimensions")) or (1.0, 1.0, 1.0)


def _dimensions(given: Any) -> Float3 | None:
    """Of Neuroglancer's form, ``{"x": [8e-9, "m"], ...}``."""
    try:
        x, y, z = (float(given[axis][0]) * 1e9 for axis in "xyz" if given[axis][1] == "m")
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return (x, y, z)


# ---- Neuroglancer's precomputed annotations -----------------------------------------------------------------------


async def info(call: Call) -> Mapping[str, Any]:
    wanted, size = await selection(call), await voxel_size_nm(call)
    return await tree.info(call.clio.typed, wanted, call.parts["kind"], size)


async def by_id(call: Call) -> Answer:
    wanted = await selection(call)
    return Answer(await tree.by_id(call.clio.typed, wanted, call.parts["kind"], call.parts["number"]), OCTETS)


async def cell(call: Call) -> Answer:
    wanted, parts = await selection(call), call.parts
    return Answer(await tree.cell(call.clio.typed, wanted, parts["kind"], parts["grid"], parts["cell"]), OCTETS)


# ---- in -----------------------------------------------------------------------------------------------------------


async def import_(call: Call) -> Mapping[str, Any]:
    """``format=csv|nml``, ``dry_run``, ``skip_errors``, ``replace``. Nothing is changed unless all is right, or what is
    wrong is to be skipped.
    """
    form = call.query.get("format", "")
    if form not in FORMS:
        raise InvalidRequest(f"format: expected one of {', '.join(FORMS)}")
    dry_run, skip = call.flag("dry_run"), call.flag("skip_errors")
    source = Source(form, call.body, call.user.email, for_others=call.user.has_role(WRITE, call.dataset))
    report = await asyncio.to_thread(source.check)
    if dry_run:
        return report.document(0)
    if report.wrong and not skip:
        raise Unprocessable([problem(("body", one.line), one.problem, "row_error") for one in report.problems])
    imported = await call.clio.typed.put(call.dataset, Puts(source, merging(call)), call.user.email)
    return report.document(imported)


ROUTES = (
    Route(("GET",), PATH + "/export/<form>", export, Access.READ),
    Route(("POST",), PATH + "/import", import_, Access.GENERAL),
    Route(("GET",), PATH + "/precomputed/<kind>/info", info, Access.READ),
    Route(("GET",), PATH + "/precomputed/<kind>/by_id/<number>", by_id, Access.READ),
    Route(("GET",), PATH + "/precomputed/<kind>/spatial/<grid>/<cell>", cell, Access.READ),
)
