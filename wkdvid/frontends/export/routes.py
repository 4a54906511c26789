"""The URL table of the layers as other programs store them. A warm request is one look into the cache of bodies."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import orjson
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.access import Action
from wkdvid.core.catalog import Dataset
from wkdvid.core.layers import Layer
from wkdvid.errors import NotFound, WkdvidError
from wkdvid.export.zarr_documents import ZarrFormat, group
from wkdvid.frontends.export.parse import Find, in_precomputed, in_zarr
from wkdvid.frontends.export.status import STATUS
from wkdvid.frontends.http import JSON, OCTETS, RANGES, api_failed, reply, send_object, services_of, token_of

READING = ("GET", "HEAD")
DOCUMENTS = frozenset({"info", "zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
"""Names of what is JSON."""
ZARR_FORMATS: Mapping[str, ZarrFormat] = {"zarr": 3, "zarr2": 2}
EXPOSED = "Content-Length, Content-Range, ETag"
TREES: Mapping[str, Find] = {
    "precomputed": in_precomputed,
    **{tree: partial(in_zarr, zarr_format) for tree, zarr_format in ZARR_FORMATS.items()},
}
FRESH_S = 60
"""How long nobody asks again for what they have."""
_PROCESS = secrets.token_hex(8)
"""Ids of scales begin anew in each process."""


def blueprint() -> Blueprint:
    bp = Blueprint("export")
    for tree in TREES:
        _add(bp, f"/{tree}/<organization>/<name>/<layer>/<path:path>", partial(of_layer, tree))
    for tree in ZARR_FORMATS:
        _add(bp, f"/{tree}/<organization>/<name>/<document>", partial(zarr_of_dataset, tree))
    bp.exception(WkdvidError)(partial(api_failed, statuses=STATUS))
    return bp


def _add(bp: Blueprint, path: str, handler: Callable[..., Coroutine[Any, Any, HTTPResponse | None]]) -> None:
    name = path.translate(str.maketrans("/<>:", "____"))
    bp.add_route(handler, path, methods=READING, name=name, unquote=True, error_format="json", ctx_access="read")


async def of_layer(
    tree: str, request: Request, organization: str, name: str, layer: str, path: str
) -> HTTPResponse | None:
    services = services_of(request)
    dataset = await services.dataset((organization, name), token_of(request))
    found = dataset.layer(layer)
    key = (_generation(found), tree, path)
    body = services.bodies.get(key)
    make = None if body is not None else TREES[tree](services, found, path)
    headers = _headers(request, dataset, found)
    if _holds(request, headers["ETag"]):
        return reply("", OCTETS, 304, headers)
    if make is not None:
        body = await services.kept(key, make)
    return await send_object(request, body or b"", _content_type(path), headers)


async def zarr_of_dataset(
    tree: str, request: Request, organization: str, name: str, document: str
) -> HTTPResponse | None:
    """The group of the dataset's layers."""
    dataset = await services_of(request).dataset((organization, name), token_of(request))
    found = group(ZARR_FORMATS[tree]).get(document)
    if found is None:
        raise NotFound(f"dataset {dataset.key} as {tree} has no {document[:200]!r}")
    return await send_object(request, orjson.dumps(found), JSON)


def _generation(layer: Layer) -> int:
    """Of what is read of a layer: new at every opening."""
    return layer.scales[layer.info.levels[0].mag].id


def _headers(request: Request, dataset: Dataset, layer: Layer) -> Mapping[str, str]:
    """Other caches than the reader's own may keep what anybody may read."""
    is_open = services_of(request).authorizer.decide(None, Action.READ, dataset)
    return {
        **RANGES,
        "Access-Control-Expose-Headers": EXPOSED,
        "ETag": f'"{_PROCESS}-{_generation(layer):x}"',
        "Cache-Control": f"{'public' if is_open else 'private'}, max-age={FRESH_S}",
    }


def _holds(request: Request, tag: str) -> bool:
    """Whether the caller says that what it has is of this tag (RFC 9110, 13.1.2)."""
    header = request.headers.get("if-none-match")
    if header is None:
        return False
    return header.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in header.split(","))


def _content_type(path: str) -> str:
    return JSON if path.rpartition("/")[2] in DOCUMENTS else OCTETS
