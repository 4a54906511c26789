"""What a model makes of the cube around a place, as a volume that Neuroglancer shows (clio.md F)."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from wkdvid.core.catalog import Dataset, State
from wkdvid.core.entries import DatasetKey
from wkdvid.core.jobs import Job
from wkdvid.core.users import READ
from wkdvid.errors import Forbidden, InvalidRequest, NotFound, UnsupportedRequest
from wkdvid.frontends.clio.calls import Access, Answer, Call, NotYet, Route, Unprocessable, problem
from wkdvid.frontends.http import JSON, OCTETS
from wkdvid.frontends.ranges import parse_range
from wkdvid.transfer.job import KIND, name_of
from wkdvid.transfer.link import neuroglancer_link

Reads: TypeAlias = Callable[[Any], str | None]
"""Makes a text of a member of the request; None: it is not such a member."""
WAIT_S = 300.0
"""For a transfer; it goes on after that, and the same request waits on."""
MOST_WAITING = 16
"""Transfers that are not done: jobs are done one after the other, and anybody who reads may ask for these."""
_NAME = re.compile(r"[a-z]{20}")
_FILE = re.compile(r"info|[0-9.]+(_[0-9.]+){2}/-?[0-9]+--?[0-9]+(_-?[0-9]+--?[0-9]+){2}")


async def transfer(call: Call) -> Mapping[str, str]:
    """``{"dataset", "model_name", "center": [x, y, z]}``, and perhaps ``layer`` and ``size``."""
    body = _body(call)
    dataset, document = await _dataset(call, body["dataset"])
    offered = document.get("transfer")
    if isinstance(offered, list) and body["model_name"] not in offered:
        raise UnsupportedRequest(f"model {body['model_name'][:64]!r} is not among those of dataset {body['dataset']}")
    parameters = {"model": body["model_name"]} | {name: body[name] for name in ("center", "size") if name in body}
    job = await _submitted(call, dataset, body.get("layer") or _image(dataset), parameters)
    name = await _made(call, job)
    where = f"{call.base}{call.clio.config.url_prefix or ''}/cache/{name}"
    return {"addr": neuroglancer_link(where, call.clio.config.neuroglancer_url)}


def _body(call: Call) -> dict[str, str]:
    """The members as texts, places as ``x,y,z``.

    Raises:
        Unprocessable: all that is wrong with it.
    """
    body = call.json()
    if not isinstance(body, dict):
        raise Unprocessable([problem(("body",), "Input should be an object", "dict_type")])
    wanted = [name for name in MEMBERS if name in REQUIRED or name in body]
    found = {name: MEMBERS[name](body.get(name)) for name in wanted}
    problems = [
        problem(("body", name), f"expected {WANTED[MEMBERS[name]]}", "type")
        for name, value in found.items()
        if value is None
    ]
    if problems:
        raise Unprocessable(problems)
    return {name: value for name, value in found.items() if value is not None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _place(value: Any) -> str | None:
    """Cut down to whole voxels: viewers name places within them."""
    if not isinstance(value, list) or len(value) != 3:
        return None
    if not all(isinstance(n, int | float) and math.isfinite(n) for n in value):
        return None
    return ",".join(str(math.floor(n)) for n in value)


WANTED: Mapping[Reads, str] = {_text: "a text", _place: "a list of three numbers"}
MEMBERS: Mapping[str, Reads] = {
    "dataset": _text,
    "model_name": _text,
    "center": _place,
    "layer": _text,
    "size": _place,
}
"""Of the request, by name."""
REQUIRED = frozenset(("dataset", "model_name", "center"))


async def _dataset(call: Call, name: str) -> tuple[Dataset, Mapping[str, Any]]:
    """Open, and its document.

    Raises:
        Forbidden: the caller may not read it.
        NotFound: this server has no voxels of that name.
        UpstreamUnavailable: they cannot be read now.
    """
    held, catalog = call.clio.names.held(name), call.services.catalog
    document = (await call.clio.datasets.all()).get(held, {})
    if not call.user.has_role(READ, held, public=document.get("public") is True):
        raise Forbidden(f"no permission to read dataset {name[:200]}")

    async def find() -> Dataset:
        organization, _, own = held.partition("/")
        found = catalog.find(DatasetKey(organization, own))
        return found if found.state is State.OPEN else await catalog.opened(found)

    return await call.services.looked_up(find), document


def _image(dataset: Dataset) -> str:
    """
    Raises:
        UnsupportedRequest: it has none.
    """
    for name, layer in dataset.layers.items():
        if layer.info.category == "color":
            return name
    raise UnsupportedRequest(f"dataset {dataset.key} has no image")


async def _submitted(call: Call, dataset: Dataset, layer: str, parameters: Mapping[str, str]) -> Job:
    """
    Raises:
        NotYet: too many are waiting.
        NotFound, InvalidRequest, UnsupportedRequest: no such layer or model, or what is not its parameter.
    """
    dataset.layer(layer)
    waiting = [job for job in await call.services.jobs.newest() if job.kind == KIND and not job.state.ended]
    if len(waiting) >= MOST_WAITING:
        raise NotYet(f"{len(waiting)} transfers are waiting already; try again later")
    return await call.services.jobs.submit(KIND, str(dataset.key), layer, parameters)


async def _made(call: Call, job: Job) -> str:
    """Name of the volume, when it is whole.

    Raises:
        InvalidRequest: the job failed, or was cancelled.
        NotYet: it takes too long, or the server stops.
    """
    try:
        async with asyncio.timeout(WAIT_S):
            async for one in call.services.jobs.changes(job.id):
                job = one or job
    except TimeoutError:
        pass
    if not job.state.ended:
        raise NotYet(f"transfer {job.id} goes on, {job.done} of {job.total} done; ask for the same again")
    name = name_of(job)
    if name is None:
        raise InvalidRequest(f"transfer {job.id}: {job.state.value}: {job.message}".removesuffix(": "))
    return name


async def cached(call: Call) -> Answer:
    """A file of a volume that a transfer has made, or the part that the Range header names.

    For whoever knows its name, on whatever page.
    """
    name, path = call.parts["name"], call.parts["path"]
    is_one = _NAME.fullmatch(name) and _FILE.fullmatch(path)
    body = await asyncio.to_thread(_read, call.clio.transfers / name / path) if is_one else None
    if body is None:
        raise NotFound("there is no such file, or it has expired")
    told = {"Accept-Ranges": "bytes", "Access-Control-Allow-Origin": "*"}
    content_type = JSON if path == "info" else OCTETS
    asked = parse_range(call.headers.get("range"))
    if asked is None:
        return Answer(body, content_type, 200, told)
    part = asked.of(len(body))
    if part is None:
        return Answer(b"", content_type, 416, {**told, "Content-Range": f"bytes */{len(body)}"})
    told["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
    return Answer(body[part.start : part.stop], content_type, 206, told)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


ROUTES = (Route(("POST",), "/transfer", transfer, Access.USER),)
CACHE: Sequence[Route] = (Route(("GET",), "/cache/<name>/<path:path>", cached, Access.PUBLIC),)
"""Below the URL prefix, without a version."""
